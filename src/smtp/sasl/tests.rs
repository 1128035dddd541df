//! Vectors of the RFCs, and what hostile servers say, for all mechanisms.

mod scram;

use super::*;
use proptest::prelude::*;

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

fn credentials(user: &str, secret: &str) -> Credentials {
    Credentials {
        user: user.into(),
        secret: Secret::from(secret),
        authzid: None,
    }
}

fn acting_for(authzid: &str, user: &str, secret: &str) -> Credentials {
    Credentials {
        authzid: Some(authzid.into()),
        ..credentials(user, secret)
    }
}

fn binding(nonce: &str) -> Binding<'_> {
    let channel_binding = ChannelBinding::Unsupported;
    Binding {
        nonce,
        channel_binding,
        host: "server.example.com",
        port: 587,
    }
}

fn begin(mechanism: Mechanism, credentials: &Credentials) -> Exchange {
    mechanism
        .start(credentials, &binding(NONCE))
        .expect("usable credentials")
}

fn text(secret: Secret) -> String {
    String::from_utf8(secret.expose().to_vec()).expect("UTF-8")
}

fn initial(mechanism: Mechanism, credentials: &Credentials) -> String {
    text(
        begin(mechanism, credentials)
            .initial_response()
            .expect("an initial response"),
    )
}

fn is_bad<T: fmt::Debug>(result: Result<T, SaslError>) -> bool {
    matches!(result, Err(SaslError::BadChallenge(_)))
}

#[test]
fn keywords() {
    for mechanism in Mechanism::ALL {
        let keyword = mechanism.keyword();
        assert_eq!(Mechanism::from_keyword(keyword), Some(mechanism));
        assert_eq!(
            Mechanism::from_keyword(&keyword.to_lowercase()),
            Some(mechanism)
        );
    }
    for unknown in ["", "DIGEST-MD5", "PLAIN ", "SCRAM-SHA-512", "PLAıN"] {
        assert_eq!(Mechanism::from_keyword(unknown), None, "{unknown}");
    }
    let clear: Vec<_> = Mechanism::ALL
        .into_iter()
        .filter(|m| m.sends_secret_in_clear())
        .map(|m| m.keyword())
        .collect();
    assert_eq!(clear, ["LOGIN", "OAUTHBEARER", "PLAIN", "XOAUTH2"]);
    let bound: Vec<_> = Mechanism::ALL
        .into_iter()
        .filter(|m| m.binds_channel())
        .map(|m| m.keyword())
        .collect();
    assert_eq!(bound, ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]);
}

#[test]
fn strength_rises_with_what_a_false_server_learns_less_of() {
    let strengths = [
        &[Mechanism::Login, Mechanism::Plain][..],
        &[Mechanism::CramMd5],
        &[Mechanism::ScramSha1],
        &[Mechanism::ScramSha256],
        &[Mechanism::ScramSha1Plus],
        &[Mechanism::ScramSha256Plus],
    ];
    for (strength, mechanisms) in strengths.into_iter().enumerate() {
        for mechanism in mechanisms {
            let found = mechanism.strength().map(usize::from);
            assert_eq!(found, Some(strength), "{mechanism:?}");
        }
    }
    for without_password in [
        Mechanism::External,
        Mechanism::Oauthbearer,
        Mechanism::Xoauth2,
    ] {
        assert_eq!(without_password.strength(), None);
    }
}

#[test]
fn plain_rfc_4616() {
    let tim = credentials("tim", "tanstaaftanstaaf");
    assert_eq!(initial(Mechanism::Plain, &tim), "\0tim\0tanstaaftanstaaf");
    let kurt = acting_for("Ursel", "Kurt", "xipj3plmq");
    assert_eq!(initial(Mechanism::Plain, &kurt), "Ursel\0Kurt\0xipj3plmq");
    let long = "ü".repeat(2000);
    assert_eq!(
        initial(Mechanism::Plain, &credentials("u", &long)),
        format!("\0u\0{long}")
    );
    for unusable in [
        credentials("", "x"),
        credentials("a\0b", "x"),
        credentials("a", "x\0y"),
        acting_for("a\0b", "a", "x"),
    ] {
        let error = Mechanism::Plain
            .start(&unusable, &binding(NONCE))
            .expect_err("unusable");
        assert!(
            matches!(error, SaslError::UnusableCredentials(_)),
            "{error}"
        );
    }
}

