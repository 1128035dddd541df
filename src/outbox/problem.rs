//! Odd things found in the directory: reported one by one, set aside, never fatal.

use std::fmt;
use std::path::PathBuf;

/// What is odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProblemKind {
    /// Other users may write into the directory.
    DirectoryWritableByOthers,
    /// The metadata ends too early, as if its writer had died.
    HalfWritten,
    /// Text without metadata: its writer died, or a program renamed the other half.
    MissingMetadata,
    /// Metadata whose text is nowhere to be found.
    MissingText,
    /// An envelope without recipients.
    NoRecipients,
    /// A symbolic link, FIFO, device or directory where a file should be.
    NotPlainFile,
    /// An index line that leads out of the directory or is no usable name.
    OutsideDirectory,
    /// Our own repair did not work, or could not be tried.
    RepairFailed,
    /// More than any limit allows.
    TooLarge,
    /// Metadata that is not the one `setq` form that is expected.
    UnexpectedCode,
    /// The file cannot be read.
    Unreadable,
    /// Metadata of a later version than this program knows.
    UnsupportedVersion,
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DirectoryWritableByOthers => "other users can write here",
            Self::HalfWritten => "half-written",
            Self::MissingMetadata => "text without metadata",
            Self::MissingText => "metadata without text",
            Self::NoRecipients => "no recipients",
            Self::NotPlainFile => "not a plain file",
            Self::OutsideDirectory => "not a file of this directory",
            Self::RepairFailed => "could not be repaired",
            Self::TooLarge => "too large",
            Self::UnexpectedCode => "unexpected code",
            Self::Unreadable => "cannot be read",
            Self::UnsupportedVersion => "written by a later version",
        })
    }
}

/// One odd thing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the path in an index line, that it is about.
    pub path: PathBuf,
    /// What is odd about it.
    pub kind: ProblemKind,
    /// More words, such as the operating system's; may be empty.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}
