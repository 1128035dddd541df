//! What dead writers left is brought to its end, at the next use, under the
//! directory's lock. Each thing only if its own lock is free: then its writer is dead.

use std::fs;

use super::claim::Claim;
use super::entry::State;
use super::error::Result;
use super::lock::{Attempt, FileLock};
use super::name;
use super::readers;
use super::refresh::Written;
use super::scan::{Found, Place, Snapshot};
use super::store::{Inner, Outbox};
use super::window::Mark;
use std::sync::Arc;
use std::time::SystemTime;

impl Inner {
    /// Finishes, tidies, puts in order; the index last. What is there then.
    pub(super) fn repair(self: &Arc<Self>) -> Result<Snapshot> {
        let _lock = self.lock()?;
        let look = self.known_index.begin();
        let snapshot = self.snapshot()?;
        let mut has_changed = false;
        for found in snapshot.entries.iter().filter(|found| found.is_sprung) {
            readers::arm(&self.disk.path(&found.text_file));
            readers::arm(&self.disk.path(&found.metadata_file));
        }
        for entry in &snapshot.done {
            self.remove(&name::metadata_file(entry))?;
            has_changed |= self.remove(&name::done(entry))?;
        }
        for file in &snapshot.new_files {
            let path = self.disk.path(file);
            if let Attempt::Taken(_lock) = FileLock::try_lock(&path)? {
                has_changed |= self.remove(file)?;
            }
        }
        has_changed |= self.take_back_names(&snapshot)?;
        let mut over = Vec::new();
        for (file, marks) in &snapshot.windows {
            let mut is_over = true;
            for mark in marks {
                is_over &= self.resolve(&snapshot, mark)?;
            }
            if is_over {
                over.push(file);
            }
        }
        for found in snapshot
            .entries
            .iter()
            .filter(|found| self.is_misplaced(found))
        {
            if let Some(mut claim) = self.claim(found)? {
                has_changed |= claim.place_text()?;
            }
        }
        if !has_changed && over.is_empty() && self.write_index_of(&snapshot, look)? == Written::Same
        {
            return Ok(snapshot);
        }
        self.write_index()?;
        self.sync_directory()?;
        for file in over {
            self.remove(file)?;
        }
        self.snapshot()
    }

    fn claim(self: &Arc<Self>, found: &Found) -> Result<Option<Claim>> {
        Outbox {
            inner: Arc::clone(self),
        }
        .claim(&found.name)
    }

    /// True when the mark says nothing any more.
    fn resolve(self: &Arc<Self>, snapshot: &Snapshot, mark: &Mark) -> Result<bool> {
        let found = snapshot
            .entries
            .iter()
            .find(|found| found.name == mark.name);
        match found {
            Some(found) if found.metadata.revision() != mark.revision => Ok(true),
            Some(found) => match self.claim(found)? {
                Some(mut claim) if claim.mark() == *mark => {
                    claim.settle_left_behind()?;
                    Ok(true)
                }
                Some(_) => Ok(true),
                // Somebody is sending it, or just has: look again next time.
                None => Ok(false),
            },
            // Gone, or unreadable for now: then the mark must outlive that.
            None => {
                let metadata = self.disk.path(&name::metadata_file(&mark.name));
                Ok(fs::symlink_metadata(metadata).is_err())
            }
        }
    }

    fn is_misplaced(&self, found: &Found) -> bool {
        let is_sendable = found.state().is_sendable(SystemTime::now());
        found.state() != State::Sending && is_sendable != (found.place == Place::Plain)
    }

    /// Undoes a maildir program's renaming, where the plain name is free.
    fn take_back_names(&self, snapshot: &Snapshot) -> Result<bool> {
        let mut has_changed = false;
        for found in &snapshot.entries {
            let metadata = name::metadata_file(&found.name);
            let text = found.name.to_string();
            for (from, to) in [(&found.metadata_file, metadata), (&found.text_file, text)] {
                if name::without_maildir_flags(from) != Some(to.as_str()) {
                    continue;
                }
                let (from, to) = (self.disk.path(from), self.disk.path(&to));
                has_changed |= self.disk.rename_to_free_name(&from, &to).is_ok();
            }
        }
        Ok(has_changed)
    }
}
