//! What can go wrong in the outbox: one type, few kinds.
//!
//! Odd entries are no errors but [`Problem`](super::Problem)s of a listing:
//! one bad file must not hide the others.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Who or what is to blame, and so what the caller can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Another process kept the lock longer than anyone waits; try again.
    Busy,
    /// The caller's cancel flag was raised before the commit; nothing is left on the disk.
    Cancelled,
    /// An entry that cannot be used as it is; the text says why.
    Damaged,
    /// The operating system refused: see the text and [`OutboxError::io_kind`].
    Disk,
    /// Something that is no plain file, or larger than any limit, lies where ours should be.
    Hostile,
    /// The caller broke the rules of this interface, or the configured names cannot work.
    Misuse,
    /// The disk did not confirm; the entry was taken back unless the text says that it may remain.
    NotDurable,
    /// The file system has no locks: queueing works, sending does not.
    Unlockable,
}

/// An error with the path it is about and the words of the operating system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxError {
    /// What the caller can act on.
    pub kind: ErrorKind,
    /// The file or directory it is about.
    pub path: PathBuf,
    /// For people.
    pub text: String,
    io_kind: Option<io::ErrorKind>,
}

impl OutboxError {
    pub(super) fn new(kind: ErrorKind, path: &Path, text: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.to_owned(),
            text: text.into(),
            io_kind: None,
        }
    }

    pub(super) fn disk(path: &Path, error: &io::Error) -> Self {
        Self {
            kind: ErrorKind::Disk,
            path: path.to_owned(),
            text: error.to_string(),
            io_kind: Some(error.kind()),
        }
    }

    pub(super) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The class of the system's error, where the system caused it.
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io_kind
    }
}

impl fmt::Display for OutboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}

impl std::error::Error for OutboxError {}

/// Results of this floor.
pub type Result<T> = std::result::Result<T, OutboxError>;
