//! Certificates that are refused, asked about, pinned and changed; servers that
//! spoke TLS before.

mod support;

use std::path::{Path, PathBuf};

use smtpmail_core::delivery::{Answer, Event, Question, Request, TrustAnswer};
use smtpmail_core::net::tls::Version;
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::{CertKind, Options};

use self::support::*;

fn with_certificate(kind: CertKind) -> Options {
    let mut options = options();
    // The files of a kind are written anew by each server.
    options.certs = Some(scratch("certs"));
    options.cert = kind;
    options
}

fn remembering(mut request: Request, file: &Path) -> Request {
    request.tls.known = Some(file.to_owned());
    request
}

/// Deliver and answer each question about a certificate so.
fn trusting(request: Request, answer: TrustAnswer) -> Ended {
    deliver_answering(request, |question| match question {
        Question::Certificate { .. } => Some(Answer::Trust(answer)),
        other => panic!("unexpected: {other:?}"),
    })
}

#[test]
fn each_bad_certificate_is_refused_with_what_people_need_and_nothing_is_sent() {
    let cases: [(CertKind, &str, &[&str]); 13] = [
        (
            CertKind::Expired,
            "localhost",
            &["it has expired, on ", "renew"],
        ),
        (
            CertKind::Future,
            "localhost",
            &["not yet valid, but from ", "clock"],
        ),
        (
            CertKind::WrongHost,
            "localhost",
            &[
                "it is for wrong.example, not for localhost",
                "smtpmail-smtp-server",
            ],
        ),
        (
            CertKind::CnOnly,
            "localhost",
            &["names no host as its alternative name"],
        ),
        (
            CertKind::AddressOnly,
            "localhost",
            &["it is for 127.0.0.1, not for localhost"],
        ),
        (
            CertKind::WrongHost,
            "127.0.0.1",
            &["it is for wrong.example, not for 127.0.0.1"],
        ),
        (
            CertKind::SelfSigned,
            "localhost",
            &["self-signed", "gnutls-trustfiles"],
        ),
        (
            CertKind::Untrusted,
            "localhost",
            &[
                "CN=smtpmail unknown CA, is not trusted here",
                "gnutls-trustfiles",
            ],
        ),
        (
            CertKind::ChainMissing,
            "localhost",
            &["CN=smtpmail intermediate CA", "leaves out the certificates"],
        ),
        (
            CertKind::ClientUsage,
            "localhost",
            &["not meant for servers"],
        ),
        (CertKind::Md5, "localhost", &["with MD5, can be forged"]),
        (CertKind::Sha1, "localhost", &["with SHA-1, can be forged"]),
        (
            CertKind::WeakKey,
            "localhost",
            &["too weak (RSA of 1024 bits)"],
        ),
    ];
    for (kind, host, words) in cases {
        for security in [
            Security::Opportunistic,
            Security::Required,
            Security::Implicit,
        ] {
            let mut options = with_certificate(kind);
            options.ssl = security == Security::Implicit;
            let server = start(options);
            let mut request = request(&server);
            request.host = host.into();
            request.plan.security = security;
            request.plan.login = Some(login(PASSWORD, &[Mechanism::Plain]));
            let mut asked = 0;
            let ended = deliver_answering(request, |question| match question {
                Question::Certificate { certificate, .. } => {
                    asked += 1;
                    let sha256 = certificate.fingerprint.replace(':', "");
                    assert_eq!(sha256, server.certificate_sha256(), "{kind:?}");
                    Some(Answer::Trust(TrustAnswer::No))
                }
                other => panic!("unexpected: {other:?}"),
            });
            assert_eq!(asked, 1, "{kind:?} {host} {security:?}\n{}", ended.trace());
            ended.assert_failed(FailureKind::Certificate, Phase::Handshake);
            let text = &ended.failure().text;
            for words in words {
                assert!(text.contains(words), "{kind:?}: {text}");
            }
            for fact in ["signed by CN=", " until ", " SHA-256 "] {
                assert!(text.contains(fact), "{kind:?}: {text}");
            }
            assert!(!text.contains("error:") && !text.contains(".c:"), "{text}");
            let commands = server.report().commands;
            for command in ["AUTH", "MAIL"] {
                assert!(!commands.contains_key(command), "{kind:?}: {commands:?}");
            }
            assert!(server.messages().is_empty());
        }
    }
}

#[test]
fn a_chain_that_the_server_shows_and_an_address_are_accepted() {
    let server = start(with_certificate(CertKind::Chain));
    deliver(request(&server)).assert_accepted();
    let server = start(with_certificate(CertKind::AddressOnly));
    let mut by_address = request(&server);
    by_address.host = "127.0.0.1".into();
    deliver(by_address).assert_accepted();
}

