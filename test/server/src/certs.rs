//! Certificates made at run time (RFC 5280): one CA in a directory that
//! several servers may share, a server certificate of the wanted kind, good
//! or bad, and a client certificate.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName,
};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};

use crate::spool::write_atomically;

/// Bits of a serial number: at most 20 octets with a clear sign (RFC 5280 §4.1.2.2).
const SERIAL_BITS: i32 = 127;

/// Last day of an authority, counted from today.
const AUTHORITY_DAYS: i64 = 365;

/// Before an address that a certificate has as a host name.
const AS_NAME_MARK: &str = "name:";

/// Such an address.
const AS_NAME: &str = "name:127.0.0.1";

/// What is right or wrong with the certificate of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CertKind {
    /// For localhost, 127.0.0.1 and ::1, from our CA, valid today.
    #[default]
    Good,
    /// Its time is over.
    Expired,
    /// Its time is yet to come.
    Future,
    /// For another host.
    WrongHost,
    /// `localhost` stands in the common name only; no subject alternative name.
    CnOnly,
    /// Signed with its own key.
    SelfSigned,
    /// From a CA that nobody has.
    Untrusted,
    /// For 127.0.0.1 as an address, and for no name.
    AddressOnly,
    /// From an intermediate CA below ours, which the server shows too.
    Chain,
    /// From that intermediate CA, which the server leaves out.
    ChainMissing,
    /// For clients, not for servers (RFC 5280 §4.2.1.12).
    ClientUsage,
    /// Signed with MD5.
    Md5,
    /// Signed with SHA-1.
    Sha1,
    /// With an RSA key of 1024 bits.
    WeakKey,
    /// For `*.example.org`.
    Wildcard,
    /// For `127.0.0.1` as if that were a host name.
    AddressAsName,
    /// From an intermediate CA whose time is over.
    ChainExpired,
    /// From an intermediate CA whose own certificate is signed with SHA-1.
    ChainSha1,
    /// From an intermediate CA with an RSA key of 1024 bits.
    ChainWeakKey,
}

impl CertKind {
    /// Every kind with the name that the command line takes.
    pub const NAMES: [(&str, Self); 19] = [
        ("good", Self::Good),
        ("expired", Self::Expired),
        ("future", Self::Future),
        ("wronghost", Self::WrongHost),
        ("cnonly", Self::CnOnly),
        ("selfsigned", Self::SelfSigned),
        ("untrusted", Self::Untrusted),
        ("addressonly", Self::AddressOnly),
        ("chain", Self::Chain),
        ("chainmissing", Self::ChainMissing),
        ("clientusage", Self::ClientUsage),
        ("md5", Self::Md5),
        ("sha1", Self::Sha1),
        ("weakkey", Self::WeakKey),
        ("wildcard", Self::Wildcard),
        ("addressasname", Self::AddressAsName),
        ("chainexpired", Self::ChainExpired),
        ("chainsha1", Self::ChainSha1),
        ("chainweakkey", Self::ChainWeakKey),
    ];

    fn name(self) -> &'static str {
        let found = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        found
            .map(|(name, _)| *name)
            .expect("NAMES lists every kind")
    }

    /// First and last day of validity, counted from today.
    fn days(self) -> (i64, i64) {
        match self {
            Self::Expired => (-30, -1),
            Self::Future => (30, 60),
            _ => (-1, 30),
        }
    }
}

/// Whether the server asks the client for a certificate of our CA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No.
    #[default]
    Unasked,
    /// Asks, and goes on without one.
    Asked,
    /// Ends the handshake without one.
    Required,
}

/// A certificate and its key.
struct Identity {
    certificate: X509,
    key: PKey<Private>,
    /// Those between it and the CA that everybody has, to be shown with it.
    chain: Vec<X509>,
}

/// What is out of the ordinary with a certificate.
#[derive(Default)]
struct Flaws {
    /// It has an RSA key of so many bits.
    rsa: Option<u32>,
    /// It is signed with this.
    digest: Option<MessageDigest>,
    /// It is for clients.
    for_clients: bool,
}

/// What a server needs of its certificates.
pub(crate) struct Certificates {
    pub(crate) ca_path: PathBuf,
    pub(crate) acceptor: SslAcceptor,
    /// SHA-256 of the server certificate's DER form.
    pub(crate) fingerprint: Vec<u8>,
}