#[test]
fn an_untaken_initial_response_answers_the_empty_challenge() {
    let mut exchange = begin(Mechanism::Plain, &credentials("tim", "secret"));
    assert_eq!(
        exchange.respond(b"").map(text).as_deref(),
        Ok("\0tim\0secret")
    );
    assert!(exchange.initial_response().is_none(), "said once");
    assert!(is_bad(exchange.respond(b"")), "nothing more to say");
    let mut exchange = begin(Mechanism::Plain, &credentials("tim", "secret"));
    assert!(is_bad(exchange.respond(b"Password:")), "our turn to begin");
}

#[test]
fn external_rfc_4422() {
    assert_eq!(initial(Mechanism::External, &credentials("", "")), "");
    assert_eq!(
        initial(Mechanism::External, &acting_for("fred@example.com", "", "")),
        "fred@example.com"
    );
    let mut exchange = begin(Mechanism::External, &credentials("", ""));
    exchange.initial_response();
    assert!(is_bad(exchange.respond(b"")));
}

#[test]
fn login_answers_any_two_prompts() {
    for prompts in [
        ["Username:", "Password:"],
        ["User Name\0", "Password\0"],
        ["", ""],
    ] {
        let mut exchange = begin(Mechanism::Login, &credentials("bob", "geheim ü"));
        assert!(exchange.initial_response().is_none());
        assert_eq!(
            exchange.respond(prompts[0].as_bytes()).map(text).as_deref(),
            Ok("bob")
        );
        assert_eq!(
            exchange.respond(prompts[1].as_bytes()).map(text).as_deref(),
            Ok("geheim ü")
        );
        assert!(is_bad(exchange.respond(b"Password:")), "the password again");
    }
}

#[test]
fn cram_md5_rfc_2195() {
    let tim = credentials("tim", "tanstaaftanstaaf");
    let mut exchange = begin(Mechanism::CramMd5, &tim);
    assert!(exchange.initial_response().is_none());
    let response = exchange
        .respond(b"<1896.697170952@postoffice.reston.mci.net>")
        .map(text);
    assert_eq!(
        response.as_deref(),
        Ok("tim b913a602c7eda7a495b4e6e7334d3890")
    );
    assert!(
        is_bad(exchange.respond(b"<another@example>")),
        "a second digest"
    );
    assert!(
        is_bad(begin(Mechanism::CramMd5, &tim).respond(b"")),
        "an empty challenge"
    );
}

#[test]
fn cram_md5_with_a_key_longer_than_a_block() {
    // The text of test case 6 in RFC 2202 §2; its key is not UTF-8, so the key
    // is 80 times `a` and the digest that of Python's hmac.
    let mut exchange = begin(Mechanism::CramMd5, &credentials("u", &"a".repeat(80)));
    let text = exchange
        .respond(b"Test Using Larger Than Block-Size Key - Hash Key First")
        .map(text);
    assert_eq!(text.as_deref(), Ok("u 5b5e54a607b25660adedca07830c80c5"));
}

#[test]
fn xoauth2_as_google_documents_it() {
    let user = credentials(
        "someuser@example.com",
        "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\n",
    );
    let mut exchange = begin(Mechanism::Xoauth2, &user);
    let line = encode_initial(&exchange.initial_response().expect("an initial response"));
    assert_eq!(
        text(line),
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    );
    assert_eq!(exchange.finished_ok(), Ok(()));
    let json = decode_challenge(
        b"eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIG1hYyIsInNjb3BlIjoiaHR0cHM6Ly9tYWlsLmdvb2dsZS5jb20vIn0K",
    )
    .expect("base64");
    assert_eq!(exchange.respond(&json).map(text).as_deref(), Ok(""));
    assert_eq!(
        exchange.server_error(),
        Some("401, scope https://mail.google.com/")
    );
    assert!(is_bad(exchange.respond(b"")), "a second error");
    assert!(exchange.finished_ok().is_err(), "success after a refusal");
}

