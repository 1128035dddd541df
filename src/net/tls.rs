//! TLS sessions: whom to trust, who we are, and one connector for each setting.
//!
//! `native-tls` does the work; a connector parses the system's bundle of
//! authorities (40 ms) and is therefore kept.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Instant, SystemTime};

use native_tls::{Certificate, HandshakeError, Identity, Protocol, TlsConnector, TlsStream};
use once_cell::sync::OnceCell;

use super::adapter::{Adapter, ServerHello};
use super::certificate::{self, CertificateFacts};
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
    /// PEM files of our private key and certificate chain.
    pub client: Option<ClientFiles>,
}

/// Where our own certificate is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientFiles {
    /// The private key.
    pub key: PathBuf,
    /// The certificate, then those that lead to its authority.
    pub certificate: PathBuf,
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
}

/// A file as it was when a connector was made of it: a new certificate or a
/// renewed bundle makes a new connector.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

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
    // The marker keeps (trust a) and (client a …) apart.
    let marker = PathBuf::from(format!("{}", settings.trust_files.len()));
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

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let facts = path.metadata().ok()?;
    Some((facts.modified().ok()?, facts.len()))
}

fn build(settings: &TlsSettings) -> Result<TlsConnector, Failure> {
    let mut builder = TlsConnector::builder();
    // RFC 8996: nothing older.
    builder.min_protocol_version(Some(Protocol::Tlsv12));
    for path in &settings.trust_files {
        let authorities = Certificate::stack_from_pem(&read(path)?);
        for authority in authorities.map_err(|_| unusable(path, "not a file of certificates"))? {
            builder.add_root_certificate(authority);
        }
    }
    if let Some(client) = &settings.client {
        builder.identity(identity(client)?);
    }
    builder.build().map_err(|error| match &settings.client {
        // All else was looked at above.
        Some(client) => unusable(&client.key, &words(&error)),
        None => tls_failure(words(&error)),
    })
}

/// Our certificate and key. The library takes PKCS#8 keys only; the older forms
/// are rewritten as that.
fn identity(client: &ClientFiles) -> Result<Identity, Failure> {
    let chain = read(&client.certificate)?;
    let key = zeroize::Zeroizing::new(read(&client.key)?);
    let key = pkcs8(&key).map_err(|reason| unusable(&client.key, &reason))?;
    Identity::from_pkcs8(&chain, &key)
        .map_err(|_| unusable(&client.certificate, "not a file of certificates"))
}