#[test]
fn trusted_once_is_trusted_for_this_delivery_only() {
    let file = scratch("trust");
    let server = start(with_certificate(CertKind::SelfSigned));
    trusting(remembering(request(&server), &file), TrustAnswer::Once).assert_accepted();
    assert!(server.messages()[0].tls);
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(!text.contains("pin "), "{text}");
    trusting(remembering(request(&server), &file), TrustAnswer::No)
        .assert_failed(FailureKind::Certificate, Phase::Handshake);
}

#[test]
fn trusted_always_is_never_asked_again_like_a_bridge_on_this_machine() {
    for (kind, implicit) in [
        (CertKind::SelfSigned, false),
        (CertKind::SelfSigned, true),
        (CertKind::WeakKey, false),
        (CertKind::CnOnly, false),
    ] {
        let file = scratch("trust");
        let mut options = with_certificate(kind).user(USER, PASSWORD);
        options.ssl = implicit;
        let server = start(options);
        let ask = || {
            let mut request = remembering(request(&server), &file);
            if implicit {
                request.plan.security = Security::Implicit;
            }
            request.plan.login = Some(login(PASSWORD, &[Mechanism::Plain]));
            request
        };
        trusting(ask(), TrustAnswer::Always).assert_accepted();
        // No question now.
        deliver(ask()).assert_accepted();
        let messages = server.messages();
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|m| m.tls && m.auth_user.is_some()));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.contains(&format!("pin localhost {} ", server.port())),
            "{text}"
        );
    }
}

#[test]
fn a_changed_certificate_of_a_pinned_server_is_refused_loudly_without_a_question() {
    // Also where the new one is better than the old one.
    for next in [CertKind::SelfSigned, CertKind::Good] {
        let file = scratch("trust");
        let server = start(with_certificate(CertKind::SelfSigned));
        let port = server.port();
        trusting(remembering(request(&server), &file), TrustAnswer::Always).assert_accepted();
        let old = server.certificate_sha256();
        drop(server);
        let mut options = with_certificate(next).user(USER, PASSWORD);
        options.port = port;
        let server = start(options);
        let ask = || {
            let mut request = remembering(request(&server), &file);
            request.plan.login = Some(login(PASSWORD, &[Mechanism::Plain]));
            request
        };
        let ended = deliver(ask());
        ended.assert_failed(FailureKind::Certificate, Phase::Handshake);
        let text = &ended.failure().text;
        assert!(text.contains("HAS CHANGED"), "{text}");
        assert!(text.contains("smtpmail-forget-server"), "{text}");
        let shown = text.replace(':', "");
        assert!(shown.contains(&old) && shown.contains(&server.certificate_sha256()));
        assert_eq!(server.report().auth_attempts, 0);
        assert!(server.messages().is_empty());
        // Forgotten, it is a server like others.
        assert!(smtpmail_core::net::known::forget(&file, "localhost", port).unwrap());
        let ended = trusting(ask(), TrustAnswer::No);
        assert_eq!(
            ended.questions().len(),
            usize::from(next == CertKind::SelfSigned)
        );
    }
}

#[test]
fn a_pin_counts_for_its_port_only() {
    let file = scratch("trust");
    let options = with_certificate(CertKind::SelfSigned);
    let server = start(options.clone());
    trusting(remembering(request(&server), &file), TrustAnswer::Always).assert_accepted();
    let other = start(options);
    trusting(remembering(request(&other), &file), TrustAnswer::No)
        .assert_failed(FailureKind::Certificate, Phase::Handshake);
}

#[test]
fn with_ask_new_each_certificate_is_asked_about_until_it_is_pinned() {
    let file = scratch("trust");
    let server = start(options());
    let ask = || {
        let mut request = remembering(request(&server), &file);
        request.tls.ask_new = true;
        request
    };
    let refused = trusting(ask(), TrustAnswer::No);
    refused.assert_failed(FailureKind::Certificate, Phase::Handshake);
    assert!(refused.failure().text.contains("not seen before"));
    assert!(server.messages().is_empty());
    trusting(ask(), TrustAnswer::Always).assert_accepted();
    deliver(ask()).assert_accepted();
}

