//! TLS sessions: whom to trust, who we are, and one connector for each setting.
//!
//! `native-tls` does the work; a connector parses the system's bundle of
//! authorities (40 ms) and is therefore kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Instant, SystemTime};

use native_tls::{Certificate, HandshakeError, Protocol, TlsConnector, TlsStream};
use once_cell::sync::OnceCell;

use super::adapter::{Adapter, ServerHello};
use super::certificate::{CertificateFacts, Problem};
use super::client::{self, ClientFiles};
use super::signal::{Signal, Waited};
use super::threads;
use super::wire;
use super::words::words;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most octets of a file of authorities, certificates or a key: the system's
/// own bundle has about 220 kB.
const MAX_FILE: u64 = 16 << 20;

/// Most connectors kept; a session uses one or two.
const MAX_CONNECTORS: usize = 16;

/// Whom to trust and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TlsSettings {
    /// PEM files of authorities trusted beside the system's.
    pub trust_files: Vec<PathBuf>,
    /// Files of our private key and certificate chain.
    pub client: Option<ClientFiles>,
    /// By what the server is accepted.
    pub trust: Trust,
    /// The oldest version spoken.
    pub oldest: Version,
}

/// By what a server's certificate is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// An authority signed it, and nothing speaks against it.
    #[default]
    Authorities,
    /// It is not: it is only looked at, and no octet goes over the connection.
    Look,
    /// It is one of these by its SHA-256, as in [`CertificateFacts`].
    Pins(Vec<String>),
    /// The same, of the settings.
    Settled(Vec<String>),
}

/// Versions that can be the oldest one spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 8996: nothing older.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// A handshake that came to nothing.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub failure: Failure,
    /// The server's certificate, where that is the reason and it was seen.
    pub certificate: Option<Box<CertificateFacts>>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            certificate: None,
        }
    }
}

/// What a session turned out to be.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// "TLS 1.3", or the number of something newer.
    pub version: String,
    /// The cipher suite's IANA name, or its number.
    pub cipher: String,
    /// The server's certificate.
    pub certificate: Option<CertificateFacts>,
    /// What a login can be bound to: the certificate's `tls-server-end-point`
    /// (RFC 5929 §4.1).
    pub end_point: Option<Vec<u8>>,
}

/// A file as it was when a connector was made of it: a new certificate or a
/// renewed bundle makes a new connector.
pub(super) type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// Where a connector is kept, once it was made: two connections that want the
/// same one at once build it once and hold up nobody else.
type Cell = Arc<OnceCell<TlsConnector>>;

static CONNECTORS: LazyLock<Mutex<HashMap<Vec<Stamp>, Cell>>> = LazyLock::new(Mutex::default);

/// The connector for `settings`, made once.
///
/// # Errors
/// `Tls`: a file cannot be read or is not what it should be.
fn connector(settings: &TlsSettings) -> Result<TlsConnector, Failure> {
    cell(settings).get_or_try_init(|| build(settings)).cloned()
}

/// Begin to make the connector for `settings` on a thread of its own, so that it
/// is there when the handshake wants it. An error shows up at the handshake.
pub fn prepare(settings: TlsSettings) {
    if cell(&settings).get().is_none() {
        let _ = threads::spawn("smtpmail-tls", move || {
            let _ = connector(&settings);
        });
    }
}

/// The place of the connector for `settings` and the files as they are now.
fn cell(settings: &TlsSettings) -> Cell {
    let client = settings
        .client
        .iter()
        .flat_map(|client| [&client.key, &client.certificate]);
    // The marker keeps (trust a) and (client a …) apart, and what is not a file.
    let marker = PathBuf::from(format!(
        "{} {} {:?}",
        settings.trust_files.len(),
        settings.trust == Trust::Authorities,
        settings.oldest
    ));
    let key = std::iter::once((marker, None))
        .chain(
            settings
                .trust_files
                .iter()
                .chain(client)
                .map(|path| (path.clone(), stamp(path))),
        )
        .collect();
    let mut connectors = CONNECTORS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if connectors.len() >= MAX_CONNECTORS && !connectors.contains_key(&key) {
        connectors.clear();
    }
    connectors.entry(key).or_default().clone()
}