#[cfg(all(unix, not(target_vendor = "apple")))]
fn pkcs8(pem: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    // An encrypted key must not make OpenSSL ask at the terminal.
    let no_passphrase = |_: &mut [u8]| Ok(0);
    openssl::pkey::PKey::private_key_from_pem_callback(pem, no_passphrase)
        .and_then(|key| key.private_key_to_pem_pkcs8())
        .map(zeroize::Zeroizing::new)
        .map_err(|_| "not a private key that can be read without a passphrase".into())
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn pkcs8(pem: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    Ok(zeroize::Zeroizing::new(pem.to_vec()))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let facts = path
        .metadata()
        .map_err(|error| unusable(path, &words(&error)))?;
    if !facts.is_file() || facts.len() > MAX_FILE {
        return Err(unusable(path, "not a file of a sensible size"));
    }
    std::fs::read(path).map_err(|error| unusable(path, &words(&error)))
}

fn unusable(path: &Path, reason: &str) -> Failure {
    tls_failure(format!("{}: {reason}", path.display()))
}

fn tls_failure(text: String) -> Failure {
    Failure::new(FailureKind::Tls, Phase::Handshake, text)
}

/// Do the handshake as the client of `host` (an ASCII name or address, which
/// the certificate must name).
///
/// # Errors
/// `Certificate` (not accepted, with the reason), `Tls`, `Closed`, `Timeout` or
/// `Cancelled`.
pub(super) fn handshake(
    mut adapter: Adapter,
    settings: &TlsSettings,
    host: &str,
    deadline: Instant,
    signal: &Signal,
) -> Result<TlsStream<Adapter>, Failure> {
    let connector = connector(settings)?;
    adapter.watch();
    let name = certificate_name(host);
    let mut attempt = connector.connect(name, adapter);
    loop {
        match attempt {
            Ok(stream) => return with_name(stream, name),
            Err(HandshakeError::Failure(error)) => return Err(refused(name, &error)),
            Err(HandshakeError::WouldBlock(half)) => {
                let waited = wire::wait_for(half.get_ref(), false, Some(deadline), signal);
                // Octets that drip in must not put the deadline off.
                let late = Instant::now() >= deadline;
                match waited {
                    Err(error) => return Err(tls_failure(words(&error))),
                    Ok(_) if signal.is_stopped() => {
                        return Err(Signal::stopped_failure(Phase::Handshake));
                    }
                    Ok(waited) if late || waited == Waited::TimedOut => {
                        let text = "no answer in time";
                        return Err(Failure::new(FailureKind::Timeout, Phase::Handshake, text));
                    }
                    Ok(_) => attempt = half.handshake(),
                }
            }
        }
    }
}

/// The name that the certificate must bear: the final dot belongs to the
/// resolver (RFC 6066 §3), brackets and zone to the address's notation.
fn certificate_name(host: &str) -> &str {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.split_once('%') {
        Some((address, _)) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
        _ => bare.strip_suffix('.').unwrap_or(bare),
    }
}

/// Refuse what the library takes: a host name that stands in the common name
/// only (RFC 9525 §2: it is no name of a service).
fn with_name(stream: TlsStream<Adapter>, name: &str) -> Result<TlsStream<Adapter>, Failure> {
    let certificate = stream.peer_certificate().ok().flatten();
    let der = certificate.and_then(|certificate| certificate.to_der().ok());
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if is_address || der.is_some_and(|der| certificate::has_host_name(&der)) {
        return Ok(stream);
    }
    let text =
        format!("certificate of {name} not accepted: it names no host as its alternative name");
    Err(Failure::new(
        FailureKind::Certificate,
        Phase::Handshake,
        text,
    ))
}

/// Whether an error of an established session is the other side's alert: its
/// word, not a broken line.
pub fn is_alert(error: &std::io::Error) -> bool {
    error.get_ref().is_some() && words(error).contains(" alert ")
}

/// What the library's words mean.
fn refused(host: &str, error: &native_tls::Error) -> Failure {
    let text = error.to_string();
    if text.contains("certificate verify failed") {
        // The verification's own reason stands in the last parentheses.
        let reason = text
            .rsplit_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(reason, _)| reason);
        let text = format!(
            "certificate of {host} not accepted: {}",
            reason.unwrap_or("not trusted")
        );
        return Failure::new(FailureKind::Certificate, Phase::Handshake, text);
    }
    let reason = match words(error).as_str() {
        "" => "the server broke it off".to_owned(),
        "unexpected eof" | "unexpected eof while reading" => {
            "the server closed the connection".to_owned()
        }
        reason => reason.to_owned(),
    };
    tls_failure(format!("no TLS session with {host}: {reason}"))
}

/// What is known of an established session.
pub(super) fn facts(stream: &TlsStream<Adapter>) -> TlsFacts {
    let hello = stream.get_ref().server_hello();
    let certificate = stream
        .peer_certificate()
        .ok()
        .flatten()
        .and_then(|c| c.to_der().ok());
    TlsFacts {
        version: hello.map_or("TLS".into(), version_name),
        cipher: hello.map_or("unknown cipher".into(), cipher_name),
        certificate: certificate.and_then(|der| CertificateFacts::from_der(&der)),
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
            client: None,
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
            trust_files: Vec::new(),
            client: Some(ClientFiles {
                key: key.into(),
                certificate: certificate.into(),
            }),
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
