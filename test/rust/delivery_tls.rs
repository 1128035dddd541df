//! Deliveries under TLS: whom we trust, who we are, and what must never go on
//! in clear.

mod support;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use smtpmail_core::delivery::Event;
use smtpmail_core::net::signal::Signal;
use smtpmail_core::net::tls::TlsSettings;
use smtpmail_core::net::wire::Wire;
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_test_server::{CertKind, ClientCertificate, Options};

use self::support::*;

fn with_certificate(kind: CertKind) -> Options {
    let mut options = options();
    // The files of a kind are written anew by each server.
    options.certs = Some(scratch("certs"));
    options.cert = kind;
    options
}

#[test]
fn every_kind_of_protection_delivers_the_same_octets() {
    for security in [
        Security::Never,
        Security::Opportunistic,
        Security::Required,
        Security::Implicit,
    ] {
        let mut options = options();
        options.ssl = security == Security::Implicit;
        let server = start(options);
        let mut request = request(&server);
        request.plan.security = security;
        let ended = deliver(request);
        ended.assert_accepted();
        let message = &server.messages()[0];
        assert_eq!(message.bytes().unwrap(), TEXT_ARRIVED, "{security:?}");
        assert_eq!(message.tls, security != Security::Never, "{security:?}");
        let secured = ended.events.iter().find_map(|event| match event {
            Event::Secured(facts) => Some(facts),
            _ => None,
        });
        assert_eq!(secured.is_some(), message.tls);
        if let Some(facts) = secured {
            assert_eq!(facts.version, "TLS 1.3");
            assert!(facts.cipher.starts_with("TLS_"), "{}", facts.cipher);
            let certificate = facts.certificate.as_ref().unwrap();
            assert_eq!(
                certificate.fingerprint.replace(':', ""),
                server.certificate_sha256()
            );
            assert!(ended.trace().contains(&certificate.fingerprint));
        }
    }
}

#[test]
fn starttls_is_not_offered() {
    let server = start(options().caps("PIPELINING,8BITMIME"));
    deliver(request(&server)).assert_accepted();
    let mut required = request(&server);
    required.plan.security = Security::Required;
    deliver(required).assert_failed(FailureKind::Insecure, Phase::StartTls);
    assert_eq!(server.messages().len(), 1);
}

#[test]
fn starttls_refused_or_broken_never_goes_on_in_clear() {
    let cases = [
        (
            "starttls=reply 454 4.7.0 not now",
            FailureKind::Transient,
            Phase::StartTls,
        ),
        (
            "starttls=reply 502 5.5.1 what?",
            FailureKind::Refused,
            Phase::StartTls,
        ),
        (
            "starttls=reply 250 fine",
            FailureKind::Protocol,
            Phase::StartTls,
        ),
        ("handshake=plaintext", FailureKind::Tls, Phase::Handshake),
        (
            "handshake=no-certificate",
            FailureKind::Tls,
            Phase::Handshake,
        ),
        ("handshake=garbage 200", FailureKind::Tls, Phase::Handshake),
        // Lines break; that says nothing about the server.
        ("handshake=close", FailureKind::Closed, Phase::Handshake),
        ("handshake=reset", FailureKind::Closed, Phase::Handshake),
        (
            "starttls=inject 250 forged",
            FailureKind::Tls,
            Phase::Handshake,
        ),
        (
            r"starttls=inject 250-for\c",
            FailureKind::Tls,
            Phase::Handshake,
        ),
    ];
    for (rule, kind, phase) in cases {
        for security in [Security::Opportunistic, Security::Required] {
            let server = start(options_on(&[rule]));
            let mut request = request(&server);
            request.plan.security = security;
            let ended = deliver(request);
            ended.assert_failed(kind, phase);
            let text = &ended.failure().text;
            assert!(
                !text.contains("error:") && !text.contains(".c:"),
                "{rule}: {text}"
            );
            assert!(server.messages().is_empty(), "{rule}");
            assert!(!server.report().commands.contains_key("MAIL"), "{rule}");
            assert_eq!(server.sessions(), 1, "{rule}: no second try");
        }
    }
}

#[test]
fn what_stands_before_starttls_is_no_answer_to_it() {
    for rule in ["ehlo=inject 220 go", r"ehlo=inject 220 g\c"] {
        for security in [Security::Opportunistic, Security::Required] {
            let server = start(options_on(&[rule]));
            let mut request = request(&server);
            request.plan.security = security;
            let ended = deliver(request);
            ended.assert_failed(FailureKind::Tls, Phase::StartTls);
            assert!(
                ended.failure().text.contains("before it was said"),
                "{rule}"
            );
            let commands = server.report().commands;
            assert!(!commands.contains_key("STARTTLS"), "{rule}");
            assert!(!commands.contains_key("MAIL"), "{rule}");
        }
    }
}

