//! What is to be delivered, where and how: frozen when the delivery begins.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use super::TimeLimits;
use super::body::Body;
use super::entries::Entry;
use super::pool::Keep;
use super::probe::Probe;
use super::queue::QueuePlace;
use crate::net::client::ClientFiles;
use crate::net::proxy::Proxy;
use crate::net::tls::{TlsSettings, Trust, Version};
use crate::outbox::EntryName;
use crate::smtp::address::{Mailbox, ReversePath};
use crate::smtp::content::Facts;
use crate::smtp::dialogue::Plan;
use crate::smtp::failure::Failure;
use crate::smtp::options::DeliveryOptions;

/// Sender, recipients and what is asked for them, as SMTP knows them.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Where failures are reported.
    pub reverse_path: ReversePath,
    /// At least one, each once.
    pub recipients: Vec<Mailbox>,
    /// For each transaction, if there are several.
    pub options: DeliveryOptions,
}

/// Messages for one server, in the name of one user.
#[derive(Debug)]
pub struct Request {
    /// The server's ASCII name or address; its certificate must bear it.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// How the server is reached, if not directly.
    pub proxy: Option<Proxy>,
    /// How to greet, protect and log in.
    pub plan: Plan,
    /// Whom to trust and who we are.
    pub tls: TlsFiles,
    /// In the order in which they go.
    pub messages: Vec<MailObject>,
    /// Nothing is sent, and the connection itself is told of: then there are no
    /// messages.
    pub probe: Option<Probe>,
    /// Those that SMTP cannot say, by number: reported at once.
    pub unsendable: Vec<(usize, Failure)>,
    /// Where [`Text::Entry`] is.
    pub queue: Option<QueuePlace>,
    /// Times that a message is tried while the server says 4yz; at least 1.
    pub attempts: u32,
    /// How long to wait for anything.
    pub limits: TimeLimits,
    /// Octets of the text that the trace shows.
    pub traced_octets: usize,
    /// What becomes of the connection after its last message.
    pub keep: Keep,
}

/// An envelope and its content (RFC 5321 §2.3.1).
#[derive(Debug)]
pub struct MailObject {
    /// By which the caller knows it; unique in its request.
    pub number: usize,
    /// From whom, to whom.
    pub envelope: Envelope,
    /// The message with any line ends; without Bcc.
    pub text: Text,
}

/// Where a message's text is.
#[derive(Debug)]
pub enum Text {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file of ours alone, from its beginning; read by the courier.
    File(File),
    /// An entry of the outbox, claimed for as long as it is under way.
    Entry(EntryName),
}

impl Text {
    /// The text where it lies.
    ///
    /// # Errors
    /// The file is none, or there is an entry of the outbox, which is no text.
    pub(super) fn body(&mut self) -> io::Result<Body> {
        match std::mem::replace(self, Self::Bytes(Vec::new())) {
            Self::File(file) => Body::of_file(file),
            mut other => other.take().map(Body::Memory),
        }
    }

    /// The text itself, read where it must be.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn take(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Bytes(bytes) => Ok(std::mem::take(bytes)),
            Self::Entry(_) => Err(io::Error::other("an entry of the outbox is no text")),
            Self::File(file) => {
                let mut bytes =
                    Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// A message's text, and what had to be learnt of it.
pub(super) struct Content {
    /// The text, with any line ends.
    pub text: Body,
    /// Its length on the wire and the like.
    pub facts: Facts,
    /// Where it comes from the outbox.
    pub entry: Option<Entry>,
}

/// What TLS needs to know, and where what is known of servers is kept.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// PEM files of authorities trusted beside the system's.
    pub trust: Vec<PathBuf>,
    /// Files of our private key and of our certificate chain.
    pub client: Option<(PathBuf, PathBuf)>,
    /// The file of known servers, as in [`known`](crate::net::known); nothing is
    /// remembered without.
    pub known: Option<PathBuf>,
    /// SHA-256 of the certificates of which the server must show one, as in
    /// [`CertificateFacts`](crate::net::certificate::CertificateFacts); with none, that
    /// is not settled here.
    pub pins: Vec<String>,
    /// Whether a certificate that is not pinned is asked about although nothing
    /// speaks against it.
    pub ask_new: bool,
    /// The oldest version spoken.
    pub oldest: Version,
}

impl TlsFiles {
    /// Where our own certificate is.
    pub(super) fn client(&self) -> Option<ClientFiles> {
        let client = self.client.clone();
        client.map(|(key, certificate)| ClientFiles { key, certificate })
    }

    /// For a connection on which the server is accepted by `trust`.
    pub(super) fn settings(&self, trust: Trust) -> TlsSettings {
        let client = match trust {
            // Nobody has to know us while we look.
            Trust::Look => None,
            _ => self.client(),
        };
        TlsSettings {
            trust_files: self.trust.clone(),
            client,
            trust,
            oldest: self.oldest,
        }
    }
}
