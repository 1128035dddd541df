//! Our own key and certificate: passphrases, every form of file, and logins by
//! them.

mod support;

use std::cell::RefCell;
use std::path::PathBuf;

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::stack::Stack;
use openssl::symm::Cipher;
use openssl::x509::{X509, X509NameBuilder};
use smtpmail_core::delivery::{Answer, Question};
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_core::smtp::secret::Secret;
use smtpmail_test_server::ClientCertificate;

use self::support::*;

/// A certificate for a client with this key, signed by the common authority.
fn client_certificate(key: &PKey<Private>) -> X509 {
    let pem = std::fs::read(certificates().join("ca-identity.pem")).unwrap();
    let (ca, ca_key) = (
        X509::from_pem(&pem).unwrap(),
        PKey::private_key_from_pem(&pem).unwrap(),
    );
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", USER).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name.build()).unwrap();
    builder.set_issuer_name(ca.subject_name()).unwrap();
    builder.set_pubkey(key).unwrap();
    let (first, last) = (
        Asn1Time::days_from_now(0).unwrap(),
        Asn1Time::days_from_now(2).unwrap(),
    );
    builder.set_not_before(&first).unwrap();
    builder.set_not_after(&last).unwrap();
    builder.sign(&ca_key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn file(name: &str, octets: &[u8]) -> PathBuf {
    let path = scratch(name);
    std::fs::write(&path, octets).unwrap();
    path
}

fn client_server() -> Fixture {
    let mut options = options().caps("PIPELINING,STARTTLS,AUTH EXTERNAL");
    options.client_certificate = ClientCertificate::Required;
    start(options)
}

#[test]
fn locked_keys_in_every_form_are_unlocked_with_the_passphrase_and_log_in() {
    let server = client_server();
    let rsa = Rsa::generate(2048).unwrap();
    let key = PKey::from_rsa(rsa.clone()).unwrap();
    let ec = PKey::private_key_from_pem(&std::fs::read(certificates().join("client.key")).unwrap())
        .unwrap();
    let (of_rsa, of_ec) = (client_certificate(&key), client_certificate(&ec));
    let aes = Cipher::aes_256_cbc();
    let (passphrase, password) = (PASSWORD.as_bytes(), PASSWORD);
    let pem = |certificate: &X509| file("client.pem", &certificate.to_pem().unwrap());
    let mut chain = Stack::new().unwrap();
    let ca = X509::from_pem(&std::fs::read(server.ca_path()).unwrap()).unwrap();
    chain.push(ca).unwrap();
    let pkcs12 = Pkcs12::builder()
        .name("client")
        .pkey(&key)
        .cert(&of_rsa)
        .ca(chain)
        .build2(password)
        .unwrap();
    let pkcs12 = file("client.p12", &pkcs12.to_der().unwrap());
    let ec_key = ec.ec_key().unwrap();
    let cases = [
        (
            file(
                "pkcs8",
                &key.private_key_to_pem_pkcs8_passphrase(aes, passphrase)
                    .unwrap(),
            ),
            pem(&of_rsa),
        ),
        (
            file(
                "pkcs1",
                &rsa.private_key_to_pem_passphrase(aes, passphrase).unwrap(),
            ),
            pem(&of_rsa),
        ),
        (
            file(
                "sec1",
                &ec_key
                    .private_key_to_pem_passphrase(aes, passphrase)
                    .unwrap(),
            ),
            pem(&of_ec),
        ),
        (pkcs12.clone(), pkcs12),
    ];
    for (number, (key, certificate)) in cases.into_iter().enumerate() {
        let ask = || {
            let mut request = request(&server);
            request.tls.client = Some((key.clone(), certificate.clone()));
            request.plan.login = Some(login(WRONG, &[Mechanism::External]));
            request
        };
        let asked = RefCell::new(Vec::new());
        let ended = deliver_answering(ask(), |question| match question {
            Question::Passphrase { file, again } => {
                assert_eq!(file, &key.display().to_string());
                asked.borrow_mut().push(*again);
                let said = if *again { PASSWORD } else { WRONG };
                Some(Answer::Passphrase(Some(Secret::from(said))))
            }
            other => panic!("unexpected: {other:?}"),
        });
        ended.assert_accepted();
        assert_eq!(*asked.borrow(), [false, true], "a wrong one is asked again");
        assert!(ended.trace().contains("AUTH EXTERNAL"));
        // Unlocked for as long as this process lives.
        deliver(ask()).assert_accepted();
        for message in &server.messages()[2 * number..] {
            assert_eq!(message.client_certificate.as_deref(), Some(USER));
            assert_eq!(message.auth_user.as_deref(), Some(USER));
        }
    }
    // Until it is to forget.
    smtpmail_core::net::client::forget();
}

#[test]
fn without_the_passphrase_no_connection_is_made() {
    let server = client_server();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let certificate = file("client.pem", &client_certificate(&key).to_pem().unwrap());
    let locked = key
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), PASSWORD.as_bytes())
        .unwrap();
    let locked = file("locked", &locked);
    let ask = || {
        let mut request = request(&server);
        request.tls.client = Some((locked.clone(), certificate.clone()));
        request
    };
    let none = deliver_answering(ask(), |_| Some(Answer::Passphrase(None)));
    none.assert_failed(FailureKind::Tls, Phase::Handshake);
    assert!(none.failure().text.contains(&locked.display().to_string()));
    let mut asked = 0;
    let wrong = deliver_answering(ask(), |_| {
        asked += 1;
        Some(Answer::Passphrase(Some(Secret::from(WRONG))))
    });
    wrong.assert_failed(FailureKind::Tls, Phase::Handshake);
    assert_eq!(asked, 3);
    assert!(wrong.failure().text.contains("passphrase"));
    assert_eq!(server.sessions(), 0);
}
