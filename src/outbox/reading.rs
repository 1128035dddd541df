//! Metadata read from its files, and what of it need not be read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Stamp, open_plain, read_bounded};
use super::entry::EntryName;
use super::metadata::{MAX_METADATA_BYTES, Metadata};
use super::problem::ProblemKind;
use super::scan::problem_of;

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
