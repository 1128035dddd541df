//! What is to be delivered, where and how: frozen when the delivery begins.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::PathBuf;

use super::TimeLimits;
use super::entries::Entry;
use super::pool::Keep;
use super::queue::QueuePlace;
use crate::net::tls::{ClientFiles, TlsSettings};
use crate::outbox::EntryName;
use crate::smtp::address::{Mailbox, ReversePath};
use crate::smtp::content::Facts;
use crate::smtp::dialogue::Plan;
use crate::smtp::failure::Failure;

/// Sender and recipients as SMTP knows them.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Where failures are reported.
    pub reverse_path: ReversePath,
    /// At least one, each once.
    pub recipients: Vec<Mailbox>,
}

/// Messages for one server, in the name of one user.
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
    /// In the order in which they go.
    pub messages: Vec<MailObject>,
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
    /// In a file, from its beginning; read by the courier.
    File(File),
    /// An entry of the outbox, claimed for as long as it is under way.
    Entry(EntryName),
}

impl Text {
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

/// A message's text in memory, and what had to be learnt of it.
pub(super) struct Content {
    /// The text, with any line ends.
    pub text: Vec<u8>,
    /// Its length on the wire and the like.
    pub facts: Facts,
    /// Where it comes from the outbox.
    pub entry: Option<Entry>,
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
