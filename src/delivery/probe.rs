//! A probe: a connection for its own sake, of which every step is told. It may try
//! an envelope, command by command; no message is ever sent on it.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::mailbox::{Event, Mailbox};
use super::request::{Envelope, Request};
use crate::net::connect::connect;
use crate::smtp::command::{Command, MailParameters};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::options::RecipientOptions;

/// What a probe does beside connecting, protecting and logging in.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Said in MAIL and RCPT, and taken back by QUIT (RFC 5321 §4.1.1.10).
    pub envelope: Option<Envelope>,
}

impl Probe {
    /// The commands of the envelope, in their order.
    pub(super) fn commands(&self, smtputf8_offered: bool) -> VecDeque<Command> {
        let Some(envelope) = &self.envelope else {
            return VecDeque::new();
        };
        let recipients = &envelope.recipients;
        let needed = envelope.reverse_path.needs_smtputf8()
            || recipients.iter().any(|mailbox| mailbox.needs_smtputf8());
        let parameters = MailParameters {
            smtputf8: needed && smtputf8_offered,
            ..MailParameters::default()
        };
        let mail = Command::Mail(envelope.reverse_path.clone(), parameters);
        let rcpt = |mailbox| Command::Rcpt(mailbox, RecipientOptions::default());
        let recipients = recipients.iter().cloned().map(rcpt);
        std::iter::once(mail).chain(recipients).collect()
    }
}

/// Connect to each of `addresses` in turn and tell how it went; the first
/// connection that came about is kept, the others are closed.
///
/// # Errors
/// As [`connect`], where none came about.
pub(super) fn connect_by_each(
    addresses: Vec<SocketAddr>,
    request: &Request,
    mailbox: &Mailbox,
) -> Result<TcpStream, Failure> {
    let mut kept = None;
    let mut failures = Vec::new();
    for address in addresses {
        let deadline = Instant::now() + request.limits.limit(Phase::Connect);
        let failure = match connect(vec![address], deadline, &mailbox.signal) {
            Ok(stream) => {
                kept.get_or_insert(stream);
                None
            }
            Err(failure) if failure.kind == FailureKind::Cancelled => return Err(failure),
            Err(failure) => Some(failure),
        };
        mailbox.post(Event::Address(address.to_string(), failure.clone()));
        failures.extend(failure);
    }
    let texts: Vec<_> = failures.iter().map(|f| f.text.as_str()).collect();
    let text = texts.join("; ");
    kept.ok_or_else(|| match failures.into_iter().next_back() {
        Some(last) => Failure { text, ..last },
        None => Failure::new(FailureKind::Resolve, Phase::Resolve, "no address"),
    })
}
