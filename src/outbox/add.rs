//! Queueing: text, metadata, index, each durable before the call returns.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::disk::{MAX_NAME_TRIES, NewFile};
use super::entry::{EntryName, Facts, State, StoredVariables};
use super::error::{ErrorKind, OutboxError, Result};
use super::header;
use super::index;
use super::metadata::{Metadata, Microseconds, Record};
use super::name;
use super::scan::MAX_TEXT_BYTES;
use super::store::Outbox;

/// A message to queue.
pub struct NewEntry<'a> {
    /// The envelope's recipients, at least one.
    pub recipients: Vec<String>,
    /// What the built-in shall use when it sends the entry.
    pub stored_variables: StoredVariables,
    /// What we know beyond that.
    pub facts: Facts,
    /// Usually [`State::Waiting`], [`State::Held`] or [`State::Scheduled`].
    pub state: State,
    /// The message.
    pub text: Text<'a>,
}

/// The message's bytes: LF line ends, no Bcc, neither stuffed nor terminated.
pub enum Text<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// Already in the outbox's own file.
    Prepared(PreparedText),
}

/// A file of the outbox to write a large text to, with any program and by its
/// path. It must be written in place (as `write-region` does), not replaced.
/// Removed when dropped without having been queued.
pub struct PreparedText {
    name: EntryName,
    queued: Microseconds,
    new: NewFile,
    is_queued: bool,
}

/// A queued message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its name from now on.
    pub name: EntryName,
    /// Why the index does not list it yet. The entry itself is durable, and
    /// the next use of the outbox completes the index.
    pub index_error: Option<OutboxError>,
}