#[test]
fn an_address_is_checked_as_an_address() {
    let server = start(options());
    let mut good = request(&server);
    good.host = "127.0.0.1".into();
    good.plan.security = Security::Required;
    deliver(good).assert_accepted();
    let server = start(with_certificate(CertKind::WrongHost));
    let mut wrong = request(&server);
    wrong.host = "127.0.0.1".into();
    deliver_untrusting(wrong).assert_failed(FailureKind::Certificate, Phase::Handshake);
}

#[test]
fn a_final_dot_is_no_part_of_the_name_in_the_certificate() {
    let server = start({
        let mut options = options();
        options.ssl = true;
        options
    });
    let settings = TlsSettings {
        trust_files: vec![server.ca_path().to_owned()],
        ..TlsSettings::default()
    };
    let deadline = std::time::Instant::now() + WATCHDOG;
    for (host, good) in [
        ("localhost.", true),
        ("[::1]", true),
        ("::1%lo", true),
        ("elsewhere.", false),
    ] {
        let socket = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut wire = Wire::new(socket, Arc::new(Signal::new().unwrap())).unwrap();
        let shaken = wire.start_tls(&settings, host, deadline);
        assert_eq!(shaken.is_ok(), good, "{host}: {shaken:?}");
    }
}

#[test]
fn the_authority_must_be_trusted_by_a_file() {
    let server = start(options());
    let mut request = request(&server);
    request.tls.trust.clear();
    deliver_untrusting(request).assert_failed(FailureKind::Certificate, Phase::Handshake);
    assert!(server.messages().is_empty());
}

#[test]
fn a_trust_file_that_cannot_be_used_is_named() {
    let server = start(options());
    let empty = scratch("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let broken = scratch("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let missing = scratch("missing.pem");
    for path in [&empty, &broken, &missing, &certificates()] {
        let mut request = request(&server);
        request.tls.trust.push(path.clone());
        if path == &empty {
            // No authority in it: harmless.
            deliver(request).assert_accepted();
            continue;
        }
        let ended = deliver(request);
        ended.assert_failed(FailureKind::Tls, Phase::Handshake);
        let text = &ended.failure().text;
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(!text.contains("error:"), "{text}");
    }
}

#[test]
fn a_changed_trust_file_makes_a_new_connector() {
    let ours = start(with_certificate(CertKind::Good));
    let theirs = start(with_certificate(CertKind::Good));
    let file = scratch("trust.pem");
    std::fs::copy(theirs.ca_path(), &file).unwrap();
    let ask = || deliver_untrusting(request_to(ours.port(), file.clone()));
    ask().assert_failed(FailureKind::Certificate, Phase::Handshake);
    // Replaced as careful programs do it; its length may be the same.
    let fresh = scratch("fresh.pem");
    std::fs::copy(ours.ca_path(), &fresh).unwrap();
    std::fs::rename(&fresh, &file).unwrap();
    ask().assert_accepted();
    std::fs::copy(theirs.ca_path(), &file).unwrap();
    ask().assert_failed(FailureKind::Certificate, Phase::Handshake);
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let mut options = with_certificate(CertKind::Wildcard);
    options.ssl = true;
    let server = start(options);
    let settings = TlsSettings {
        trust_files: vec![server.ca_path().to_owned()],
        ..TlsSettings::default()
    };
    let deadline = std::time::Instant::now() + WATCHDOG;
    for (host, good) in [
        ("mx.example.org", true),
        ("MX.Example.Org.", true),
        ("example.org", false),
        ("a.mx.example.org", false),
        ("mx.example.net", false),
        ("localhost", false),
    ] {
        let socket = std::net::TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut wire = Wire::new(socket, Arc::new(Signal::new().unwrap())).unwrap();
        let shaken = wire.start_tls(&settings, host, deadline);
        assert_eq!(shaken.is_ok(), good, "{host}: {shaken:?}");
    }
}

/// A certificate for a client with this key, signed by the common authority.
fn client_certificate(key: &PKey<Private>) -> PathBuf {
    let pem = std::fs::read(certificates().join("ca-identity.pem")).unwrap();
    let (ca, ca_key) = (
        X509::from_pem(&pem).unwrap(),
        PKey::private_key_from_pem(&pem).unwrap(),
    );
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "ada the client").unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    builder.set_issuer_name(ca.subject_name()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(2).unwrap())
        .unwrap();
    builder.sign(&ca_key, MessageDigest::sha256()).unwrap();
    let path = scratch("client.pem");
    std::fs::write(&path, builder.build().to_pem().unwrap()).unwrap();
    path
}

