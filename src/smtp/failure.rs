//! What went wrong, in one shape for all of sending.
//!
//! A `Failure` is always somebody else's doing: the server's, the network's or
//! the message's. Misuse by our own code is an `Err` of the function misused.

use std::fmt;

use super::reply::{EnhancedStatus, Reply, ReplyClass};

/// The kinds of failure, few and alphabetical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// No login, or the server refused it.
    Authentication,
    /// Somebody else is sending the message.
    Busy,
    /// The user stopped it.
    Cancelled,
    /// The server's certificate was not accepted.
    Certificate,
    /// The server closed the connection.
    Closed,
    /// No connection could be made.
    Connect,
    /// The message, an address or a setting cannot be said in SMTP.
    Content,
    /// The outbox on the disk did not allow it.
    Disk,
    /// It would have gone over an unprotected connection.
    Insecure,
    /// The server broke the protocol.
    Protocol,
    /// The server said no for good (5yz).
    Refused,
    /// The name of the server was not found.
    Resolve,
    /// The server did not answer in time.
    Timeout,
    /// No TLS session could be made.
    Tls,
    /// The server said not now (4yz).
    Transient,
}

/// What was being waited for when it failed, in the order of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Looking up the server's name.
    Resolve,
    /// Connecting.
    Connect,
    /// The proxy, from its look-up to its word that the server is reached.
    Proxy,
    /// The TLS handshake.
    Handshake,
    /// The server's greeting.
    Greeting,
    /// The reply to EHLO or HELO.
    Ehlo,
    /// The reply to STARTTLS.
    StartTls,
    /// A reply in the course of AUTH.
    Auth,
    /// The reply to a command between transactions (VERB, RSET …).
    Idle,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT.
    Recipient,
    /// The reply to DATA.
    Data,
    /// The text of the message under way.
    Text,
    /// The reply to the end of the text: the server may have taken the message.
    Final,
}

impl Phase {
    /// The name that Lisp knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Proxy => "proxy",
            Self::Handshake => "handshake",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Idle => "idle",
            Self::Mail => "mail",
            Self::Recipient => "rcpt",
            Self::Data => "data",
            Self::Text => "text",
            Self::Final => "final",
        }
    }
}

/// One failure with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What sort of failure.
    pub kind: FailureKind,
    /// During what.
    pub phase: Phase,
    /// The reply code, where the server replied: 200 to 599.
    pub code: Option<u16>,
    /// The enhanced status, where the reply had one.
    pub status: Option<EnhancedStatus>,
    /// The recipient it concerns, where it concerns one.
    pub recipient: Option<String>,
    /// The server's or system's words, safe to show; never a secret.
    pub text: String,
}

impl Failure {
    /// A failure without a reply.
    pub fn new(kind: FailureKind, phase: Phase, text: impl Into<String>) -> Self {
        Self {
            kind,
            phase,
            code: None,
            status: None,
            recipient: None,
            text: text.into(),
        }
    }

    /// The failure that an unwanted reply makes: transient for 4yz, refused for
    /// 5yz; a reply of another class broke the protocol.
    pub fn from_reply(phase: Phase, reply: &Reply) -> Self {
        let kind = match reply.class() {
            ReplyClass::Transient => FailureKind::Transient,
            ReplyClass::Permanent => FailureKind::Refused,
            ReplyClass::Completed | ReplyClass::Intermediate => FailureKind::Protocol,
        };
        Self {
            code: Some(reply.code()),
            status: reply.status(),
            ..Self::new(kind, phase, reply.text())
        }
    }

    /// The same failure of another kind.
    pub fn of_kind(self, kind: FailureKind) -> Self {
        Self { kind, ..self }
    }

    /// The same failure, said of a recipient.
    pub fn for_recipient(self, recipient: impl fmt::Display) -> Self {
        Self {
            recipient: Some(recipient.to_string()),
            ..self
        }
    }

    /// Whether another try later may well succeed.
    pub fn is_transient(&self) -> bool {
        self.kind == FailureKind::Transient
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.recipient {
            Some(recipient) => write!(f, "<{recipient}>: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}