impl Outbox {
    /// Makes a file to write a large text to, creating the directory if need be.
    ///
    /// # Errors
    /// `Disk`, `Hostile`.
    pub fn prepare_text(&self) -> Result<PreparedText> {
        let disk = &self.inner.disk;
        disk.ensure_directory()?;
        for _ in 0..MAX_NAME_TRIES {
            let queued = name::next_moment();
            let name = name::fresh_entry_name(queued);
            // Whoever wants this name must create this very file, so after
            // having it there is nobody to race with.
            let new = match disk.create_new(disk.directory(), name.as_str()) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(|error| OutboxError::disk(disk.directory(), &error))?,
            };
            let text = PreparedText {
                name,
                queued,
                new,
                is_queued: false,
            };
            let name = &text.name;
            let taken = [
                name.to_string(),
                name::metadata_file(name),
                name::hidden_text(name),
            ]
            .iter()
            .any(|file| fs::symlink_metadata(disk.path(file)).is_ok());
            if !taken {
                return Ok(text);
            }
        }
        Err(OutboxError::new(
            ErrorKind::Disk,
            disk.directory(),
            "no free name",
        ))
    }

    /// Queues a message: when this returns, entry and index are durable.
    /// Raising `cancel` before the commit takes everything back; after it the call succeeds.
    ///
    /// # Errors
    /// `Cancelled`, `Disk`, `Hostile`, `Misuse`: nothing is queued.
    /// `NotDurable`: taken back too, unless the text says that it may remain.
    pub fn add(&self, entry: NewEntry<'_>, cancel: &AtomicBool) -> Result<Added> {
        let disk = &self.inner.disk;
        let misuse = |text: String| OutboxError::new(ErrorKind::Misuse, disk.directory(), text);
        if entry.recipients.is_empty() {
            return Err(misuse("no recipients".to_owned()));
        }
        let at = |path: &Path, error: &io::Error| match error.kind() {
            io::ErrorKind::Interrupted => OutboxError::new(ErrorKind::Cancelled, path, "cancelled"),
            _ => OutboxError::disk(path, error),
        };
        disk.ensure_directory()?;
        // One that cannot be read could not be brought up to date.
        index::content(&self.inner.index_path)?;
        let mut facts = entry.facts;
        let mut text = match entry.text {
            Text::Bytes(bytes) => {
                header::fill(&mut facts, bytes);
                let mut text = self.prepare_text()?;
                let written = disk.write(&mut text.new, bytes, cancel);
                written.map_err(|error| at(&text.new.path, &error))?;
                text
            }
            Text::Prepared(text) => {
                text.check()?;
                text
            }
        };
        let record = Record {
            revision: 1,
            queued: text.queued,
            state: entry.state,
            facts,
        };
        let metadata = Metadata {
            recipients: entry.recipients,
            variables: entry.stored_variables,
            other_variables: Vec::new(),
            record: Some(record),
        };
        let source = metadata.to_source().map_err(misuse)?;
        let not_durable = |path: &Path, error: &io::Error| {
            OutboxError::disk(path, error).with_kind(ErrorKind::NotDurable)
        };
        disk.sync(&text.new)
            .map_err(|error| not_durable(&text.new.path, &error))?;
        let mut metadata_file = disk
            .create_unique(disk.directory())
            .map_err(|error| at(disk.directory(), &error))?;
        let path = metadata_file.path.clone();
        let committed = disk
            .write(&mut metadata_file, source.as_bytes(), cancel)
            .map_err(|error| at(&path, &error))
            .and_then(|()| {
                disk.sync(&metadata_file)
                    .map_err(|error| not_durable(&path, &error))
            })
            .and_then(|()| self.commit(&mut text, &metadata_file, entry.state, cancel));
        if committed.is_err() {
            metadata_file.abandon();
        }
        let index_error = committed?;
        Ok(Added {
            name: text.name.clone(),
            index_error,
        })
    }

    /// Gives both files their names; the second rename is the commit.
    fn commit(
        &self,
        text: &mut PreparedText,
        metadata: &NewFile,
        state: State,
        cancel: &AtomicBool,
    ) -> Result<Option<OutboxError>> {
        let disk = &self.inner.disk;
        // Names need no lock: the entry counts even if the index must wait.
        let lock = match self.inner.lock() {
            Ok(lock) => Ok(Some(lock)),
            Err(error) if error.kind == ErrorKind::Unlockable => Ok(None),
            Err(error) => Err(error),
        };
        if cancel.load(Ordering::Relaxed) {
            return Err(OutboxError::new(
                ErrorKind::Cancelled,
                &text.new.path,
                "cancelled",
            ));
        }
        let text_file = if state.is_sendable(SystemTime::now()) {
            text.name.to_string()
        } else {
            name::hidden_text(&text.name)
        };
        let text_path = disk.path(&text_file);
        let metadata_path = disk.path(&name::metadata_file(&text.name));
        disk.rename(&text.new.path, &text_path)
            .map_err(|error| OutboxError::disk(&text_path, &error))?;
        if let Err(error) = disk.rename(&metadata.path, &metadata_path) {
            let _ = disk.rename(&text_path, &text.new.path);
            return Err(OutboxError::disk(&metadata_path, &error));
        }
        text.is_queued = true;
        let index_error = match &lock {
            Ok(Some(_)) if state.is_sendable(SystemTime::now()) => {
                self.inner.append_to_index(&text.name).err()
            }
            // Held ones too: the index may wait for something else.
            Ok(_) => self.inner.write_index().err(),
            Err(error) => Some(error.clone()),
        };
        let synced = disk.sync_directory();
        let Err(error) = synced else {
            return Ok(index_error);
        };
        let mut error =
            OutboxError::disk(disk.directory(), &error).with_kind(ErrorKind::NotDurable);
        let removed = disk
            .remove(&metadata_path)
            .and_then(|_| disk.remove(&text_path));
        if let Err(why) = removed {
            error.text = format!("{}; the entry {} may remain: {why}", error.text, text.name);
        }
        let _ = self.inner.write_index();
        Err(error)
    }
}

impl PreparedText {
    /// Where to write the text.
    pub fn path(&self) -> &Path {
        &self.new.path
    }

    fn check(&self) -> Result<()> {
        let path = &self.new.path;
        let hostile = |text: &str| Err(OutboxError::new(ErrorKind::Hostile, path, text));
        if !self.new.is_at_its_path() {
            return hostile("the prepared file was replaced instead of written");
        }
        let length = self
            .new
            .file
            .metadata()
            .map_err(|error| OutboxError::disk(path, &error))?
            .len();
        if length > MAX_TEXT_BYTES {
            hostile("the text is too large")
        } else {
            Ok(())
        }
    }
}

impl Drop for PreparedText {
    fn drop(&mut self) {
        if !self.is_queued {
            self.new.abandon();
        }
    }
}
