//! Windows: which entries were about to pass their point of no return.
//!
//! Before the final dots of a window of messages one small file with all
//! their names is made durable: one write and one fsync for all of them. A
//! mark counts as long as the entry's metadata has the revision it had then;
//! writing any outcome ends it. A mark whose entry nobody has locked was left
//! by a dead process: nobody knows what became of the message.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::disk::{open_plain, read_bounded};
use super::entry::EntryName;
use super::error::{ErrorKind, OutboxError, Result};

const HEADING: &str = "smtpmail-window 1";
const ENDING: &str = "end";

/// Ten thousand entries; no server takes windows of more than some hundreds.
const MAX_WINDOW_BYTES: u64 = 2 << 20;

/// An entry and the revision of its metadata when it was marked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub name: EntryName,
    pub revision: u64,
}

pub(super) fn to_text(marks: &[Mark]) -> String {
    let lines: String = marks
        .iter()
        .map(|mark| format!("{} {}\n", mark.revision, mark.name))
        .collect();
    format!("{HEADING}\n{lines}{ENDING}\n")
}

/// Reads a window file that may have gone meanwhile.
pub(super) fn read(path: &Path) -> Result<Vec<Mark>> {
    let content = match open_plain(path, false) {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => return Ok(vec![]),
        other => read_bounded(path, &other?, MAX_WINDOW_BYTES)?,
    };
    std::str::from_utf8(&content)
        .ok()
        .and_then(parse)
        .ok_or_else(|| OutboxError::new(ErrorKind::Damaged, path, "not a list of marks"))
}

pub(super) fn parse(text: &str) -> Option<Vec<Mark>> {
    let mut lines = text.strip_prefix(HEADING)?.strip_prefix('\n')?.lines();
    let mut marks = Vec::new();
    loop {
        let line = lines.next()?;
        if line == ENDING {
            return Some(marks);
        }
        let (revision, name) = line.split_once(' ')?;
        marks.push(Mark {
            name: EntryName::new(name)?,
            revision: revision.parse().ok()?,
        });
    }
}

/// A window that this process opened.
#[derive(Debug)]
pub(super) struct OpenWindow {
    pub file: String,
    marks: usize,
    /// Marks without an outcome on the disk.
    pending: AtomicUsize,
}

impl OpenWindow {
    pub(super) fn new(file: String, marks: usize) -> Self {
        Self {
            file,
            marks,
            pending: AtomicUsize::new(marks),
        }
    }

    pub(super) fn settle_one(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether none of its marks has an outcome, and there are so many.
    pub(super) fn is_all_of(&self, claims: usize) -> bool {
        self.marks == claims && self.pending.load(Ordering::Acquire) == claims
    }

    pub(super) fn is_settled(&self) -> bool {
        self.pending.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_back_and_cut_files_are_not() {
        let mark = |name: &str, revision| Mark {
            name: EntryName::new(name).expect("legal"),
            revision,
        };
        let marks = vec![mark("a b", 0), mark("2026-11-22_18:43:46_1", 17)];
        let text = to_text(&marks);
        assert_eq!(parse(&text), Some(marks));
        for end in 0..text.len() - 1 {
            assert_eq!(parse(&text[..end]), None, "{:?}", &text[..end]);
        }
        assert_eq!(parse("smtpmail-window 1\n1 ../a\nend\n"), None);
        assert_eq!(parse("smtpmail-window 2\nend\n"), None);
    }
}
