//! The index: one absolute path of an entry's text a line, as the built-in
//! appends them and mu4e counts them. Derived from the entries, never trusted.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::disk::{open_plain, read_bounded};
use super::entry::EntryName;
use super::error::Result;

/// 100,000 lines of ordinary length; a longer index is not one.
pub(super) const MAX_INDEX_BYTES: u64 = 16 << 20;

/// Where a line leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Entry(EntryName),
    /// Out of the directory, or to no usable name: kept as text for people.
    Elsewhere(String),
}

/// An index file as it was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    pub exists: bool,
    pub content: Vec<u8>,
    pub lines: Vec<Line>,
}

impl Index {
    /// Reads the index of `directory`, or another file of such lines.
    pub(super) fn read(path: &Path, directory: &Path) -> Result<Self> {
        let Some(content) = content(path)? else {
            return Ok(Self::default());
        };
        let lines = lines(&content, directory);
        Ok(Self {
            exists: true,
            content,
            lines,
        })
    }

    pub(super) fn names(&self) -> HashSet<EntryName> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Entry(name) => Some(name.clone()),
                Line::Elsewhere(_) => None,
            })
            .collect()
    }
}

/// What an index holds, if it is there.
pub(super) fn content(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match open_plain(path, false) {
        Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => return Ok(None),
        other => other?,
    };
    read_bounded(path, &file, MAX_INDEX_BYTES).map(Some)
}

pub(super) fn lines(content: &[u8], directory: &Path) -> Vec<Line> {
    let mut parents = Parents {
        directory,
        canonical: None,
        known: Vec::new(),
    };
    content
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .map(|line| {
            match std::str::from_utf8(line)
                .ok()
                .and_then(|line| parents.entry(line))
            {
                Some(name) => Line::Entry(name),
                None => Line::Elsewhere(String::from_utf8_lossy(line).into_owned()),
            }
        })
        .collect()
}

/// The line for an entry.
pub(super) fn line(directory: &Path, name: &EntryName) -> Vec<u8> {
    let mut line = directory
        .join(name.as_str())
        .into_os_string()
        .into_encoded_bytes();
    if cfg!(windows) {
        // As Emacs writes them.
        line.iter_mut()
            .filter(|byte| **byte == b'\\')
            .for_each(|byte| *byte = b'/');
    }
    line.push(b'\n');
    line
}

/// An index that we wrote, without the lines of `gone`, with one for `new` behind.
pub(super) fn amended(
    content: &[u8],
    directory: &Path,
    gone: &[&EntryName],
    new: Option<&EntryName>,
) -> Vec<u8> {
    let mut amended = Vec::with_capacity(content.len() + 256);
    if gone.is_empty() {
        amended.extend_from_slice(content);
    } else {
        let gone: HashSet<Vec<u8>> = gone.iter().map(|name| line(directory, name)).collect();
        let lines = content.split_inclusive(|byte| *byte == b'\n');
        for line in lines.filter(|line| !gone.contains(*line)) {
            amended.extend_from_slice(line);
        }
    }
    if let Some(name) = new {
        amended.extend(line(directory, name));
    }
    amended
}

/// Decides whether a path's directory is ours, under whichever name it is
/// written, asking the file system once for each of them.
struct Parents<'a> {
    directory: &'a Path,
    canonical: Option<PathBuf>,
    known: Vec<(PathBuf, bool)>,
}

impl Parents<'_> {
    /// More spellings than this are no spellings but an attack on our time.
    const MAX_SPELLINGS: usize = 16;

    fn entry(&mut self, line: &str) -> Option<EntryName> {
        // As we write them: nearly all.
        let inside = self.directory.to_str().and_then(|directory| {
            let rest = line.strip_prefix(directory)?.strip_prefix('/')?;
            (!rest.contains('/') && !rest.ends_with('.')).then_some(rest)
        });
        if let Some(name) = inside {
            return EntryName::new(name);
        }
        let path = Path::new(line);
        // `file_name' would silently look through a trailing slash or dot.
        if !matches!(path.components().next_back(), Some(Component::Normal(_)))
            || line.ends_with(['/', '.'])
        {
            return None;
        }
        let name = EntryName::new(path.file_name().and_then(OsStr::to_str)?)?;
        let parent = path.parent()?;
        (parent.as_os_str().is_empty() || parent == self.directory || self.is_ours(parent))
            .then_some(name)
    }

    fn is_ours(&mut self, parent: &Path) -> bool {
        if let Some((_, ours)) = self.known.iter().find(|(known, _)| known == parent) {
            return *ours;
        }
        if self.known.len() >= Self::MAX_SPELLINGS {
            return false;
        }
        let expanded = match (parent.strip_prefix("~"), std::env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => parent.to_owned(),
        };
        if self.canonical.is_none() {
            self.canonical = fs::canonicalize(self.directory).ok();
        }
        let ours = expanded.is_absolute()
            && self.canonical.is_some()
            && fs::canonicalize(expanded).ok() == self.canonical;
        self.known.push((parent.to_owned(), ours));
        ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lead_to_entries_of_the_directory_or_elsewhere() {
        let directory = fs::canonicalize(std::env::temp_dir()).expect("exists");
        let spelt = directory.to_str().expect("UTF-8");
        let entry = |name: &str| Line::Entry(EntryName::new(name).expect("legal"));
        let elsewhere = |line: &str| Line::Elsewhere(line.to_owned());
        for (content, expected) in [
            (
                format!("{spelt}/a\n{spelt}/b:2,S\n"),
                vec![entry("a"), entry("b:2,S")],
            ),
            (
                format!("{spelt}/a\r\n\n{spelt}/b"),
                vec![entry("a"), entry("b")],
            ),
            (format!("{spelt}/./a\n"), vec![entry("a")]),
            (
                format!("{spelt}/../{spelt}/a\n").replace("//", "/"),
                vec![entry("a")],
            ),
            ("a\n".to_owned(), vec![entry("a")]),
            ("/etc/passwd\n".to_owned(), vec![elsewhere("/etc/passwd")]),
            (
                format!("{spelt}/../etc/passwd\n"),
                vec![elsewhere(&format!("{spelt}/../etc/passwd"))],
            ),
            (
                format!("{spelt}/a/.\n"),
                vec![elsewhere(&format!("{spelt}/a/."))],
            ),
            (
                format!("{spelt}/a/\n"),
                vec![elsewhere(&format!("{spelt}/a/"))],
            ),
            (
                format!("{spelt}/..\n"),
                vec![elsewhere(&format!("{spelt}/.."))],
            ),
            (
                format!("{spelt}/.smtpmail-lock\n"),
                vec![elsewhere(&format!("{spelt}/.smtpmail-lock"))],
            ),
            ("../a\n".to_owned(), vec![elsewhere("../a")]),
        ] {
            assert_eq!(lines(content.as_bytes(), &directory), expected, "{content}");
        }
        assert_eq!(lines(b"\xff\n", &directory), [elsewhere("\u{fffd}")]);
    }
}
