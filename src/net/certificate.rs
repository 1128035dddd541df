//! What a certificate says: for people, for comparing, and against it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate as Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::signature_algorithm::SignatureAlgorithm;

use crate::smtp::visible::visible;

/// Most octets of any one name shown.
const MAX_NAME: usize = 200;

/// Most subject alternative names shown.
const MAX_NAMES: usize = 10;

/// Shortest RSA and DSA modulus, in bits (CA/Browser Forum Baseline Requirements
/// §6.1.5; NIST SP 800-131A).
const LEAST_RSA_BITS: usize = 2048;

/// Shortest curve, in bits: as strong as that RSA (NIST SP 800-57 part 1 §5.6.1.1).
const LEAST_CURVE_BITS: usize = 224;

/// Signatures that can be forged (RFC 6194, RFC 6151).
const WEAK_SIGNATURES: [(&str, &str); 10] = [
    ("1.2.840.113549.1.1.2", "MD2"),
    ("1.2.840.113549.1.1.3", "MD4"),
    ("1.2.840.113549.1.1.4", "MD5"),
    ("1.2.840.113549.1.1.5", "SHA-1"),
    ("1.2.840.10045.4.1", "SHA-1"),
    ("1.2.840.10040.4.3", "SHA-1"),
    // Old names of the same for RSA.
    ("1.3.14.3.2.3", "MD5"),
    ("1.3.14.3.2.29", "SHA-1"),
    // The hash alone, of RSASSA-PSS (RFC 4055 §3.1).
    ("1.2.840.113549.2.5", "MD5"),
    ("1.3.14.3.2.26", "SHA-1"),
];

/// The facts of a server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// SHA-256 of the DER form, lower case hexadecimal with colons.
    pub fingerprint: String,
    /// Who signed it.
    pub issuer: String,
    /// Host names and addresses that it is for.
    pub names: Vec<String>,
    /// Last moment of validity, as the certificate's UTC text.
    pub not_after: String,
    /// First moment of validity, likewise.
    pub not_before: String,
    /// What speaks against it, apart from who signed it.
    pub problems: Vec<Problem>,
    /// SHA-1 of the public key as GnuTLS and Emacs's nsm.el name it: "sha1:", then
    /// hexadecimal with colons.
    pub public_key: String,
    /// Whom it names.
    pub subject: String,
}

/// What speaks against a certificate, whoever signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its time is over.
    Expired,
    /// It names no host as its alternative name (RFC 9525 §2: the common name is
    /// no name of a service).
    NoName,
    /// Its time is yet to come.
    NotYetValid,
    /// It is itself its signer; for some servers that is no problem.
    SelfSigned,
    /// Its key is too short, as told: "RSA with 1024 bits".
    WeakKey(String),
    /// Its signature can be forged: the hash function.
    WeakSignature(&'static str),
    /// It is for other hosts.
    WrongName,
    /// It is not for servers (RFC 5280 §4.2.1.12).
    WrongUsage,
}

impl Problem {
    /// Its name for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NoName => "no-name",
            Self::NotYetValid => "not-yet-valid",
            Self::SelfSigned => "self-signed",
            Self::WeakKey(_) => "weak-key",
            Self::WeakSignature(_) => "weak-signature",
            Self::WrongName => "wrong-name",
            Self::WrongUsage => "wrong-usage",
        }
    }

    /// Whether it alone is a reason for refusal.
    pub fn is_fatal(&self) -> bool {
        *self != Self::SelfSigned
    }
}