#[test]
fn a_trust_file_that_cannot_be_used_stops_the_mail_and_is_named() {
    let server = start(options());
    let directory = scratch("directory");
    std::fs::create_dir(&directory).unwrap();
    let fifo = scratch("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let newer = file("newer", b"smtpmail-trust 99\n");
    for path in [directory, fifo, newer] {
        let ended = deliver(remembering(request(&server), &path));
        ended.assert_failed(FailureKind::Disk, Phase::Connect);
        let text = &ended.failure().text;
        assert!(text.contains(&path.display().to_string()), "{text}");
    }
    assert_eq!(server.sessions(), 0);
}

#[test]
fn a_trust_file_that_cannot_be_written_stops_no_mail() {
    let server = start(with_certificate(CertKind::SelfSigned));
    // Its directory cannot be made: its parent is a file.
    let path = file("plain", b"").join("trust");
    let ended = trusting(remembering(request(&server), &path), TrustAnswer::Always);
    ended.assert_accepted();
    let warned = |event: &Event| matches!(event, Event::Warning(text) if text.contains("trust"));
    assert!(ended.events.iter().any(warned), "{:?}", ended.events);
    let full = scratch("no/such/directory").join("trust");
    trusting(remembering(request(&server), &full), TrustAnswer::Always).assert_accepted();
    assert!(full.exists(), "the directory is made");
}

#[test]
fn a_server_that_spoke_tls_and_does_not_any_more_is_asked_about() {
    let file = scratch("trust");
    let server = start(options());
    let port = server.port();
    deliver(remembering(request(&server), &file)).assert_accepted();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("tls localhost {port} ")), "{text}");
    drop(server);
    let mut stripped = options().caps("PIPELINING,8BITMIME");
    stripped.port = port;
    let server = start(stripped);
    let ask = || remembering(request_to(port, certificates().join("ca.pem")), &file);
    let refused = deliver_answering(ask(), |question| match question {
        Question::WithoutTls => Some(Answer::Yes(false)),
        other => panic!("unexpected: {other:?}"),
    });
    refused.assert_failed(FailureKind::Insecure, Phase::Ehlo);
    assert!(refused.failure().text.contains("spoke TLS before"));
    assert!(!server.report().commands.contains_key("MAIL"));
    let allowed = deliver_answering(ask(), |question| match question {
        Question::WithoutTls => Some(Answer::Yes(true)),
        other => panic!("unexpected: {other:?}"),
    });
    allowed.assert_accepted();
    // That was for one delivery.
    assert_eq!(
        deliver_answering(ask(), |_| Some(Answer::Yes(false)))
            .questions()
            .len(),
        1
    );
    // Who wants no TLS at all is not asked.
    let mut never = ask();
    never.plan.security = Security::Never;
    deliver(never).assert_accepted();
    // A server that was never seen with TLS may be without.
    let other = start(options().caps("PIPELINING"));
    deliver(remembering(request(&other), &file)).assert_accepted();
}

#[test]
fn ehlo_refused_does_not_hide_that_tls_is_gone() {
    let file = scratch("trust");
    let server = start(options());
    let port = server.port();
    deliver(remembering(request(&server), &file)).assert_accepted();
    drop(server);
    let mut helo = options_on(&["ehlo=reply 502 what?"]);
    helo.port = port;
    let server = start(helo);
    let request = remembering(request(&server), &file);
    let ended = deliver_answering(request, |_| Some(Answer::Yes(false)));
    ended.assert_failed(FailureKind::Insecure, Phase::Ehlo);
    assert!(server.messages().is_empty());
}

#[test]
fn the_oldest_version_can_be_raised() {
    let server = start(options());
    let mut request = request(&server);
    request.tls.oldest = Version::Tls13;
    let ended = deliver(request);
    ended.assert_accepted();
    assert!(ended.trace().contains("TLS 1.3"));
}

fn file(name: &str, octets: &[u8]) -> PathBuf {
    let path = scratch(name);
    std::fs::write(&path, octets).unwrap();
    path
}

/// A certificate of the settings takes the place of authorities, of what was trusted
/// by hand, and of questions.
#[test]
fn a_certificate_that_the_settings_name_is_the_only_one() {
    let server = start(with_certificate(CertKind::SelfSigned));
    let seen = deliver_answering(request(&server), |question| match question {
        Question::Certificate { .. } => Some(Answer::Trust(TrustAnswer::No)),
        other => panic!("unexpected: {other:?}"),
    });
    let fingerprint = seen
        .questions()
        .into_iter()
        .find_map(|question| match question {
            Question::Certificate { certificate, .. } => Some(certificate.fingerprint.clone()),
            _ => None,
        });
    let fingerprint = fingerprint.expect("it was asked about");
    let other = fingerprint.replace(&fingerprint[..2], "00");
    let pinned = |server: &smtpmail_test_server::Server, pins: &[&String]| {
        let mut all = request(server);
        all.plan.security = Security::Required;
        all.tls.pins = pins.iter().map(|pin| (*pin).clone()).collect();
        deliver(all)
    };
    pinned(&server, &[&other, &fingerprint]).assert_accepted();
    let refused = pinned(&server, &[&other]);
    refused.assert_failed(FailureKind::Certificate, Phase::Handshake);
    let text = &refused.failure().text;
    assert!(
        text.contains(":pin") && text.contains(&fingerprint),
        "{text}"
    );
    // Also one that an authority vouches for.
    let good = start(options());
    pinned(&good, &[&fingerprint]).assert_failed(FailureKind::Certificate, Phase::Handshake);
    // And one that was trusted by hand.
    let file = scratch("known");
    let mut all = remembering(request(&server), &file);
    all.plan.security = Security::Required;
    trusting(all, TrustAnswer::Always).assert_accepted();
    let mut all = remembering(request(&server), &file);
    all.plan.security = Security::Required;
    all.tls.pins = vec![other];
    deliver(all).assert_failed(FailureKind::Certificate, Phase::Handshake);
}
