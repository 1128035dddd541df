//! The server as it should be: replies, envelopes, bytes, TLS, logins.

mod common;

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Client, connect, greeted, handshake, options, start, tcp};
use smtpmail_test_server::{CertKind, ClientCertificate, Facts};

#[test]
fn a_message_is_stored_byte_for_byte_with_its_envelope() {
    let server = start(options());
    let mut client = greeted(&server);
    client.expect(
        "MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME",
        "250 2.1.0",
    );
    client.expect("RCPT TO:<b@example.org> NOTIFY=NEVER", "250 2.1.5");
    client.expect("RCPT TO:<c@example.org>", "250");
    client.expect("DATA", "354 ");
    client.send(b"A: b\r\n\r\n..\r\n..x\r\nbare\nlf\xff\r\n.\r\n");
    assert!(client.reply().starts_with("250 2.0.0"));
    let messages = server.messages();
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(
        message.bytes().expect("a file"),
        b"A: b\r\n\r\n.\r\n.x\r\nbare\nlf\xff\r\n"
    );
    assert_eq!(
        (message.from.as_str(), message.via),
        ("a@example.org", "data")
    );
    assert_eq!(message.to, ["b@example.org", "c@example.org"]);
    assert_eq!(message.mail_params, ["SIZE=10", "BODY=8BITMIME"]);
    assert_eq!(
        message.rcpt_params,
        [vec!["NOTIFY=NEVER".to_owned()], vec![]]
    );
    let facts = Facts {
        bare_cr: 0,
        bare_lf: 1,
        eight_bit: true,
        longest_line: 8,
    };
    assert_eq!(message.facts, facts);
    let json = fs::read_to_string(server.spool().join("0001.json")).expect("an envelope");
    let start = r#"{"from":"a@example.org","to":["b@example.org","c@example.org"],"#;
    assert!(json.starts_with(start), "{json}");
    assert!(json.contains(r#""auth_user":null,"tls":false"#), "{json}");
    client.expect("QUIT", "221");
    assert_eq!(client.rest().expect("a clean close"), b"");
    let transcript = server.transcript(1).expect("a transcript");
    assert!(
        transcript.contains("C: <25 bytes of message>\nS: 250 "),
        "{transcript}"
    );
    assert!(
        transcript.ends_with("C: QUIT\nS: 221 2.0.0 Bye\n*: close\n"),
        "{transcript}"
    );
}

#[test]
fn numbers_go_on_in_a_spool_that_is_used_again() {
    let options = options();
    for expected in 1..=2 {
        let server = smtpmail_test_server::Server::start(options.clone()).expect("a server");
        let mut client = greeted(&server);
        client.begin_data();
        client.expect(".", "250");
        assert_eq!(server.messages()[0].number, expected);
    }
    let _last = start(options); // Removes the spool.
}

#[test]
fn pipelined_commands_are_answered_in_order_and_together() {
    let server = start(options());
    let mut client = greeted(&server);
    client.send("MAIL FROM:<>\r\nRCPT TO:<b@c>\r\nRCPT TO:<nobody>\r\nNOOP\r\nDATA\r\n");
    let codes: Vec<String> = (0..5).map(|_| client.reply()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "501", "250", "354"]);
    client.send("x\r\n.\r\nMAIL FROM:<a@b>\r\nQUIT\r\n");
    let codes: Vec<String> = (0..3).map(|_| client.reply()[..3].to_owned()).collect();
    assert_eq!(codes, ["250", "250", "221"]);
    drop(client);
    assert!(server.wait_until_quiet(Duration::from_secs(5)));
    // Greeting, EHLO, the first batch; QUIT is not waited behind.
    assert_eq!(server.report().turns, 3);
    assert_eq!(server.report().commands["RCPT"], 2);
}

#[test]
fn order_and_syntax_are_enforced() {
    let server = start(options());
    let mut client = connect(&server);
    client.expect("MAIL FROM:<a@b>", "503");
    client.expect("EHLO", "501");
    client.expect("EHLO two words", "501");
    client.expect("HELO client", "250 mail.example.org\r\n");
    client.expect("MAIL FROM:<a@b> SIZE=1", "555");
    client.expect("EHLO [IPv6:::1]", "250-");
    let table = [
        ("RCPT TO:<a@b>", "503 5.5.1"),
        ("DATA", "503"),
        ("MAIL FROM: <a@b>", "501"),
        ("MAIL FROM:<a b@c>", "501 5.1.7"),
        ("MAIL FROM:<a@b> X=1", "555"),
        ("MAIL FROM:<a@b> SIZE=x", "501"),
        ("MAIL FROM:<é@b>", "553 5.6.7"),
        ("MAIL FROM:<é@b> SMTPUTF8", "250"),
        ("MAIL FROM:<a@b>", "503"),
        ("DATA", "554"),
        ("RCPT TO:<>", "501"),
        ("RCPT TO:<a@b> X=1", "555"),
        ("RCPT TO:<ü@b>", "250"),
        ("AUTH PLAIN", "502"),
        ("RSET", "250"),
        ("RCPT TO:<a@b>", "503"),
        ("BDAT x", "501"),
        ("NONSENSE", "500 5.5.2"),
        ("VRFY a", "252"),
        ("STARTTLS now", "501"),
        ("VERB", "502"),
    ];
    for (command, start) in table {
        client.expect(command, start);
    }
    client.send("NOOP\nNOOP\r\n");
    assert!(client.reply().starts_with("500"), "a bare LF");
    assert!(client.reply().starts_with("250"));
    client.send([b"NOOP ", [b'x'; 20_000].as_slice(), b"\r\n"].concat());
    assert!(client.reply().starts_with("500 5.5.6"), "a long line");
    client.expect("NOOP", "250");
}

#[test]
fn chunks_make_one_message_and_stay_as_they_are() {
    let server = start(options());
    let mut client = greeted(&server);
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 5\r\n.\r\n.\rBDAT 3 last\r\n\n\r\n");
    for _ in 0..4 {
        assert!(client.reply().starts_with("250"));
    }
    assert_eq!(
        server.messages()[0].bytes().expect("a file"),
        b".\r\n.\r\n\r\n"
    );
    assert_eq!(server.messages()[0].via, "bdat");
    // The octets of a refused chunk are skipped, not taken for commands.
    client.send("BDAT 6\r\nQUIT\r\nNOOP\r\n");
    assert!(client.reply().starts_with("503"));
    assert!(client.reply().starts_with("250"));
    client.expect("MAIL FROM:<a@b>", "250");
    client.expect("RCPT TO:<c@d>", "250");
    client.expect("BDAT 0", "250");
    client.expect("DATA", "503");
    client.expect("BDAT 0 LAST", "250");
    assert_eq!(server.messages()[1].size, 0);
}

#[test]
fn sizes_are_limited_at_mail_or_at_the_end() {
    let mut wanted = options();
    wanted.max_size = Some(10);
    let server = start(wanted);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@b> SIZE=11", "552 5.3.4");
    client.expect("MAIL FROM:<a@b> SIZE=10", "250");
    client.expect("RCPT TO:<a@b>", "250");
    client.expect("DATA", "354");
    client.expect("123456789\r\n.", "552 5.3.4");
    client.begin_data();
    client.expect("12345678\r\n.", "250");
    client.expect("MAIL FROM:<a@b>", "250");
    client.expect("RCPT TO:<a@b>", "250");
    client.send("BDAT 11\r\n12345678901BDAT 0 LAST\r\n");
    assert!(client.reply().starts_with("552"));
    assert!(client.reply().starts_with("503"));
    assert_eq!(server.messages().len(), 1);

    let mut wanted = options();
    wanted.max_size = Some(10);
    wanted.size_at_dot = true;
    wanted.max_rcpts = Some(1);
    let server = start(wanted);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@b> SIZE=11", "250");
    client.expect("RCPT TO:<a@b>", "250");
    client.expect("RCPT TO:<c@b>", "452 4.5.3");
    client.expect("DATA", "354");
    client.expect("123456789\r\n.", "552");
    assert_eq!(server.messages().len(), 0);
}

#[test]
fn logins_work_and_count() {
    let mut wanted = options().user("joe", "sécret");
    wanted.require_auth = true;
    let server = start(wanted);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@b>", "530 5.7.0");
    client.expect("AUTH NTLM", "504");
    client.expect("AUTH PLAIN !!!", "501");
    client.expect(
        &format!("AUTH PLAIN {}", STANDARD.encode("\0joe\0wrong")),
        "535 5.7.8",
    );
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n");
    client.expect("*", "501");
    client.expect("AUTH LOGIN", "334 VXNlcm5hbWU6\r\n");
    client.expect(&STANDARD.encode("joe"), "334 UGFzc3dvcmQ6\r\n");
    client.expect(&STANDARD.encode("sécret"), "235 2.7.0");
    client.expect("AUTH PLAIN", "503");
    client.begin_data();
    client.expect(".", "250");
    assert_eq!(server.messages()[0].auth_user.as_deref(), Some("joe"));
    assert_eq!(server.report().auth_attempts, 6);
}

#[test]
fn starttls_forgets_all_and_discards_what_came_in_clear() {
    let server = start(options().user("u", "p"));
    let mut client = greeted(&server);
    client.send("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n");
    assert!(client.reply().starts_with("220"));
    let mut client = handshake(client.stream, server.ca_path(), None).expect("a good certificate");
    client.expect("MAIL FROM:<a@b>", "503");
    let reply = client.ask("EHLO client");
    assert!(
        reply.contains("AUTH PLAIN") && !reply.contains("STARTTLS"),
        "{reply}"
    );
    client.expect("STARTTLS", "503");
    client.begin_data();
    client.expect(".", "250");
    assert!(server.messages()[0].tls);
    let transcript = server.transcript(1).expect("a transcript");
    assert!(!transcript.contains("C: MAIL FROM:<evil"), "{transcript}");
    assert!(transcript.contains("*: tls TLSv1.3 "), "{transcript}");
}

#[test]
fn a_vulnerable_server_keeps_what_came_in_clear() {
    let mut wanted = options();
    wanted.starttls_keeps_buffer = true;
    let server = start(wanted);
    let mut client = greeted(&server);
    client.send("STARTTLS\r\nNOOP\r\n");
    assert!(client.reply().starts_with("220"));
    let mut client = handshake(client.stream, server.ca_path(), None).expect("a handshake");
    assert!(
        client.reply().starts_with("250"),
        "the reply to the clear-text NOOP"
    );
}

#[test]
fn tls_can_be_required_and_be_there_from_the_start() {
    let mut wanted = options();
    wanted.require_tls = true;
    wanted.also_ssl = true;
    let server = start(wanted);
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@b>", "530 5.7.0");
    client.send("BDAT 4 LAST\r\nQUIT");
    assert!(client.reply().starts_with("530"));
    client.expect("NOOP", "250");
    let port = server.tls_port().expect("a second port");
    let mut client = handshake(tcp(port), server.ca_path(), None).expect("a handshake");
    assert!(client.reply().starts_with("220 "));
    client.expect("EHLO client", "250-");
    client.begin_data();
    client.expect(".", "250");

    let mut wanted = options();
    wanted.ssl = true;
    let server = start(wanted);
    assert_eq!(server.tls_port(), Some(server.port()));
    let client = handshake(tcp(server.port()), server.ca_path(), None);
    assert!(client.expect("a handshake").reply().starts_with("220 "));
}

#[test]
fn each_kind_of_certificate_is_what_it_says() {
    for (name, kind) in CertKind::NAMES {
        let mut wanted = options();
        wanted.ssl = true;
        wanted.cert = kind;
        let server = start(wanted);
        let result = handshake(tcp(server.port()), server.ca_path(), None).map(drop);
        let complaint = match kind {
            CertKind::Good | CertKind::Chain => None,
            // OpenSSL itself takes the common name when there is no other.
            CertKind::AddressOnly | CertKind::CnOnly => None,
            CertKind::ChainExpired | CertKind::Expired => Some("expired"),
            CertKind::Future => Some("not yet valid"),
            CertKind::AddressAsName | CertKind::WrongHost => Some("hostname mismatch"),
            CertKind::SelfSigned => Some("self-signed certificate"),
            CertKind::Untrusted | CertKind::ChainMissing => {
                Some("unable to get local issuer certificate")
            }
            CertKind::Wildcard => Some("hostname mismatch"),
            CertKind::ClientUsage => Some("unsuitable certificate purpose"),
            // What OpenSSL says depends on the level that its builder chose.
            CertKind::ChainSha1
            | CertKind::ChainWeakKey
            | CertKind::Md5
            | CertKind::Sha1
            | CertKind::WeakKey => continue,
        };
        match (complaint, result) {
            (None, result) => result.expect(name),
            (Some(complaint), result) => {
                let error = result.expect_err(name);
                assert!(error.contains(complaint), "{name}: {error}");
            }
        }
        let pem = fs::read(server.spool().join(format!("certs/server-{name}.pem"))).expect(name);
        let certificate = openssl::x509::X509::from_pem(&pem).expect(name);
        assert_eq!(
            certificate.subject_alt_names().is_none(),
            kind == CertKind::CnOnly,
            "{name}"
        );
    }
}

#[test]
fn a_client_certificate_can_be_required() {
    let mut wanted = options();
    wanted.ssl = true;
    wanted.client_certificate = ClientCertificate::Required;
    let server = start(wanted);
    let identity = server.spool().join("certs");
    let mut client =
        handshake(tcp(server.port()), server.ca_path(), Some(&identity)).expect("a handshake");
    assert!(client.reply().starts_with("220 "));
    client.expect("EHLO client", "250-");
    client.begin_data();
    client.expect(".", "250");
    let name = server.messages()[0].client_certificate.clone();
    assert_eq!(name.as_deref(), Some("smtpmail test client"));
    // In TLS 1.3 the refusal comes after the client's handshake.
    let refused = handshake(tcp(server.port()), server.ca_path(), None)
        .and_then(|mut client| client.try_reply().map_err(|error| error.to_string()));
    assert!(refused.is_err(), "{refused:?}");
}

#[test]
fn servers_share_a_ca() {
    let first = start(options());
    let mut wanted = options();
    wanted.certs = Some(first.spool().join("certs"));
    wanted.ssl = true;
    let before = fs::read(first.ca_path()).expect("a CA");
    let second = start(wanted);
    assert_eq!(fs::read(first.ca_path()).expect("a CA"), before);
    handshake(tcp(second.port()), first.ca_path(), None)
        .map(drop)
        .expect("the same CA");
}

#[test]
fn a_verbose_server_talks_before_the_reply() {
    let server = start(options().caps("VERB,XVRB"));
    let mut client = greeted(&server);
    client.expect("VERB", "250 Verbose");
    client.begin_data();
    client.expect(".", "050 ");
    assert!(client.reply().starts_with("250 "));
}

#[test]
fn a_dropped_server_ends_its_sessions() {
    let server = smtpmail_test_server::Server::start(options()).expect("a server");
    let spool = server.spool().to_owned();
    let mut client: Client<_> = greeted(&server);
    drop(server);
    assert_eq!(client.rest().expect("an end, not a time limit"), b"");
    drop(fs::remove_dir_all(spool));
}

#[test]
fn parameters_are_held_to_their_grammar() {
    let mut options = options().caps("STARTTLS,DSN,MT-PRIORITY MIXER,REQUIRETLS,SIZE");
    options.refused_parameters = vec!["envid".to_owned()];
    let server = start(options);
    let mut client = greeted(&server);
    for (parameters, code) in [
        ("RET=HDRS", "250"),
        ("RET=NONE", "501"),
        ("RET=HDRS RET=FULL", "501"),
        ("ENVID=x", "555"),
        ("MT-PRIORITY=-9", "250"),
        ("MT-PRIORITY=10", "501"),
        ("MT-PRIORITY=+1", "501"),
        // Only within TLS.
        ("REQUIRETLS", "501"),
        ("SMTPUTF8", "555"),
        ("NOTIFY=NEVER", "555"),
    ] {
        client.expect(&format!("MAIL FROM:<a@example.org> {parameters}"), code);
        client.expect("RSET", "250");
    }
    client.expect("MAIL FROM:<a@example.org>", "250");
    for (parameters, code) in [
        ("NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bc@example.org", "250"),
        ("NOTIFY=NEVER,DELAY", "501"),
        ("ORCPT=b@example.org", "501"),
        ("RET=FULL", "555"),
    ] {
        client.expect(&format!("RCPT TO:<b@example.org> {parameters}"), code);
    }
}