impl Certificates {
    /// Makes what is missing in `directory`: `ca.pem`, `ca-identity.pem` (the
    /// CA with its key), `client.pem` and `client.key`; and anew, for this
    /// server, `server-KIND.pem` and `server-KIND.key`.
    pub(crate) fn prepare(
        directory: &Path,
        kind: CertKind,
        ask: ClientCertificate,
    ) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(directory)?;
        let ca = shared_ca(directory)?;
        let ca_path = directory.join("ca.pem");
        write_atomically(&ca_path, &ca.certificate.to_pem()?)?;
        if ask != ClientCertificate::Unasked {
            let client = issue(
                "smtpmail test client",
                &[],
                (-1, 30),
                Some(&ca),
                &Flaws::default(),
            )?;
            client.write(directory, "client")?;
        }
        let server = server_identity(kind, &ca)?;
        server.write(directory, &format!("server-{}", kind.name()))?;
        let fingerprint = server.certificate.digest(MessageDigest::sha256())?.to_vec();
        Ok(Self {
            ca_path,
            acceptor: acceptor(&server, &ca, ask)?,
            fingerprint,
        })
    }
}

impl Identity {
    fn write(&self, directory: &Path, name: &str) -> Result<(), Box<dyn Error>> {
        let key = self.key.private_key_to_pem_pkcs8()?;
        write_atomically(&directory.join(format!("{name}.key")), &key)?;
        write_atomically(
            &directory.join(format!("{name}.pem")),
            &self.certificate.to_pem()?,
        )?;
        Ok(())
    }
}

/// The CA of this directory.  Of servers that start together in a fresh
/// directory one makes it: a hard link never replaces a file.
fn shared_ca(directory: &Path) -> Result<Identity, Box<dyn Error>> {
    let path = directory.join("ca-identity.pem");
    if !path.exists() {
        let ca = issue_ca("smtpmail test CA", None)?;
        let mut pem = ca.certificate.to_pem()?;
        pem.extend(ca.key.private_key_to_pem_pkcs8()?);
        let made = directory.join(format!("ca-identity.{}", unique_suffix()?));
        fs::write(&made, &pem)?;
        let linked = fs::hard_link(&made, &path);
        fs::remove_file(&made)?;
        linked.or_else(|error| match error.kind() {
            ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        })?;
    }
    let pem = fs::read(&path)?;
    Ok(Identity {
        certificate: X509::from_pem(&pem)?,
        key: PKey::private_key_from_pem(&pem)?,
        chain: Vec::new(),
    })
}

/// Unique among threads and processes.
fn unique_suffix() -> Result<String, openssl::error::ErrorStack> {
    Ok(random_serial()?.to_hex_str()?.to_string())
}

fn server_identity(kind: CertKind, ca: &Identity) -> Result<Identity, Box<dyn Error>> {
    let days = kind.days();
    let local = ["localhost", "127.0.0.1", "::1"];
    let flaws = match kind {
        CertKind::ClientUsage => Flaws {
            for_clients: true,
            ..Flaws::default()
        },
        CertKind::Md5 => Flaws {
            digest: Some(MessageDigest::md5()),
            ..Flaws::default()
        },
        CertKind::Sha1 => Flaws {
            digest: Some(MessageDigest::sha1()),
            ..Flaws::default()
        },
        CertKind::WeakKey => Flaws {
            rsa: Some(1024),
            ..Flaws::default()
        },
        _ => Flaws::default(),
    };
    let issued = |name, hosts, issuer| issue(name, hosts, days, issuer, &flaws);
    match kind {
        CertKind::AddressAsName => issued("localhost", &[AS_NAME], Some(ca)),
        CertKind::WrongHost => issued("wrong.example", &["wrong.example"][..], Some(ca)),
        CertKind::CnOnly => issued("localhost", &[], Some(ca)),
        CertKind::SelfSigned => issued("localhost", &local, None),
        CertKind::AddressOnly => issued("localhost", &["127.0.0.1"], Some(ca)),
        CertKind::Wildcard => issued("localhost", &["*.example.org"], Some(ca)),
        CertKind::Untrusted => {
            let unknown = issue_ca("smtpmail unknown CA", None)?;
            issued("localhost", &local, Some(&unknown))
        }
        CertKind::Chain
        | CertKind::ChainExpired
        | CertKind::ChainMissing
        | CertKind::ChainSha1
        | CertKind::ChainWeakKey
        | CertKind::Md5 => {
            let authority = Authority {
                key: match kind {
                    // There is no ECDSA with MD5.
                    CertKind::Md5 => rsa_key(2048)?,
                    CertKind::ChainWeakKey => rsa_key(1024)?,
                    _ => p256_key()?,
                },
                last_day: match kind {
                    CertKind::ChainExpired => -1,
                    _ => AUTHORITY_DAYS,
                },
                digest: match kind {
                    CertKind::ChainSha1 => MessageDigest::sha1(),
                    _ => MessageDigest::sha256(),
                },
            };
            let intermediate = authority.issue("smtpmail intermediate CA", Some(ca))?;
            let mut server = issued("localhost", &local, Some(&intermediate))?;
            if kind != CertKind::ChainMissing {
                server.chain.push(intermediate.certificate);
            }
            Ok(server)
        }
        _ => issued("localhost", &local, Some(ca)),
    }
}

