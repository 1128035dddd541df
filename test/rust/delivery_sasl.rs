//! Logins whose exchange depends on the connection: channel binding, nonces,
//! tokens, and mechanisms that become weaker.

mod support;

use std::path::Path;

use smtpmail_core::delivery::{Answer, Event, Question, Request};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::{Options, Server};

use self::support::*;

const SCRAM: [Mechanism; 4] = [
    Mechanism::ScramSha256Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha1,
];

fn offering(mechanisms: &str) -> Options {
    options()
        .user(USER, PASSWORD)
        .caps(&format!("PIPELINING,STARTTLS,AUTH {mechanisms}"))
}

fn with(server: &Server, mechanisms: &[Mechanism]) -> Request {
    let mut request = request(server);
    request.plan.login = Some(login(PASSWORD, mechanisms));
    request
}

/// The client's words of all sessions, base64 decoded where they are.
fn said(server: &Server) -> String {
    use base64::Engine as _;
    let mut logs = String::new();
    let end = std::time::Instant::now() + WATCHDOG;
    for number in 1..=server.sessions() {
        let log = server.spool().join(format!("session-{number}.log"));
        while !log.exists() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        for line in std::fs::read_to_string(log).unwrap().lines() {
            let word = line.rsplit(' ').next().unwrap_or_default();
            let decoded = base64::engine::general_purpose::STANDARD.decode(word);
            let text = decoded
                .ok()
                .and_then(|octets| String::from_utf8(octets).ok());
            logs.push_str(&format!("{line}\n"));
            logs.push_str(&text.map_or(String::new(), |text| format!("  = {text}\n")));
        }
    }
    logs
}

#[test]
fn scram_is_bound_to_the_servers_certificate() {
    for (mechanism, implicit) in [
        (Mechanism::ScramSha256Plus, false),
        (Mechanism::ScramSha256Plus, true),
        (Mechanism::ScramSha1Plus, false),
    ] {
        let mut options = offering(mechanism.keyword());
        options.ssl = implicit;
        let server = start(options);
        let mut request = with(&server, &SCRAM);
        if implicit {
            request.plan.security = Security::Implicit;
        }
        let ended = deliver(request);
        // The server compares the hash with that of its own certificate.
        ended.assert_accepted();
        assert!(said(&server).contains("= p=tls-server-end-point,,n="));
        assert_eq!(server.messages()[0].auth_user.as_deref(), Some(USER));
    }
}

#[test]
fn without_an_announced_binding_scram_says_that_it_could_and_in_clear_that_it_cannot() {
    let server = start(offering("SCRAM-SHA-256 SCRAM-SHA-1"));
    deliver(with(&server, &SCRAM)).assert_accepted();
    assert!(said(&server).contains("= y,,n="), "{}", said(&server));
    let server = start(offering("SCRAM-SHA-256"));
    let mut clear = with(&server, &SCRAM);
    clear.plan.security = Security::Never;
    deliver(clear).assert_accepted();
    assert!(said(&server).contains("= n,,n="), "{}", said(&server));
}

#[test]
fn a_refused_type_of_binding_leads_to_plain_scram_with_flag_n_and_the_trace_says_so() {
    let mut options = offering("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN");
    options.refuse_binding = true;
    let server = start(options);
    let ended = deliver(with(&server, &SCRAM));
    ended.assert_accepted();
    let said = said(&server);
    assert!(said.contains("= p=tls-server-end-point,,"), "{said}");
    assert!(said.contains("= n,,n="), "{said}");
    assert!(!said.contains("= y,,"), "{said}");
    let trace = ended.trace();
    assert!(trace.contains("on without it (gs2 flag n)"), "{trace}");
    assert!(
        trace.contains("C: *\n"),
        "the exchange is cancelled: {trace}"
    );
}

#[test]
fn a_binding_that_does_not_match_is_no_reason_for_a_weaker_login() {
    // As when somebody with another certificate stands in between.
    use base64::Engine as _;
    let error = base64::engine::general_purpose::STANDARD.encode("e=channel-bindings-dont-match");
    let server = start(
        offering("SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN")
            .on(&format!("auth-response=reply 334 {error}")),
    );
    let ended = deliver_answering(with(&server, &SCRAM), |question| match question {
        Question::Credentials {
            refused: Some(failure),
            ..
        } => {
            assert!(failure.text.contains("channel-bindings-dont-match"));
            Some(Answer::Login(None))
        }
        other => panic!("unexpected: {other:?}"),
    });
    ended.assert_failed(FailureKind::Authentication, Phase::Auth);
    assert_eq!(server.report().auth_attempts, 1);
}

