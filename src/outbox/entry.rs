//! The nouns of the outbox: what an entry is, apart from how it lies on the disk.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// Names longer than this cannot get `.smtpmail-` and `.text` around them on
/// file systems whose names end at 255 bytes (`NAME_MAX`).
const MAX_NAME_BYTES: usize = 200;

/// The name of an entry's text file inside the directory, which is also the entry's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// Takes a name that stays inside the directory and is not one of our own
    /// dot files, nor the metadata of another entry; `None` otherwise.
    pub fn new(name: &str) -> Option<Self> {
        let plain = !name.is_empty()
            && name.len() <= MAX_NAME_BYTES
            && !name.starts_with('.')
            && !name.ends_with(".el")
            && !name.contains(['/', '\\', '\0', '\n', '\r']);
        plain.then(|| Self(name.to_owned()))
    }

    /// As it stands in the directory.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a stored Lisp variable or of an additional fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `nil`.
    Nil,
    /// An integer, such as a port.
    Integer(i64),
    /// A symbol, such as `starttls`: ASCII letters, digits and `-_+*/:`, a letter first.
    Symbol(String),
    /// A string.
    Text(String),
}

/// The four variables of `smtpmail-store-queue-variables`.
///
/// `None` is *not stored*: the reader's own value holds. `Some(Value::Nil)` is a stored nil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredVariables {
    /// `smtpmail-smtp-server`
    pub server: Option<Value>,
    /// `smtpmail-stream-type`
    pub stream_type: Option<Value>,
    /// `smtpmail-smtp-service`
    pub service: Option<Value>,
    /// `smtpmail-smtp-user`
    pub user: Option<Value>,
}

/// What may happen to an entry, and who may do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A 4xx came; any program may send it now, we ourselves wait until `next_try`.
    Deferred {
        /// When to try again by ourselves.
        next_try: SystemTime,
    },
    /// Stays until the user releases it.
    Held,
    /// A 5xx came; the user edits or drops it.
    Refused,
    /// Held until a time, from when on any program may send it.
    Scheduled {
        /// The first moment at which it may be sent.
        until: SystemTime,
    },
    /// A living process is past the point of no return with it. Never stored:
    /// it follows from that process's window and lock.
    Sending,
    /// It may or may not have been accepted: sent again only by the user's word.
    Unknown,
    /// Any program may send it now.
    Waiting,
}

impl State {
    /// One word for the state, whatever its time.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deferred { .. } => "deferred",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Scheduled { .. } => "scheduled",
            Self::Sending => "sending",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
        }
    }

    /// Whether any program may send the entry at `now`: such entries, and no others, are in the index.
    pub fn is_sendable(self, now: SystemTime) -> bool {
        match self {
            Self::Waiting | Self::Deferred { .. } => true,
            Self::Scheduled { until } => until <= now,
            Self::Held | Self::Refused | Self::Sending | Self::Unknown => false,
        }
    }
}

/// A recipient that a server refused for good while the message went to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecipient {
    /// The address as it was in the envelope.
    pub recipient: String,
    /// The server's reply.
    pub reply: String,
}

/// What we know about an entry beyond what the built-in stores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The account's name, for grouping.
    pub account: Option<String>,
    /// How often a server or a network said no.
    pub attempts: u32,
    /// Whether the text has bytes above 127.
    pub eight_bit: Option<bool>,
    /// The From header as written.
    pub from: Option<String>,
    /// The last reply or failure, for people.
    pub last_reply: Option<String>,
    /// The Message-ID header as written.
    pub message_id: Option<String>,
    /// Facts of later versions and of the caller; names are plain symbols.
    pub other: BTreeMap<String, Value>,
    /// Those whom the message will not reach any more.
    pub refused_recipients: Vec<RefusedRecipient>,
    /// The envelope sender (reverse-path) without angle brackets; empty is the null reverse-path.
    pub sender: Option<String>,
    /// Octets of the text on the wire (CRLF, unstuffed), for `SIZE=`.
    pub size: Option<u64>,
    /// The Subject header as written.
    pub subject: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn names_stay_inside_the_directory() {
        for good in ["2026-11-22_18:43:46_1", "a", "x:2,S"] {
            assert!(EntryName::new(good).is_some(), "{good}");
        }
        let long = "a".repeat(201);
        for bad in [
            "", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a\nb", "a\0", "a.el", &long,
        ] {
            assert!(EntryName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn only_what_anybody_may_send_is_sendable() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let later = now + Duration::from_secs(1);
        for (state, expected) in [
            (State::Waiting, true),
            (State::Deferred { next_try: later }, true),
            (State::Scheduled { until: now }, true),
            (State::Scheduled { until: later }, false),
            (State::Held, false),
            (State::Refused, false),
            (State::Sending, false),
            (State::Unknown, false),
        ] {
            assert_eq!(state.is_sendable(now), expected, "{state:?}");
        }
    }
}
