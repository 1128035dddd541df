//! The index brought up to date: derived from a whole look at the directory, or,
//! while such a look is fresh, by the lines that change. The caller has the
//! directory's lock and syncs the directory.
//!
//! What other programs do to the index shows at once, since it is read before
//! each change; what else happens in the directory, at the next whole look.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::disk::{NewFile, open_plain, read_bounded};
use super::entry::EntryName;
use super::error::{OutboxError, Result};
use super::index::{self, MAX_INDEX_BYTES};
use super::name;
use super::scan::{SETTLE_TIME, Snapshot};
use super::store::Inner;

/// How often the index is derived again because another program appended to it meanwhile.
const MAX_INDEX_TRIES: usize = 4;

/// The index as this process left it.
#[derive(Default)]
pub(super) struct KnownIndex {
    look: Mutex<Option<Look>>,
    /// Changes of entries that only a whole look brings into the index.
    changes: AtomicU64,
}

/// A whole look at the directory, and what the index was after it.
pub(super) struct Look {
    taken: Instant,
    changes: u64,
    content: Vec<u8>,
}

impl KnownIndex {
    /// Something has happened to an entry that is not in the index yet.
    pub(super) fn forget(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// Whether there was a whole look just now, and no change since.
    pub(super) fn is_fresh(&self) -> bool {
        let look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.as_ref().is_some_and(|look| {
            look.changes == self.changes() && look.taken.elapsed() < SETTLE_TIME
        })
    }

    fn is(&self, content: &[u8]) -> bool {
        let look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.as_ref().is_some_and(|look| look.content == content)
    }

    /// A whole look begins: what is known from now on.
    pub(super) fn begin(&self) -> Look {
        Look {
            taken: Instant::now(),
            changes: self.changes(),
            content: Vec::new(),
        }
    }

    fn looked(&self, look: Look, content: Vec<u8>) {
        let look = Look { content, ..look };
        *self.look.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }

    fn amended(&self, content: Vec<u8>) {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = &mut *look {
            look.content = content;
        }
    }
}

impl Inner {
    /// Appends the line of `new` to the index; by a whole look where that is not
    /// known to be enough.
    pub(super) fn append_to_index(&self, new: &EntryName) -> Result<()> {
        let amended = self.amended_index(&[], Some(new))?;
        let Some(amended) = amended else {
            return self.write_index().map(|_| ());
        };
        let synced = self.disk.sync(&amended.new);
        synced.map_err(|error| OutboxError::disk(&amended.new.path, &error))?;
        self.put_index(amended)
    }

    /// The index as it is to be, in a file that is to be synced and [put](Self::put_index):
    /// without the lines of `gone`, and with one for `new` behind. `None` where only
    /// a whole look can tell.
    pub(super) fn amended_index(
        &self,
        gone: &[&EntryName],
        new: Option<&EntryName>,
    ) -> Result<Option<AmendedIndex>> {
        let Some((old, before)) = self.index_if_known() else {
            return Ok(None);
        };
        let content = index::amended(&before, self.disk.directory(), gone, new);
        let path = &self.index_path;
        let new = self.disk.prepare(path, &content);
        let new = new.map_err(|error| OutboxError::disk(path, &error))?;
        let is_put = false;
        Ok(Some(AmendedIndex {
            new,
            content,
            old,
            before,
            is_put,
        }))
    }

    /// Replaces the index by `amended`, which is synced.
    pub(super) fn put_index(&self, mut amended: AmendedIndex) -> Result<()> {
        let path = &self.index_path;
        let put = self.disk.rename(&amended.new.path, path);
        put.map_err(|error| OutboxError::disk(path, &error))?;
        amended.is_put = true;
        if has_grown(&amended.old, &amended.before) {
            return self.write_index().map(|_| ());
        }
        self.known_index
            .amended(std::mem::take(&mut amended.content));
        self.sync_index_directory()
    }

