//! What is read from the files of entries: metadata, and what of it need not be read
//! again; texts, for people to look at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Stamp, open_plain, read_bounded};
use super::entry::EntryName;
use super::error::{ErrorKind, OutboxError, Result as OutboxResult};
use super::lock::is_held_here;
use super::metadata::{MAX_METADATA_BYTES, Metadata};
use super::name;
use super::problem::ProblemKind;
use super::readers;
use super::scan::{MAX_TEXT_BYTES, problem_of};
use super::store::Outbox;

/// The metadata of a file, or what is wrong with it.
pub(super) type Reading = Result<Arc<Metadata>, (ProblemKind, String)>;

/// Metadata that was read before, valid as long as its file is the same.
///
/// Only of entries that the outbox itself wrote: it never writes into a file
/// that is there, so another content is another file.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<String, (Stamp, Arc<Metadata>)>>);

impl Cache {
    fn known(&self) -> MutexGuard<'_, HashMap<String, (Stamp, Arc<Metadata>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `file`, at `path`, holds; `None` when it is not there.
    pub(super) fn read(&self, file: &str, path: &Path) -> Option<Reading> {
        let stamp = Stamp::of(&fs::symlink_metadata(path).ok()?);
        if let Some((before, metadata)) = self.known().get(file)
            && *before == stamp
        {
            return Some(Ok(metadata.clone()));
        }
        let reading = read(path);
        match &reading {
            Ok(metadata) if metadata.record.is_some() => {
                let entry = (stamp, metadata.clone());
                self.known().insert(file.to_owned(), entry);
            }
            _ => self.forget(file),
        }
        Some(reading)
    }

    /// Another content comes.
    pub(super) fn forget(&self, file: &str) {
        self.known().remove(file);
    }

    /// Forgets all files but these.
    pub(super) fn keep_only(&self, files: &BTreeMap<EntryName, String>) {
        let mut known = self.known();
        if known.len() > files.len() {
            let files: HashSet<&String> = files.values().collect();
            known.retain(|file, _| files.contains(file));
        }
    }
}

fn read(path: &Path) -> Reading {
    let content = open_plain(path, false)
        .and_then(|file| read_bounded(path, &file, MAX_METADATA_BYTES))
        .map_err(|error| {
            let problem = problem_of(&error);
            (problem.kind, problem.detail)
        })?;
    Metadata::parse(&content)
        .map(Arc::new)
        .map_err(|kind| (kind, String::new()))
}

fn is_local(directory: &Path) -> bool {
    File::open(directory).is_ok_and(|directory| readers::is_local(&directory))
}

impl Outbox {
    /// The first `limit` bytes of an entry's text, wherever it lies, and whether that is
    /// not all of it; `None` if there is none. No other program takes the entry for
    /// one that somebody has read.
    ///
    /// # Errors
    /// `Busy`, over a network, while this process sends it; `Disk`, `Hostile`.
    pub fn read_text(
        &self,
        entry: &EntryName,
        limit: Option<u64>,
    ) -> OutboxResult<Option<(Vec<u8>, bool)>> {
        let disk = &self.inner.disk;
        let is_it = |file: &OsString| {
            let file = file.to_str().and_then(name::without_maildir_flags);
            file == Some(entry.as_str())
        };
        let renamed = || {
            let files = fs::read_dir(disk.directory())
                .into_iter()
                .flatten()
                .flatten();
            files.map(|file| file.file_name()).find(is_it)
        };
        let known = [entry.to_string(), name::hidden_text(entry)].map(OsString::from);
        for file in known
            .into_iter()
            .map(Some)
            .chain(std::iter::once_with(renamed))
        {
            let Some(file) = file else { continue };
            let path = disk.directory().join(file);
            if is_held_here(&path) && !is_local(disk.directory()) {
                // Closing it would end our own lock of it.
                let text = "it is being sent at this moment";
                return Err(OutboxError::new(ErrorKind::Busy, &path, text));
            }
            let file = match open_plain(&path, false) {
                Err(error) if error.io_kind() == Some(std::io::ErrorKind::NotFound) => continue,
                other => other?,
            };
            let length = file.metadata().map_or(0, |attributes| attributes.len());
            let limit = limit.unwrap_or(MAX_TEXT_BYTES);
            let mut text = Vec::new();
            (&file)
                .take(limit)
                .read_to_end(&mut text)
                .map_err(|error| OutboxError::disk(&path, &error))?;
            return Ok(Some((text, length > limit)));
        }
        Ok(None)
    }
}