#[test]
fn oauthbearer_rfc_7628() {
    let user = credentials(
        "user@example.com",
        "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
    );
    let mut exchange = begin(Mechanism::Oauthbearer, &user);
    assert_eq!(
        text(exchange.initial_response().expect("an initial response")),
        "n,a=user@example.com,\x01host=server.example.com\x01port=587\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
    );
    let json = br#"{"status":"invalid_token","scope":"example_scope"}"#;
    assert_eq!(exchange.respond(json).map(text).as_deref(), Ok("\x01"));
    assert_eq!(
        exchange.server_error(),
        Some("invalid_token, scope example_scope")
    );
    assert!(
        initial(Mechanism::Oauthbearer, &acting_for("a=b,c", "u", "t"))
            .starts_with("n,a=a=3Db=2Cc,\x01")
    );
    assert!(initial(Mechanism::Oauthbearer, &credentials("", "t")).starts_with("n,,\x01"));
}

#[test]
fn bearer_fields_cannot_be_broken_out_of() {
    for mechanism in [Mechanism::Xoauth2, Mechanism::Oauthbearer] {
        for (user, token) in [
            ("u\x01auth=x", "t"),
            ("u\r\n", "t"),
            ("u", ""),
            ("u", " \n"),
            ("u", "a b"),
            ("u", "a\x01b"),
            ("u", "ü"),
        ] {
            let result = mechanism.start(&credentials(user, token), &binding(NONCE));
            assert!(
                matches!(result, Err(SaslError::UnusableCredentials(_))),
                "{user:?} {token:?}"
            );
        }
    }
    let host = Binding {
        host: "a\x01b",
        ..binding(NONCE)
    };
    assert!(
        Mechanism::Oauthbearer
            .start(&credentials("u", "t"), &host)
            .is_err()
    );
}

#[test]
fn no_formatter_shows_a_secret() {
    let canary = credentials("user", "canary-7f3a");
    assert!(!format!("{canary:?}").contains("canary"));
    for mechanism in [
        Mechanism::CramMd5,
        Mechanism::External,
        Mechanism::Login,
        Mechanism::Oauthbearer,
        Mechanism::Plain,
        Mechanism::ScramSha1,
        Mechanism::ScramSha256,
        Mechanism::Xoauth2,
    ] {
        let exchange = begin(mechanism, &canary);
        let shown = format!("{exchange:?} {exchange:#?}");
        assert!(
            shown.contains("Exchange") && !shown.contains("canary"),
            "{shown}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_challenge_panics_or_proves_the_server(
        challenges in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..5),
        near in "r=fyko\\+d2lbbFgONRv9qkxdawL[!-~]{0,5},s=[A-Za-z0-9=]{0,8},i=4[0-9]{0,3}",
        near_final in "[ve]=[A-Za-z0-9+/]{27}=",
    ) {
        for mechanism in Mechanism::ALL {
            let channel_binding = ChannelBinding::TlsServerEndPoint(b"hash");
            let binding = Binding { channel_binding, ..binding(NONCE) };
            let mut exchange = mechanism.start(&credentials("user", "pencil"), &binding).expect("usable");
            exchange.initial_response();
            let near = [near.as_bytes(), near_final.as_bytes()];
            for challenge in challenges.iter().map(Vec::as_slice).chain(near) {
                let _ = exchange.respond(challenge);
            }
            if mechanism.keyword().starts_with("SCRAM") {
                prop_assert_eq!(exchange.finished_ok(), Err(SaslError::ServerNotProven));
            }
        }
    }

    #[test]
    fn plain_has_exactly_two_nuls(user in any::<String>(), password in any::<String>()) {
        if let Ok(mut exchange) = Mechanism::Plain.start(&credentials(&user, &password), &binding(NONCE)) {
            let response = exchange.initial_response().expect("an initial response");
            let parts: Vec<_> = response.expose().split(|&b| b == 0).collect();
            prop_assert_eq!(parts, [&b""[..], user.as_bytes(), password.as_bytes()]);
        }
    }
}