/// Drop all connectors, and the keys in them.
pub(super) fn forget_connectors() {
    let mut connectors = CONNECTORS
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    connectors.clear();
}

/// The state of a file.
pub(super) fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = path.metadata().ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

fn build(settings: &TlsSettings) -> Result<TlsConnector, Failure> {
    let mut builder = TlsConnector::builder();
    builder.min_protocol_version(Some(match settings.oldest {
        Version::Tls12 => Protocol::Tlsv12,
        Version::Tls13 => Protocol::Tlsv13,
    }));
    // A pin takes the place of the authorities: it is compared before any octet goes.
    let by_authority = settings.trust == Trust::Authorities;
    builder.danger_accept_invalid_certs(!by_authority);
    builder.danger_accept_invalid_hostnames(!by_authority);
    for path in &settings.trust_files {
        let authorities = Certificate::stack_from_pem(&read(path)?);
        for authority in authorities.map_err(|_| unusable(path, "not a file of certificates"))? {
            builder.add_root_certificate(authority);
        }
    }
    if let Some(client) = &settings.client {
        builder.identity(client::identity(client)?);
    }
    builder.build().map_err(|error| match &settings.client {
        // All else was looked at above.
        Some(client) => unusable(&client.key, &words(&error)),
        None => tls_failure(words(&error)),
    })
}

/// The octets of a file of certificates or keys.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let facts = path
        .metadata()
        .map_err(|error| unusable(path, &words(&error)))?;
    if !facts.is_file() || facts.len() > MAX_FILE {
        return Err(unusable(path, "not a file of a sensible size"));
    }
    std::fs::read(path).map_err(|error| unusable(path, &words(&error)))
}

pub(super) fn unusable(path: &Path, reason: &str) -> Failure {
    tls_failure(format!("{}: {reason}", path.display()))
}

fn tls_failure(text: String) -> Failure {
    Failure::new(FailureKind::Tls, Phase::Handshake, text)
}

/// Do the handshake as the client of `host` (an ASCII name or address, which
/// the certificate must name).
///
/// # Errors
/// `Certificate` (not accepted, with the reason, and with the certificate itself if
/// it was seen), `Tls`, `Closed`, `Timeout` or `Cancelled`.
pub(super) fn handshake(
    mut adapter: Adapter,
    settings: &TlsSettings,
    host: &str,
    deadline: Instant,
    signal: &Signal,
) -> Result<(TlsStream<Adapter>, TlsFacts), Refused> {
    let connector = connector(settings)?;
    adapter.watch();
    let name = certificate_name(host);
    let mut attempt = connector.connect(name, adapter);
    loop {
        match attempt {
            Ok(stream) => return accept(stream, settings, name),
            Err(HandshakeError::Failure(error)) => {
                return Err(refused(name, settings.oldest, &error).into());
            }
            Err(HandshakeError::WouldBlock(half)) => {
                let waited = wire::wait_for(half.get_ref(), false, Some(deadline), signal);
                // Octets that drip in must not put the deadline off.
                let late = Instant::now() >= deadline;
                match waited {
                    Err(error) => return Err(tls_failure(words(&error)).into()),
                    Ok(_) if signal.is_stopped() => {
                        return Err(Signal::stopped_failure(Phase::Handshake).into());
                    }
                    Ok(waited) if late || waited == Waited::TimedOut => {
                        let text = "no answer in time";
                        let timeout = FailureKind::Timeout;
                        return Err(Failure::new(timeout, Phase::Handshake, text).into());
                    }
                    Ok(_) => attempt = half.handshake(),
                }
            }
        }
    }
}

/// The name that the certificate must bear: the final dot belongs to the
/// resolver (RFC 6066 §3), brackets and zone to the address's notation.
pub(super) fn certificate_name(host: &str) -> &str {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.split_once('%') {
        Some((address, _)) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        _ => bare.strip_suffix('.').unwrap_or(bare),
    }
}

