//! What is settled before a connection begins.

use super::super::address::EhloName;
use super::login::{LoginAnswer, SaslContext};
use super::speed::SpeedUp;

/// How the connection is to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first octet; the handshake is done before the dialogue begins.
    Implicit,
    /// No TLS.
    Never,
    /// STARTTLS where offered.
    Opportunistic,
    /// STARTTLS or nothing.
    Required,
}

/// What happens when the server refuses some recipients and accepts others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedRecipients {
    /// Nobody gets the message.
    Abort,
    /// The user is asked.
    Ask,
    /// The others get it.
    SendRest,
}

/// All that is settled before the connection begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name in EHLO and HELO.
    pub ehlo_name: EhloName,
    /// TLS.
    pub security: Security,
    /// Whether a password may be shown to an unprotected connection unasked:
    /// the user chose `plain`, or the server is this machine.
    pub clear_login_allowed: bool,
    /// Whether unauthenticated mail is out of the question.
    pub login_required: bool,
    /// Credentials known from an earlier connection of the same send.
    pub login: Option<LoginAnswer>,
    /// For mechanisms.
    pub sasl: SaslContext,
    /// Whether VERB is said where offered.
    pub verb: bool,
    /// Some refused, some accepted.
    pub refused_recipients: RefusedRecipients,
    /// Whether a text that needs what the server has not announced is refused, and
    /// not sent as it is.
    pub strict_content: bool,
    /// What this server has shown not to handle, whatever it announces.
    pub without: Vec<SpeedUp>,
}
