//! Tables and properties of [`super`].

use super::AddressProblem::*;
use super::*;
use proptest::prelude::*;

fn problem(text: &str) -> AddressProblem {
    Mailbox::parse(text).expect_err(text).problem
}

#[test]
fn mailboxes_that_pass_as_they_are() {
    let longest = format!(
        "{}@example.com",
        "x".repeat(MAILBOX_LIMIT - "@example.com".len())
    );
    for text in [
        "bob",
        "Postmaster",
        "bob@example.com",
        "bob@localhost",
        "a..b@example.com",
        "a.@example.com",
        ".a@example.com",
        "bob@under_score.example.com",
        "bob@example.com.",
        "user+tag=x@example.com",
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "host!user%relay@example.com",
        "-oQ/tmp@example.com",
        r#""bob smith"@example.com"#,
        r#""a@b"@example.com"#,
        r#""a>b<c"@example.com"#,
        r#""a\"b\\c"@example.com"#,
        r#"""@example.com"#,
        r#""a b".c."d"@example.com"#,
        r#""bare quoted""#,
        "bob@[192.0.2.1]",
        "bob@[IPv6:2001:db8::1]",
        "bob@[ipv6:::ffff:192.0.2.1]",
        "bob@xn--mnchen-3ya.example",
        "bob@123.example",
        &longest,
    ] {
        let mailbox = Mailbox::parse(text).expect(text);
        assert_eq!(mailbox.as_str(), text);
        assert_eq!(mailbox.to_string(), text);
        assert!(!mailbox.needs_smtputf8(), "{text}");
    }
}

#[test]
fn mailboxes_that_are_refused() {
    let too_long = "x".repeat(MAILBOX_LIMIT + 1);
    let long_label = format!("bob@{}.example", "x".repeat(LABEL_LIMIT + 1));
    let long_domain = format!("bob@{}", "abc.".repeat(DOMAIN_LIMIT / 4 + 1));
    for (text, expected) in [
        ("", Empty),
        (
            "bob@example.com\r\nRCPT TO:<eve@example.com>",
            BadCharacter('\r'),
        ),
        ("bob\n@example.com", BadCharacter('\n')),
        ("bob\0@example.com", BadCharacter('\0')),
        ("bob\t@example.com", BadCharacter('\t')),
        ("\"bob\tsmith\"@example.com", BadCharacter('\t')),
        ("\"bob\\\rsmith\"@example.com", BadCharacter('\r')),
        ("bob\x7f@example.com", BadCharacter('\x7f')),
        ("bob\u{85}@example.com", BadCharacter('\u{85}')),
        ("bob\u{2028}@example.com", BadCharacter('\u{2028}')),
        ("bob\u{202e}@example.com", BadCharacter('\u{202e}')),
        ("bob@ex\u{200b}ample.com", BadCharacter('\u{200b}')),
        // The same behind an A-label, where U-labels are sent.
        ("böb@ü.xn--a-4rq.example", BadCharacter('\u{2800}')),
        // An A-label within an A-label: `xn--` and a letter that is not ASCII.
        ("böb@xn--xn---eĳ.example", BadInternationalName),
        ("bob smith@example.com", UnquotedCharacter(' ')),
        ("bob\u{a0}smith@example.com", UnquotedCharacter('\u{a0}')),
        ("<bob@example.com>", UnquotedCharacter('<')),
        ("bob@example.com> SIZE=1", BadHostCharacter('>')),
        ("bob>", UnquotedCharacter('>')),
        ("bob\\", UnquotedCharacter('\\')),
        ("bob(c)@example.com", UnquotedCharacter('(')),
        ("a,b@example.com", UnquotedCharacter(',')),
        ("@relay.example:bob@example.com", NoLocalPart),
        ("team:bob;", UnquotedCharacter(':')),
        ("@example.com", NoLocalPart),
        ("bob@", NoDomain),
        ("bob@a@b", BadHostCharacter('@')),
        ("bob@example..com", EmptyLabel),
        ("bob@.example.com", EmptyLabel),
        ("bob@.", EmptyLabel),
        ("bob@exam ple.com", BadHostCharacter(' ')),
        ("bob@[192.0.2]", BadAddressLiteral),
        ("bob@[192.0.2.1", BadAddressLiteral),
        ("bob@[2001:db8::1]", BadAddressLiteral),
        ("bob@[IPv6:192.0.2.1]", BadAddressLiteral),
        ("bob@[IPv6:::1]> X", BadAddressLiteral),
        ("\"bob@example.com", UnbalancedQuotes),
        ("\"bob\"x@example.com", UnbalancedQuotes),
        ("x\"bob\"@example.com", UnbalancedQuotes),
        ("\"bob\"\"x\"@example.com", UnbalancedQuotes),
        ("\"bob\\", BadEscape),
        ("\"bob\\ü\"@example.com", BadEscape),
        // U+FF1E and U+FF20 become `>` and `@` by UTS 46.
        ("bob@ex＞ample.com", BadHostCharacter('>')),
        ("bob@ex＠ample.com", BadHostCharacter('@')),
        ("bob@münchen>.example", BadHostCharacter('>')),
        (&too_long, TooLong),
        (&long_label, LabelTooLong),
        (&long_domain, TooLong),
    ] {
        assert_eq!(problem(text), expected, "{text:?}");
    }
}