/// Look at the certificate before any octet goes, and refuse what the library takes:
/// what is not pinned, and what our own look at it brought up.
fn accept(
    stream: TlsStream<Adapter>,
    settings: &TlsSettings,
    name: &str,
) -> Result<(TlsStream<Adapter>, TlsFacts), Refused> {
    let facts = facts(&stream, name);
    let Some(certificate) = &facts.certificate else {
        return Err(tls_failure(format!("{name} shows no certificate that can be read")).into());
    };
    let failure = match &settings.trust {
        Trust::Pins(pins) | Trust::Settled(pins) if pins.contains(&certificate.fingerprint) => None,
        Trust::Settled(pins) => Some(not_the_one(name, certificate, pins)),
        Trust::Pins(pins) => Some(changed(name, certificate, pins)),
        Trust::Look => Some(not_accepted(name, certificate, "")),
        Trust::Authorities if certificate.problems.iter().any(Problem::is_fatal) => {
            Some(not_accepted(name, certificate, ""))
        }
        Trust::Authorities => None,
    };
    match failure {
        None => Ok((stream, facts)),
        Some(failure) => Err(Refused {
            failure,
            certificate: facts.certificate.map(Box::new),
        }),
    }
}

/// The failure that tells of a certificate what people need to decide; `reason` is
/// the library's.
pub fn not_accepted(host: &str, certificate: &CertificateFacts, reason: &str) -> Failure {
    let name = certificate_name(host);
    let (why, advice) = certificate.refusal(name, reason);
    let facts = certificate.describe();
    certificate_failure(format!(
        "certificate of {name} not accepted: {why}.  It is the {facts}; {advice}"
    ))
}

/// The failure that asks for a decision although nothing speaks against it.
pub fn not_seen_before(host: &str, certificate: &CertificateFacts) -> Failure {
    let name = certificate_name(host);
    let facts = certificate.describe();
    certificate_failure(format!(
        "certificate of {name} not seen before, and `network-security-level' is `paranoid'.  It is the {facts}"
    ))
}

fn changed(name: &str, certificate: &CertificateFacts, pins: &[String]) -> Failure {
    let (facts, trusted) = (certificate.describe(), pins.join(" or "));
    certificate_failure(format!(
        "CERTIFICATE OF {name} HAS CHANGED.  Somebody may be listening.  You trusted SHA-256 {trusted}; now it is the {facts}.  \
         If you know why, M-x smtpmail-forget-server and send again"
    ))
}

fn not_the_one(name: &str, certificate: &CertificateFacts, pins: &[String]) -> Failure {
    let (facts, wanted) = (certificate.describe(), pins.join(" or "));
    certificate_failure(format!(
        "certificate of {name} is not the one that the settings name (:pin).  Somebody may be listening.  SHA-256 {wanted} is wanted; it is the {facts}"
    ))
}

fn certificate_failure(text: String) -> Failure {
    Failure::new(FailureKind::Certificate, Phase::Handshake, text)
}

/// The library's reason in a failure of kind `Certificate`.
pub fn reason_of(failure: &Failure) -> &str {
    let reason = failure.text.split_once(REASON);
    reason.map_or("", |(_, reason)| reason)
}

/// What stands before the library's reason.
const REASON: &str = " not accepted: ";

/// Whether an error of an established session is the other side's alert: its
/// word, not a broken line.
pub fn is_alert(error: &std::io::Error) -> bool {
    error.get_ref().is_some() && words(error).contains(" alert ")
}

/// What the library's words mean.
fn refused(host: &str, oldest: Version, error: &native_tls::Error) -> Failure {
    let text = error.to_string();
    if text.contains("certificate verify failed") {
        // The verification's own reason stands in the last parentheses.
        let reason = text
            .rsplit_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(reason, _)| reason);
        let reason = reason.unwrap_or("not trusted");
        return certificate_failure(format!("certificate of {host}{REASON}{reason}"));
    }
    let reason = match words(error).as_str() {
        "" => "the server broke it off".to_owned(),
        "unexpected eof" | "unexpected eof while reading" => {
            "the server closed the connection".to_owned()
        }
        reason => reason.to_owned(),
    };
    let wanted = match oldest {
        Version::Tls12 => "",
        Version::Tls13 => " (`smtpmail-tls-min-version' wants TLS 1.3)",
    };
    tls_failure(format!("no TLS session with {host}: {reason}{wanted}"))
}