impl CertificateFacts {
    /// Read a certificate in DER form, shown by the server of that name or address;
    /// nothing where it cannot be read.
    pub fn from_der(der: &[u8], host: &str) -> Option<Self> {
        let (_, certificate) = Certificate::from_der(der).ok()?;
        let names = alternative_names(&certificate);
        let shown_names = names.iter().take(MAX_NAMES).map(|name| shown(name));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            fingerprint: hexadecimal(&Sha256::digest(der)),
            issuer: shown(&certificate.issuer().to_string()),
            names: shown_names.collect(),
            not_after: shown(&certificate.validity().not_after.to_string()),
            not_before: shown(&certificate.validity().not_before.to_string()),
            problems: problems(&certificate, &names, host, now.as_secs()),
            public_key: format!(
                "sha1:{}",
                hexadecimal(&Sha1::digest(certificate.public_key().raw))
            ),
            subject: shown(&certificate.subject().to_string()),
        })
    }

    /// One sentence of who signed what for whom, until when.
    pub fn describe(&self) -> String {
        let names = match self.names.is_empty() {
            true => "no host by an alternative name".to_owned(),
            false => self.names.join(", "),
        };
        format!(
            "certificate of {} for {names}, signed by {}, valid from {} until {}, SHA-256 {}",
            self.subject, self.issuer, self.not_before, self.not_after, self.fingerprint
        )
    }

    /// What is wrong for the server of that name, in words, and what to do about it.
    /// `reason` is the library's own word, for where nothing else explains it.
    pub fn refusal(&self, host: &str, reason: &str) -> (String, &'static str) {
        let untrusted =
            "if you know that authority, have its certificate in a file of `gnutls-trustfiles'";
        let mut words: Vec<String> = Vec::new();
        let mut advice = "";
        for problem in &self.problems {
            let (said, do_this) = match problem {
                Problem::Expired => (
                    format!("it has expired, on {}", self.not_after),
                    "who runs the server has to renew it, unless this machine's clock is wrong",
                ),
                Problem::NotYetValid => (
                    format!("it is not yet valid, but from {} on", self.not_before),
                    "this machine's clock may be wrong",
                ),
                Problem::NoName => (
                    "it names no host as its alternative name".to_owned(),
                    "who runs the server has to get one with that name",
                ),
                Problem::WrongName => (
                    format!("it is for {}, not for {host}", self.names.join(", ")),
                    "`smtpmail-smtp-server' should be the name that the certificate has",
                ),
                Problem::WrongUsage => (
                    "it is not meant for servers".to_owned(),
                    "who runs the server has to get another one",
                ),
                Problem::WeakKey(key) => (
                    format!("its key is too weak ({key})"),
                    "who runs the server has to renew it",
                ),
                Problem::WeakSignature(hash) => (
                    format!("its signature, with {hash}, can be forged"),
                    "who runs the server has to renew it",
                ),
                Problem::SelfSigned if reason.is_empty() => continue,
                Problem::SelfSigned => (
                    "it is self-signed: nobody but itself vouches for it".to_owned(),
                    "if it is your own server, have the certificate in a file of `gnutls-trustfiles'",
                ),
            };
            words.push(said);
            advice = do_this;
        }
        let renew_chain = "who runs the server has to renew what it shows with its certificate";
        let said = match reason {
            "unable to get local issuer certificate"
            | "unable to get issuer certificate"
            | "unable to verify the first certificate" => Some((
                format!(
                    "its signer, {}, is not trusted here, or the server leaves out the certificates that lead to one that is",
                    self.issuer
                ),
                untrusted,
            )),
            // Nothing else is wrong with this one: these are about those above it.
            _ if !words.is_empty() => None,
            "certificate has expired" => Some((
                "the certificate of an authority above it has expired".to_owned(),
                renew_chain,
            )),
            "certificate is not yet valid" => Some((
                "the certificate of an authority above it is not yet valid".to_owned(),
                "this machine's clock may be wrong",
            )),
            "CA signature digest algorithm too weak" => Some((
                "the signature of an authority's certificate above it can be forged".to_owned(),
                renew_chain,
            )),
            "CA certificate key too weak" => Some((
                "the key of an authority above it is too weak".to_owned(),
                renew_chain,
            )),
            other => Some((shown(other), untrusted)),
        };
        if let Some((said, do_this)) = said {
            words.push(said);
            advice = do_this;
        }
        (words.join("; "), advice)
    }
}