#[test]
fn parts_of_a_mailbox() {
    for (text, local, domain) in [
        ("bob@example.com", "bob", Some("example.com")),
        ("\"a@b\"@example.com", "\"a@b\"", Some("example.com")),
        ("bob", "bob", None),
        ("bob@münchen.example", "bob", Some("xn--mnchen-3ya.example")),
    ] {
        let mailbox = Mailbox::parse(text).expect(text);
        assert_eq!(
            (mailbox.local_part(), mailbox.domain()),
            (local, domain),
            "{text}"
        );
    }
}

#[test]
fn international_domains_become_a_labels_when_the_local_part_is_ascii() {
    for (text, expected) in [
        ("bob@münchen.example", "bob@xn--mnchen-3ya.example"),
        ("Bob@MÜNCHEN.example", "Bob@xn--mnchen-3ya.example"),
        ("bob@mu\u{308}nchen.example", "bob@xn--mnchen-3ya.example"),
        ("bob@例え。テスト", "bob@xn--r8jz45g.xn--zckzah"),
        ("bob@faß.example", "bob@xn--fa-hia.example"),
        ("bob@a_b.münchen.example", "bob@a_b.xn--mnchen-3ya.example"),
    ] {
        let mailbox = Mailbox::parse(text).expect(text);
        assert_eq!(mailbox.as_str(), expected);
        assert!(!mailbox.needs_smtputf8());
    }
}

#[test]
fn international_local_parts_keep_a_utf8_domain() {
    for (text, expected) in [
        ("jürgen@example.com", "jürgen@example.com"),
        ("jürgen@MÜNCHEN.example", "jürgen@münchen.example"),
        ("用户@例子。测试", "用户@例子.测试"),
        ("\"jürgen k\"@example.com", "\"jürgen k\"@example.com"),
        ("jürgen", "jürgen"),
    ] {
        let mailbox = Mailbox::parse(text).expect(text);
        assert_eq!(mailbox.as_str(), expected);
        assert!(mailbox.needs_smtputf8(), "{text}");
    }
}

#[test]
fn errors_are_sentences_that_show_the_text() {
    for (text, expected) in [
        ("", "The address is empty"),
        (
            "bob\r\nX@example.com",
            "“bob^M^JX@example.com” cannot be used as an address: it holds a line end, which no address may hold",
        ),
        (
            "bob smith@example.com",
            "“bob smith@example.com” cannot be used as an address: a space must stand within quotation marks",
        ),
        (
            "bob\u{202e}@x",
            "“bob\\u{202E}@x” cannot be used as an address: it holds the invisible character U+202E, which no address may hold",
        ),
        (
            "bob@",
            "“bob@” cannot be used as an address: there is no host name after the @",
        ),
        (
            "b\0b",
            "“b^@b” cannot be used as an address: it holds a null character, which no address may hold",
        ),
        (
            "b\x1bb",
            "“b^[b” cannot be used as an address: it holds a control character, which no address may hold",
        ),
        (
            "b\u{a0}b",
            "“b\u{a0}b” cannot be used as an address: the space U+00A0 must stand within quotation marks",
        ),
        (
            "b,b",
            "“b,b” cannot be used as an address: “,” must stand within quotation marks",
        ),
        (
            "b@e!x",
            "“b@e!x” cannot be used as an address: “!” cannot be part of a host name",
        ),
    ] {
        assert_eq!(Mailbox::parse(text).expect_err(text).to_string(), expected);
    }
    let huge = Mailbox::parse(&"x".repeat(100_000))
        .expect_err("too long")
        .to_string();
    assert!(huge.chars().count() < 200, "{huge}");
}

#[test]
fn international_host_names_are_bounded_before_they_are_converted() {
    // Each of these letters takes four octets and becomes one.
    let mathematical = ["𝐚".repeat(63), "𝐚".repeat(63), "𝐚".repeat(63)].join(".");
    let ascii = mathematical.replace('𝐚', "a");
    assert_eq!(host_to_ascii(&mathematical), Ok(ascii));
    let of_octets = |octets| "ü".repeat(octets / 2 - 1) + &"!".repeat(2 + octets % 2);
    let problem = |text: &str| host_to_ascii(text).expect_err("no name").problem;
    let host = |octets: usize| ["a"; 5].map(|a| a.repeat(50)).join(".") + &"b".repeat(octets - 254);
    assert!(host_to_ascii(&host(DOMAIN_LIMIT)).is_ok());
    assert_eq!(problem(&host(DOMAIN_LIMIT + 1)), TooLong);
    let limit = 4 * DOMAIN_LIMIT;
    assert_eq!(problem(&of_octets(limit)), BadHostCharacter('!'));
    assert_eq!(problem(&of_octets(limit + 1)), TooLong);
    assert_eq!(problem(&of_octets(limit + 2)), TooLong);
}