/// What is known of an established session.
fn facts(stream: &TlsStream<Adapter>, name: &str) -> TlsFacts {
    let hello = stream.get_ref().server_hello();
    let certificate = stream
        .peer_certificate()
        .ok()
        .flatten()
        .and_then(|c| c.to_der().ok());
    TlsFacts {
        version: hello.map_or("TLS".into(), version_name),
        cipher: hello.map_or("unknown cipher".into(), cipher_name),
        certificate: certificate.and_then(|der| CertificateFacts::from_der(&der, name)),
        end_point: stream.tls_server_end_point().ok().flatten(),
    }
}

fn version_name(hello: ServerHello) -> String {
    match hello.version {
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        other => format!("TLS {other:#06x}"),
    }
}

/// The IANA names of what servers choose today.
fn cipher_name(hello: ServerHello) -> String {
    let name = match hello.cipher {
        0x1301 => "TLS_AES_128_GCM_SHA256",
        0x1302 => "TLS_AES_256_GCM_SHA384",
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256",
        0xc02b => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        0xc02c => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xc02f => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        0xc030 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xcca8 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        0xcca9 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        other => return format!("cipher {other:#06x}"),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusting(paths: &[&Path]) -> TlsSettings {
        TlsSettings {
            trust_files: paths.iter().map(|path| path.to_path_buf()).collect(),
            ..TlsSettings::default()
        }
    }

    #[test]
    fn what_is_prepared_is_what_the_handshake_finds() {
        // No other test has this setting.
        let file = std::env::temp_dir().join(format!("smtpmail-prepare-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let settings = trusting(&[&file]);
        assert!(cell(&settings).get().is_none());
        prepare(settings.clone());
        let end = Instant::now() + std::time::Duration::from_secs(20);
        while cell(&settings).get().is_none() {
            assert!(Instant::now() < end, "nothing was prepared");
            std::thread::yield_now();
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn one_connector_for_each_setting_and_state_of_its_files() {
        let file = std::env::temp_dir().join(format!("smtpmail-cell-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let first = cell(&trusting(&[&file]));
        assert!(Arc::ptr_eq(&first, &cell(&trusting(&[&file]))));
        assert!(!Arc::ptr_eq(&first, &cell(&trusting(&[]))));
        std::fs::write(&file, "longer").unwrap();
        let second = cell(&trusting(&[&file]));
        assert!(!Arc::ptr_eq(&first, &second), "another length");
        let later = SystemTime::now() + std::time::Duration::from_secs(5);
        let opened = std::fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(later).unwrap();
        let third = cell(&trusting(&[&file]));
        assert!(!Arc::ptr_eq(&second, &third), "another time");
        std::fs::remove_file(&file).unwrap();
        let gone = cell(&trusting(&[&file]));
        assert!(!Arc::ptr_eq(&third, &gone), "gone");
        assert!(connector(&trusting(&[&file])).is_err());
        std::fs::write(&file, "").unwrap();
        assert!(
            connector(&trusting(&[&file])).is_ok(),
            "an error is not kept"
        );
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn authorities_and_our_own_files_are_not_confused() {
        let (key, certificate) = (Path::new("/k"), Path::new("/c"));
        let client = TlsSettings {
            client: Some(ClientFiles {
                key: key.into(),
                certificate: certificate.into(),
            }),
            ..TlsSettings::default()
        };
        assert!(!Arc::ptr_eq(
            &cell(&client),
            &cell(&trusting(&[key, certificate]))
        ));
    }

    #[test]
    fn the_name_for_the_certificate() {
        for (host, name) in [
            ("mx.example.org", "mx.example.org"),
            ("mx.example.org.", "mx.example.org"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("fe80::1%eth0", "fe80::1"),
        ] {
            assert_eq!(certificate_name(host), name);
        }
    }
}