    /// How many entries the index lists, if it is as this process left it.
    pub(super) fn known_length(&self) -> Option<usize> {
        let (_, content) = self.index_if_known()?;
        Some(content.iter().filter(|byte| **byte == b'\n').count())
    }

    /// The index, if it is as this process left it and that is not long ago.
    fn index_if_known(&self) -> Option<(File, Vec<u8>)> {
        if !self.known_index.is_fresh() {
            return None;
        }
        let file = open_plain(&self.index_path, false).ok()?;
        let content = read_bounded(&self.index_path, &file, MAX_INDEX_BYTES).ok()?;
        self.known_index.is(&content).then_some((file, content))
    }

    /// Derives the index from the entries and replaces it if it differs; true if so.
    pub(super) fn write_index(&self) -> Result<bool> {
        self.write_index_with(&[])
    }

    /// As [`Inner::write_index`]; the lines of `returned` were taken out by ourselves, so
    /// that nobody is about to append them.
    pub(super) fn write_index_with(&self, returned: &[EntryName]) -> Result<bool> {
        let mut has_changed = false;
        for _ in 0..MAX_INDEX_TRIES {
            let look = self.known_index.begin();
            let mut snapshot = self.snapshot()?;
            snapshot.returned.extend(returned.iter().cloned());
            match self.write_index_of(&snapshot, look)? {
                Written::Same => return Ok(has_changed),
                Written::Replaced => {
                    has_changed = true;
                    break;
                }
                Written::Grown => has_changed = true,
            }
        }
        self.sync_index_directory()?;
        Ok(has_changed)
    }

    /// Writes the index that `snapshot`, taken by `look`, wants.
    pub(super) fn write_index_of(&self, snapshot: &Snapshot, look: Look) -> Result<Written> {
        if let Some(error) = &snapshot.index_error {
            return Err(error.clone());
        }
        let content = snapshot.index_content(self.disk.directory(), SystemTime::now());
        let index = &snapshot.index;
        // An empty index stays, but a directory that has never been an outbox gets none.
        let is_needed = index.exists || !snapshot.entries.is_empty();
        if !is_needed || index.exists && index.content == content {
            self.known_index.looked(look, content);
            return Ok(Written::Same);
        }
        if let Some(lines) = snapshot.set_aside_content() {
            self.replace(&self.disk.path(name::SET_ASIDE), &lines)?;
        }
        let old = open_plain(&self.index_path, false).ok();
        self.replace(&self.index_path, &content)?;
        // Programs that know no lock append to the file that we replaced.
        if old.is_some_and(|old| has_grown(&old, &index.content)) {
            return Ok(Written::Grown);
        }
        self.known_index.looked(look, content);
        Ok(Written::Replaced)
    }

    fn replace(&self, path: &Path, content: &[u8]) -> Result<()> {
        self.disk
            .replace(path, content)
            .map_err(|error| OutboxError::disk(path, &error))
    }

    fn sync_index_directory(&self) -> Result<()> {
        if let Some(parent) = self.index_path.parent()
            && parent != self.disk.directory()
        {
            let synced = self.disk.sync_directory_at(parent);
            synced.map_err(|error| OutboxError::disk(parent, &error))?;
        }
        Ok(())
    }
}

/// An index that is written, and not in its place.
pub(super) struct AmendedIndex {
    pub new: NewFile,
    content: Vec<u8>,
    /// The one in its place.
    old: File,
    before: Vec<u8>,
    is_put: bool,
}

impl Drop for AmendedIndex {
    fn drop(&mut self) {
        if !self.is_put {
            self.new.abandon();
        }
    }
}

/// What became of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It was right.
    Same,
    Replaced,
    /// Replaced, but another program has appended to the old one meanwhile.
    Grown,
}

fn has_grown(old: &File, content: &[u8]) -> bool {
    let length = old.metadata().map(|old| old.len());
    length.is_ok_and(|length| length > content.len() as u64)
}