#[test]
fn reverse_paths() {
    assert_eq!(ReversePath::parse(""), Ok(ReversePath::Null));
    assert_eq!(ReversePath::parse("<>"), Ok(ReversePath::Null));
    assert_eq!(ReversePath::Null.to_string(), "");
    let path = ReversePath::parse("jürgen@example.com").expect("a mailbox");
    assert_eq!(path.as_str(), "jürgen@example.com");
    assert!(path.needs_smtputf8());
    assert!(!ReversePath::Null.needs_smtputf8());
    assert_eq!(
        ReversePath::parse("> X").expect_err("injection").problem,
        UnquotedCharacter('>')
    );
}

#[test]
fn ehlo_names() {
    for (text, expected) in [
        ("mail.example.com", "mail.example.com"),
        ("my_laptop", "my_laptop"),
        ("vm.", "vm."),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[IPv6:::1]", "[IPv6:::1]"),
        ("büro.example", "xn--bro-hoa.example"),
    ] {
        assert_eq!(EhloName::parse(text).expect(text).as_str(), expected);
    }
    for (text, expected) in [
        ("", Empty),
        ("x\r\nMAIL FROM:<>", BadCharacter('\r')),
        ("two words", BadHostCharacter(' ')),
        ("::1", BadHostCharacter(':')),
        ("[::1]", BadAddressLiteral),
        ("[]", BadAddressLiteral),
        ("a..b", EmptyLabel),
        ("<x>", BadHostCharacter('<')),
    ] {
        assert_eq!(
            EhloName::parse(text).expect_err(text).problem,
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn hosts_to_connect_to() {
    for (text, expected) in [
        ("smtp.example.com", "smtp.example.com"),
        ("smtp.example.com.", "smtp.example.com."),
        ("localhost", "localhost"),
        ("SMTP.Bücher.example", "smtp.xn--bcher-kva.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[127.0.0.1]", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[IPv6:::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ] {
        assert_eq!(host_to_ascii(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("", Empty),
        ("a b", BadHostCharacter(' ')),
        ("host\0.evil", BadCharacter('\0')),
        ("fe80::1%", BadHostCharacter(':')),
        ("fe80::1%a/b", BadHostCharacter(':')),
        ("host/path", BadHostCharacter('/')),
        ("host:25", BadHostCharacter(':')),
        ("[host]", BadHostCharacter('[')),
    ] {
        assert_eq!(
            host_to_ascii(text).expect_err(text).problem,
            expected,
            "{text:?}"
        );
    }
}

/// What could end the bracket or the line, read as a server would.
fn can_inject(wire: &str) -> bool {
    let mut quoted = false;
    let mut characters = wire.chars();
    while let Some(c) = characters.next() {
        match c {
            '\0'..='\x1f' | '\x7f' => return true,
            '"' => quoted = !quoted,
            '\\' if quoted => match characters.next() {
                Some(' '..='~') => {}
                _ => return true,
            },
            '<' | '>' | ' ' | '\\' if !quoted => return true,
            _ => {}
        }
    }
    quoted
}

proptest! {
    #[test]
    fn no_text_injects(text in any::<String>(), near in "[a-z.@\"\\\\<> \r\n\\[\\]:ü＞-]{0,30}") {
        for input in [&text, &near] {
            if let Ok(mailbox) = Mailbox::parse(input) {
                prop_assert!(!can_inject(mailbox.as_str()), "{}", mailbox);
                prop_assert!(mailbox.as_str().len() <= MAILBOX_LIMIT);
                // What was accepted is accepted again and unchanged.
                prop_assert_eq!(Mailbox::parse(mailbox.as_str()), Ok(mailbox));
            }
            if let Ok(name) = EhloName::parse(input) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
            if let Ok(host) = host_to_ascii(input) {
                prop_assert!(host.bytes().all(|b| b.is_ascii_graphic()));
            }
        }
    }

    #[test]
    fn quoting_carries_any_printable_local_part(local in "[ -~]{0,40}") {
        let quoted = local.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!("\"{quoted}\"@example.com");
        let mailbox = Mailbox::parse(&text).expect("a quoted string");
        prop_assert_eq!(mailbox.domain(), Some("example.com"));
        prop_assert!(!can_inject(mailbox.as_str()));
    }
}
