//! What is to be delivered, where and how: frozen when the delivery begins.

use std::path::PathBuf;

use super::TimeLimits;
use crate::net::tls::{ClientFiles, TlsSettings};
use crate::smtp::address::{Mailbox, ReversePath};
use crate::smtp::dialogue::Plan;

/// Sender and recipients as SMTP knows them.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Where failures are reported.
    pub reverse_path: ReversePath,
    /// At least one, each once.
    pub recipients: Vec<Mailbox>,
}

/// One message for one server.
#[derive(Debug)]
pub struct Request {
    /// The server's ASCII name or address; its certificate must bear it.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// How to greet, protect and log in.
    pub plan: Plan,
    /// Whom to trust and who we are.
    pub tls: TlsFiles,
    /// From whom, to whom.
    pub envelope: Envelope,
    /// The message with any line ends; without Bcc.
    pub text: Vec<u8>,
    /// Times that a message is tried while the server says 4yz; at least 1.
    pub attempts: u32,
    /// How long to wait for anything.
    pub limits: TimeLimits,
    /// Octets of the text that the trace shows.
    pub traced_octets: usize,
}

/// The files that TLS needs.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM files of authorities trusted beside the system's.
    pub trust: Vec<PathBuf>,
    /// PEM files: our private key, our certificate chain.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl From<&TlsFiles> for TlsSettings {
    fn from(files: &TlsFiles) -> Self {
        let client = files.client.clone();
        Self {
            trust_files: files.trust.clone(),
            client: client.map(|(key, certificate)| ClientFiles { key, certificate }),
        }
    }
}
