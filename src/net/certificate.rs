//! What a certificate says, for people and for comparing.

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::smtp::visible::visible;

/// Most octets of any one name shown.
const MAX_NAME: usize = 200;

/// Most subject alternative names shown.
const MAX_NAMES: usize = 10;

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
    /// Whom it names.
    pub subject: String,
}

impl CertificateFacts {
    /// Read a certificate in DER form; nothing where it cannot be read.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or(Vec::new(), |extension| {
            extension
                .value
                .general_names
                .iter()
                .filter_map(name)
                .take(MAX_NAMES)
                .collect()
        });
        Some(Self {
            fingerprint: fingerprint(der),
            issuer: shown(&certificate.issuer().to_string()),
            names,
            not_after: shown(&certificate.validity().not_after.to_string()),
            subject: shown(&certificate.subject().to_string()),
        })
    }
}

/// Whether a certificate in DER form names a host as an alternative name.
pub fn has_host_name(der: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else {
        return false;
    };
    let names = certificate.subject_alternative_name().ok().flatten();
    names.is_some_and(|extension| {
        let names = &extension.value.general_names;
        names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(_)))
    })
}

/// SHA-256 of `der`, lower case hexadecimal with colons.
pub fn fingerprint(der: &[u8]) -> String {
    let octets: Vec<_> = Sha256::digest(der)
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    octets.join(":")
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(host) => Some(shown(host)),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(*octets).ok()?).to_string()),
            16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*octets).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn shown(text: &str) -> String {
    visible(text.as_bytes(), MAX_NAME)
}