fn acceptor(
    server: &Identity,
    ca: &Identity,
    ask: ClientCertificate,
) -> Result<SslAcceptor, Box<dyn Error>> {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    // What is to be shown may be weak.
    builder.set_security_level(0);
    builder.set_private_key(&server.key)?;
    builder.set_certificate(&server.certificate)?;
    for certificate in &server.chain {
        builder.add_extra_chain_cert(certificate.clone())?;
    }
    // Without a context a session of a verified client cannot be resumed.
    builder.set_session_id_context(b"smtpmail-test-server")?;
    if ask != ClientCertificate::Unasked {
        builder.cert_store_mut().add_cert(ca.certificate.clone())?;
        builder.add_client_ca(&ca.certificate)?;
        let mode = match ask {
            ClientCertificate::Required => {
                SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT
            }
            _ => SslVerifyMode::PEER,
        };
        builder.set_verify(mode);
    }
    Ok(builder.build())
}

/// An authority; without an issuer it signs itself.
fn issue_ca(common_name: &str, issuer: Option<&Identity>) -> Result<Identity, Box<dyn Error>> {
    let authority = Authority {
        key: p256_key()?,
        last_day: AUTHORITY_DAYS,
        digest: MessageDigest::sha256(),
    };
    authority.issue(common_name, issuer)
}

/// An authority to be.
struct Authority {
    key: PKey<Private>,
    /// Of its validity, counted from today.
    last_day: i64,
    /// With which it is signed itself.
    digest: MessageDigest,
}

impl Authority {
    fn issue(
        self,
        common_name: &str,
        issuer: Option<&Identity>,
    ) -> Result<Identity, Box<dyn Error>> {
        let subject = name(common_name)?;
        let issuer_name = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
        // Wide enough for every kind of certificate below it.
        let days = (-90, self.last_day);
        let mut builder = certificate_builder(&subject, issuer_name, &self.key, days)?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.append_extension(
            KeyUsage::new()
                .critical()
                .key_cert_sign()
                .crl_sign()
                .build()?,
        )?;
        builder.sign(issuer.map_or(&self.key, |issuer| &issuer.key), self.digest)?;
        Ok(Identity {
            certificate: builder.build(),
            key: self.key,
            chain: Vec::new(),
        })
    }
}

/// A certificate for these hosts; without an issuer it signs itself.
fn issue(
    common_name: &str,
    hosts: &[&str],
    days: (i64, i64),
    issuer: Option<&Identity>,
    flaws: &Flaws,
) -> Result<Identity, Box<dyn Error>> {
    let key = match flaws.rsa {
        Some(bits) => rsa_key(bits)?,
        None => p256_key()?,
    };
    let subject = name(common_name)?;
    let issuer_name = issuer.map_or(&*subject, |issuer| issuer.certificate.subject_name());
    let mut builder = certificate_builder(&subject, issuer_name, &key, days)?;
    if !hosts.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for host in hosts {
            match host.parse::<std::net::IpAddr>() {
                Ok(_) => names.ip(host),
                Err(_) => names.dns(host.trim_start_matches(AS_NAME_MARK)),
            };
        }
        let issuer_certificate = issuer.map(|issuer| &*issuer.certificate);
        let extension = names.build(&builder.x509v3_context(issuer_certificate, None))?;
        builder.append_extension(extension)?;
    }
    builder.append_extension(KeyUsage::new().critical().digital_signature().build()?)?;
    if flaws.for_clients {
        builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
    }
    builder.sign(
        issuer.map_or(&key, |issuer| &issuer.key),
        flaws.digest.unwrap_or(MessageDigest::sha256()),
    )?;
    Ok(Identity {
        certificate: builder.build(),
        key,
        chain: Vec::new(),
    })
}

fn certificate_builder(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
    (first_day, last_day): (i64, i64),
) -> Result<X509Builder, Box<dyn Error>> {
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?; // v3
    builder.set_serial_number(&*random_serial()?.to_asn1_integer()?)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*days_from_now(first_day)?)?;
    builder.set_not_after(&*days_from_now(last_day)?)?;
    Ok(builder)
}

fn days_from_now(days: i64) -> Result<Asn1Time, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Asn1Time::from_unix(
        i64::try_from(now)? + days * 24 * 60 * 60,
    )?)
}

fn random_serial() -> Result<BigNum, openssl::error::ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(SERIAL_BITS, MsbOption::MAYBE_ZERO, false)?;
    Ok(serial)
}

fn name(common_name: &str) -> Result<X509Name, openssl::error::ErrorStack> {
    let mut builder = X509NameBuilder::new()?;
    builder.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(builder.build())
}

fn p256_key() -> Result<PKey<Private>, openssl::error::ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

fn rsa_key(bits: u32) -> Result<PKey<Private>, openssl::error::ErrorStack> {
    PKey::from_rsa(Rsa::generate(bits)?)
}