fn hexadecimal(octets: &[u8]) -> String {
    let octets: Vec<_> = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

fn problems(certificate: &Certificate<'_>, names: &[String], host: &str, now: u64) -> Vec<Problem> {
    let mut problems = Vec::new();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if certificate.issuer() == certificate.subject() {
        problems.push(Problem::SelfSigned);
    }
    if now > validity.not_after.timestamp() {
        problems.push(Problem::Expired);
    }
    if now < validity.not_before.timestamp() {
        problems.push(Problem::NotYetValid);
    }
    if names.is_empty() {
        problems.push(Problem::NoName);
    } else if !names.iter().any(|name| is_for(name, host)) {
        problems.push(Problem::WrongName);
    }
    // Where it is not said, any usage is right.
    if let Ok(Some(usage)) = certificate.extended_key_usage()
        && !usage.value.server_auth
        && !usage.value.any
    {
        problems.push(Problem::WrongUsage);
    }
    problems.extend(weak_key(certificate).map(Problem::WeakKey));
    problems.extend(weak_signature(certificate).map(Problem::WeakSignature));
    problems
}

fn weak_key(certificate: &Certificate<'_>) -> Option<String> {
    let (name, bits, least) = match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => ("RSA", key.key_size(), LEAST_RSA_BITS),
        PublicKey::EC(point) => ("a curve", point.key_size(), LEAST_CURVE_BITS),
        // No server has a DSA key today, and TLS 1.3 knows none.
        PublicKey::DSA(_) => return Some("DSA".to_owned()),
        _ => return None,
    };
    (bits < least).then(|| format!("{name} of {bits} bits"))
}