#[test]
fn each_connection_has_a_nonce_of_its_own() {
    // The first connection breaks at MAIL; the second one logs in anew.
    let server = start(offering("SCRAM-SHA-256").on("mail#1=reply-close 451 4.3.0 later"));
    let mut request = with(&server, &SCRAM);
    request.attempts = 3;
    deliver(request).assert_accepted();
    assert_eq!(server.sessions(), 2);
    let said = said(&server);
    let nonces: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("  = y,,")?.split(",r=").nth(1))
        .collect();
    assert_eq!(nonces.len(), 2, "{said}");
    assert_ne!(nonces[0], nonces[1]);
}

#[test]
fn a_token_error_is_told_in_words() {
    for (mechanism, words) in [
        (Mechanism::Oauthbearer, "invalid_token"),
        (Mechanism::Xoauth2, "401"),
    ] {
        let server = start(offering(mechanism.keyword()));
        let mut request = request(&server);
        request.plan.login = Some(login(WRONG, &[mechanism]));
        let ended = deliver_answering(request, |question| match question {
            Question::Credentials {
                refused: Some(failure),
                ..
            } => {
                assert!(failure.text.contains(words), "{failure:?}");
                assert!(failure.text.contains("scope mail"), "{failure:?}");
                assert!(!failure.text.contains('{'), "{failure:?}");
                Some(Answer::Login(Some(login(PASSWORD, &[mechanism]))))
            }
            other => panic!("unexpected: {other:?}"),
        });
        ended.assert_accepted();
        assert_eq!(server.report().auth_attempts, 2);
    }
}

#[test]
fn bad_challenges_are_cancelled() {
    for (challenge, mechanism) in [
        ("!!!", Mechanism::ScramSha256),
        ("bm9uc2Vuc2U=", Mechanism::ScramSha256),
        ("cj1ub3RvdXJzLHM9UUFCQSxpPTQwOTY=", Mechanism::ScramSha256),
        ("!!!", Mechanism::CramMd5),
    ] {
        let rule = format!("auth#1=reply 334 {challenge}");
        let server = start(offering(mechanism.keyword()).on(&rule));
        let ended = deliver(with(&server, &[mechanism]));
        ended.assert_failed(FailureKind::Authentication, Phase::Auth);
        assert!(ended.trace().contains("C: *\n"), "{}", ended.trace());
        assert!(server.messages().is_empty());
    }
}

fn remembering(server: &Server, mechanisms: &[Mechanism], file: &Path) -> Request {
    let mut request = with(server, mechanisms);
    request.tls.known = Some(file.to_owned());
    request
}

#[test]
fn a_weaker_mechanism_than_before_is_said_before_the_password_goes() {
    let file = scratch("trust");
    let server = start(offering("SCRAM-SHA-256 PLAIN"));
    let port = server.port();
    let both = [Mechanism::ScramSha256, Mechanism::Plain];
    for _ in 0..2 {
        let ended = deliver(remembering(&server, &both, &file));
        ended.assert_accepted();
        assert!(!ended.events.iter().any(|e| matches!(e, Event::Warning(_))));
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let line = format!("login localhost {port} ");
    assert!(text.contains(&line), "{text}");
    assert!(text.contains(&format!(" SCRAM-SHA-256 {USER}\n")), "{text}");
    drop(server);
    let mut weaker = offering("PLAIN");
    weaker.port = port;
    let server = start(weaker);
    for _ in 0..2 {
        let ended = deliver(remembering(&server, &both, &file));
        ended.assert_accepted();
        let warned = ended.events.iter().position(
            |event| matches!(event, Event::Warning(text) if text.contains("PLAIN") && text.contains("SCRAM-SHA-256") && text.contains(USER)),
        );
        let went = ended.events.iter().position(
            |event| matches!(event, Event::Trace(line) if line.contains("C: AUTH PLAIN")),
        );
        assert!(warned.unwrap() < went.unwrap());
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains(" SCRAM-SHA-256 "),
        "the stronger one stays: {text}"
    );
    drop(server);
    // A stronger one takes its place.
    let mut stronger = offering("SCRAM-SHA-256-PLUS");
    stronger.port = port;
    let server = start(stronger);
    deliver(remembering(&server, &SCRAM, &file)).assert_accepted();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(" SCRAM-SHA-256-PLUS "), "{text}");
    assert_eq!(text.matches("login ").count(), 1, "{text}");
}