fn file(name: &str, octets: &[u8]) -> PathBuf {
    let path = scratch(name);
    std::fs::write(&path, octets).unwrap();
    path
}

fn client_server() -> Fixture {
    let mut options = options();
    options.client_certificate = ClientCertificate::Required;
    start(options)
}

fn rsa() -> &'static Rsa<Private> {
    static KEY: OnceLock<Rsa<Private>> = OnceLock::new();
    KEY.get_or_init(|| Rsa::generate(2048).unwrap())
}

#[test]
fn our_certificate_is_shown_with_every_form_of_key() {
    let server = client_server();
    let rsa_key = PKey::from_rsa(rsa().clone()).unwrap();
    let ec = PKey::private_key_from_pem(&std::fs::read(certificates().join("client.key")).unwrap())
        .unwrap();
    let sec1 = ec.ec_key().unwrap().private_key_to_pem().unwrap();
    let pkcs1 = rsa().private_key_to_pem().unwrap();
    assert!(sec1.starts_with(b"-----BEGIN EC PRIVATE KEY"));
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY"));
    let of_ec = client_certificate(&ec);
    let of_rsa = client_certificate(&rsa_key);
    let with_chain = [
        std::fs::read(&of_rsa).unwrap(),
        std::fs::read(server.ca_path()).unwrap(),
    ]
    .concat();
    let cases = [
        (file("sec1", &sec1), of_ec.clone()),
        (file("pkcs1", &pkcs1), of_rsa.clone()),
        (
            file("pkcs8", &rsa_key.private_key_to_pem_pkcs8().unwrap()),
            of_rsa.clone(),
        ),
        (
            file("pkcs8-ec", &ec.private_key_to_pem_pkcs8().unwrap()),
            of_ec,
        ),
        (file("pkcs1-chain", &pkcs1), file("chain", &with_chain)),
    ];
    for (number, client) in cases.into_iter().enumerate() {
        let mut request = request(&server);
        request.tls.client = Some(client.clone());
        deliver(request).assert_accepted();
        let shown = server.messages()[number].client_certificate.clone();
        assert_eq!(shown.as_deref(), Some("ada the client"), "{client:?}");
    }
}

#[test]
fn a_client_certificate_that_cannot_be_used_is_named() {
    let server = client_server();
    let key = PKey::from_rsa(rsa().clone()).unwrap();
    let certificate = client_certificate(&key);
    let plain = key.private_key_to_pem_pkcs8().unwrap();
    let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let cases = [
        (scratch("no-key"), certificate.clone(), "no such file", true),
        (
            file("key", &plain),
            scratch("no-certificate"),
            "no such file",
            false,
        ),
        (
            file("garbage", b"hello"),
            certificate.clone(),
            "private key",
            true,
        ),
        (
            file("key", &plain),
            file("garbage", b"hello"),
            "certificate",
            false,
        ),
        (
            file("other", &other.private_key_to_pem_pkcs8().unwrap()),
            certificate.clone(),
            "match",
            true,
        ),
    ];
    for (key, certificate, words, key_is_bad) in cases {
        let mut request = request(&server);
        request.tls.client = Some((key.clone(), certificate.clone()));
        let ended = deliver(request);
        ended.assert_failed(FailureKind::Tls, Phase::Handshake);
        let text = &ended.failure().text;
        let bad: &Path = if key_is_bad { &key } else { &certificate };
        assert!(text.to_lowercase().contains(words), "{words}: {text}");
        assert!(text.contains(&bad.display().to_string()), "{text}");
        assert!(
            !text.contains("error:") && !text.contains("os error"),
            "{text}"
        );
    }
    assert!(server.messages().is_empty());
}

#[test]
fn a_server_that_wants_a_client_certificate_says_so() {
    let server = client_server();
    let ended = deliver(request(&server));
    // TLS 1.3 tells it after the handshake, in the place of the next reply.
    let failure = ended.failure();
    assert_eq!(failure.kind, FailureKind::Tls, "{failure:?}");
    assert!(failure.text.contains("certificate required"), "{failure:?}");
    assert!(
        !failure.text.contains("error:") && !failure.text.contains(".c:"),
        "{failure:?}"
    );
}