/// The hash function of a signature that can be forged.
fn weak_signature(certificate: &Certificate<'_>) -> Option<&'static str> {
    let algorithm = &certificate.signature_algorithm;
    let id = match SignatureAlgorithm::try_from(algorithm) {
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => {
            parameters.hash_algorithm_oid().to_id_string()
        }
        _ => algorithm.algorithm.to_id_string(),
    };
    let weak = WEAK_SIGNATURES.iter().find(|(weak, _)| *weak == id);
    weak.map(|(_, hash)| *hash)
}

/// The host names and addresses that it is for.
fn alternative_names(certificate: &Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    names.filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        // No address is found by its name (RFC 9525 §6.5).
        GeneralName::DNSName(host) if host.parse::<IpAddr>().is_ok() => {
            Some(format!("{host} as if it were a host name"))
        }
        GeneralName::DNSName(host) => Some((*host).to_owned()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(*octets).ok()?).to_string()),
            16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(*octets).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a name of a certificate is that host's (RFC 9525 §6.3): without regard to
/// case; a wildcard is a whole first label and stands for one, above at least two
/// others; an address is itself only.
fn is_for(name: &str, host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return name.parse() == Ok(address);
    }
    if name.parse::<IpAddr>().is_ok() {
        return false;
    }
    let (name, host) = (name.strip_suffix('.').unwrap_or(name), host);
    if name.eq_ignore_ascii_case(host) {
        return !name.contains('*');
    }
    let (Some(domain), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.'))
    else {
        return false;
    };
    !label.is_empty()
        && !domain.contains('*')
        && domain.contains('.')
        && domain.eq_ignore_ascii_case(rest)
}

fn shown(text: &str) -> String {
    visible(text.as_bytes(), MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn names_and_hosts() {
        for (name, host, good) in [
            ("mx.example.org", "mx.example.org", true),
            ("MX.Example.ORG", "mx.example.org", true),
            ("mx.example.org.", "mx.example.org", true),
            ("mx.example.org", "smtp.example.org", false),
            ("example.org", "mx.example.org", false),
            ("*.example.org", "mx.example.org", true),
            ("*.Example.org", "MX.example.ORG", true),
            ("*.example.org", "a.mx.example.org", false),
            ("*.example.org", "example.org", false),
            ("*.example.org", ".example.org", false),
            ("*.org", "example.org", false),
            ("*", "localhost", false),
            ("*", "*", false),
            ("m*.example.org", "mx.example.org", false),
            ("mx.*.org", "mx.example.org", false),
            ("*.*.org", "mx.example.org", false),
            ("*.0.0.1", "127.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("::1", "0:0:0:0:0:0:0:1", true),
            ("127.0.0.1", "localhost", false),
            ("localhost", "127.0.0.1", false),
        ] {
            assert_eq!(is_for(name, host), good, "{name} for {host}");
        }
    }

    /// Self-signed with RSASSA-PSS, by `openssl req -sigopt rsa_padding_mode:pss`.
    const PSS_SHA1: &str = "\
         MIIB9jCCAV+gAwIBAgIUWNwL36miSjv6PyaettI622GyR7swDQYJKoZIhvcNAQEKMAAwDDEKMAgGA1\
         UEAwwBYTAgFw0yNjExMjkxNTE3NTFaGA8yMTI2MTEwNTE1MTc1MVowDDEKMAgGA1UEAwwBYTCBnzAN\
         BgkqhkiG9w0BAQEFAAOBjQAwgYkCgYEArtbTjkIR0HQ1K70xeLOKQf/OQXnhxwDSUsrDMd2YWYIP7G\
         UM1qkfI1lChSoGY0HjsQ7qNgEE+q6G/6KpuZs24FJ9XS4UM9wnkCNQY/k0pHdWRAtntCeFJXqrX44K\
         +91ohiurPQBEj9tiYShIC/fHXJwLMPgmr7uyjzsAc6oRZ7UCAwEAAaNTMFEwHQYDVR0OBBYEFKsI4q\
         BUCodik9sIv2ghvRPa3OapMB8GA1UdIwQYMBaAFKsI4qBUCodik9sIv2ghvRPa3OapMA8GA1UdEwEB\
         /wQFMAMBAf8wDQYJKoZIhvcNAQEKMAADgYEAGGilhDAZBPe7kdJoI1R/RyG2ffE0DJ24AfdyMOPNC6\
         DxZWCAG9D0Om2YeYzt92CSovquXM7k7LplAptue4m8oyGm1cBnBoDl3ujpgjKJKryF4e7x+koU2U3V\
         l4d3VyH8AEZfHT0/INF+hdeXNsiDSccQ2OX1v2lzBN9pPhzY4gg=";
    const PSS_SHA256: &str = "\
         MIICXjCCAZOgAwIBAgIUHPQy+Sov5fidXFMKf08VZeziK4UwQQYJKoZIhvcNAQEKMDSgDzANBglghk\
         gBZQMEAgEFAKEcMBoGCSqGSIb3DQEBCDANBglghkgBZQMEAgEFAKIDAgEgMAwxCjAIBgNVBAMMAWEw\
         IBcNMjYxMTI5MTUxNzUxWhgPMjEyNjExMDUxNTE3NTFaMAwxCjAIBgNVBAMMAWEwgZ8wDQYJKoZIhv\
         cNAQEBBQADgY0AMIGJAoGBAO0WjDGHJUmjCmnMhPY4IfD6bkXKCWjlkFlqhbEtOPsMpt6RdNPtWPDM\
         1Zn+CcjFJa3QjFSWJHmXZI3CWsyPV5HR4wY7MCRar42+pPSBKV6AwdqX4txy+FWqsF3N6/JLfk30L1\
         WelVy7UDoeqjZyUwfZc+GN4Oa8hIwexRPL0PYBAgMBAAGjUzBRMB0GA1UdDgQWBBSlQIXZD/PEfaRF\
         VgqCwuSTa8AZizAfBgNVHSMEGDAWgBSlQIXZD/PEfaRFVgqCwuSTa8AZizAPBgNVHRMBAf8EBTADAQ\
         H/MEEGCSqGSIb3DQEBCjA0oA8wDQYJYIZIAWUDBAIBBQChHDAaBgkqhkiG9w0BAQgwDQYJYIZIAWUD\
         BAIBBQCiAwIBIAOBgQCvWQDxuC2R1m8MI8ZEVBfp3uiOUZyDqjzCUbtwxMiVpkhMSJr2IJv6rxMQbk\
         Wm0CjbbqyOeMtvcEvB922w/Nvc/vN9aMatzAJ1rSftybgz2syD4ckOqZ4LQQEVCcAUjQZpS5KqgcjS\
         Vo/W7WzMXgfjsyIwDCJiKbSnL28JdR3NGA==";

    #[test]
    fn the_hash_of_rsassa_pss_counts() {
        for (certificate, weak) in [(PSS_SHA1, true), (PSS_SHA256, false)] {
            let der = STANDARD.decode(certificate).unwrap();
            let facts = CertificateFacts::from_der(&der, "localhost").unwrap();
            let found = facts.problems.contains(&Problem::WeakSignature("SHA-1"));
            assert_eq!(found, weak, "{:?}", facts.problems);
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        for octets in [&b""[..], b"0", &[0x30, 0x82, 0xff, 0xff], &[0; 64]] {
            assert_eq!(CertificateFacts::from_der(octets, "localhost"), None);
        }
    }
}
