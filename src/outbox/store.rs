//! The outbox itself: open, list, mark, make durable. Adding is in `add.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::claim::{Claim, Outcome};
use super::disk::{Disk, StepHook, open_plain};
use super::entry::{EntryName, Facts, State, StoredVariables};
use super::error::{ErrorKind, OutboxError, Result};
use super::header;
use super::lock::{Attempt, FileLock};
use super::name;
use super::problem::{Problem, ProblemKind};
use super::scan::{Cache, Snapshot};
use super::window::{self, Mark, OpenWindow};

/// How often the index is derived again because another program appended to it meanwhile.
const MAX_INDEX_TRIES: usize = 4;

/// A queue directory. Cheap to clone; any number of threads and processes may use it at once.
#[derive(Clone)]
pub struct Outbox {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub disk: Disk,
    pub index_path: PathBuf,
    cache: Cache,
    /// Of this process, not yet removed from the disk.
    windows: Mutex<Vec<Arc<OpenWindow>>>,
}

/// One look into the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// In the order of queueing.
    pub entries: Vec<Listed>,
    /// What is odd; nothing of it was changed or removed.
    pub problems: Vec<Problem>,
}

/// An entry as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: EntryName,
    /// What may happen to it.
    pub state: State,
    /// Those who still wait for it.
    pub recipients: Vec<String>,
    /// As stored by us or by the built-in.
    pub stored_variables: StoredVariables,
    /// Completed by what the header tells.
    pub facts: Facts,
    /// Octets of the text's file.
    pub bytes: u64,
    /// When it was queued.
    pub queued: SystemTime,
    /// Queued by another program, and never changed by us.
    pub is_foreign: bool,
}

impl Outbox {
    /// Names a directory (`smtpmail-queue-dir`, absolute and expanded) and its
    /// index (`smtpmail-queue-index-file`, relative to it). Touches nothing.
    ///
    /// # Errors
    /// `Misuse` for names that cannot work.
    pub fn open(directory: &Path, index_file: &str) -> Result<Self> {
        Self::open_with(directory, index_file, None)
    }

    /// As [`Outbox::open`], with each change on the disk told to `hook` first.
    pub fn open_with(
        directory: &Path,
        index_file: &str,
        hook: Option<Arc<StepHook>>,
    ) -> Result<Self> {
        let misuse = |text| Err(OutboxError::new(ErrorKind::Misuse, directory, text));
        if !directory.is_absolute() {
            return misuse("the queue directory is not absolute");
        }
        if directory.as_os_str().as_encoded_bytes().contains(&b'\n') {
            return misuse("the index cannot hold a directory with a line end in its name");
        }
        let index_path = directory.join(index_file);
        if index_file.is_empty() || index_file.ends_with('/') || index_path.file_name().is_none() {
            return misuse("the index has no file name");
        }
        let disk = Disk::new(directory.to_owned(), hook);
        let (cache, windows) = (Cache::default(), Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                index_path,
                cache,
                windows,
            }),
        })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.inner.disk.directory()
    }

    /// Repairs what dead writers left, then lists everything. A directory
    /// that does not exist is empty.
    ///
    /// # Errors
    /// `Disk` when the directory cannot be read; all else is a problem in the listing.
    pub fn entries(&self) -> Result<Listing> {
        let inner = &self.inner;
        if !inner.disk.directory().exists() {
            return Ok(Listing::default());
        }
        let repaired = inner.repair();
        let snapshot = inner.snapshot()?;
        let entries = snapshot
            .entries
            .iter()
            .map(|found| {
                let text = inner.disk.path(&found.text_file);
                let record = found.metadata.record.as_ref();
                let mut facts = record
                    .map(|record| record.facts.clone())
                    .unwrap_or_default();
                // Also of those that were foreign before they got an outcome.
                if facts.message_id.is_none() || facts.from.is_none() {
                    header::complete(&mut facts, &text);
                }
                Listed {
                    name: found.name.clone(),
                    state: match found.state() {
                        State::Sending if !is_locked(&text) => State::Unknown,
                        state => state,
                    },
                    recipients: found.metadata.recipients.clone(),
                    stored_variables: found.metadata.variables.clone(),
                    facts,
                    bytes: found.bytes,
                    queued: found.queued.time(),
                    is_foreign: record.is_none(),
                }
            })
            .collect();
        let mut problems = snapshot.problems;
        if let Err(error) = repaired {
            let detail = error.text;
            problems.push(Problem {
                path: error.path,
                kind: ProblemKind::RepairFailed,
                detail,
            });
        }
        if inner.is_writable_by_others() {
            let (path, kind) = (
                self.directory().to_owned(),
                ProblemKind::DirectoryWritableByOthers,
            );
            problems.push(Problem {
                path,
                kind,
                detail: String::new(),
            });
        }
        Ok(Listing { entries, problems })
    }

    /// Locks an entry, so that nobody else sends or changes it. `None` when
    /// somebody else has it or it is gone.
    ///
    /// # Errors
    /// `Unlockable`; `Damaged` when its metadata cannot be used; `Disk`, `Hostile`.
    pub fn claim(&self, name: &EntryName) -> Result<Option<Claim>> {
        Claim::take(self, name)
    }

    /// Claims an entry, gives it an outcome and makes that durable: hold,
    /// release, schedule or drop by the user's word. False as [`Outbox::claim`]'s `None`.
    ///
    /// # Errors
    /// As [`Outbox::claim`] and [`Claim::settle`].
    pub fn change(&self, name: &EntryName, outcome: Outcome) -> Result<bool> {
        let Some(mut claim) = self.claim(name)? else {
            return Ok(false);
        };
        let changed = claim.settle(outcome)?;
        drop(claim);
        self.sync()?;
        Ok(changed)
    }

    /// Marks a window of claims as being sent: durable when this returns.
    /// Only then may the first of their final dots go out. From here on an
    /// entry without an outcome is unknown. Gives the names of those that
    /// another program removed meanwhile, which must not be sent.
    ///
    /// # Errors
    /// None of them may be sent: all are as before. `Misuse` for a claim that is
    /// not sendable, or already marked; `Busy`, `Disk`, `NotDurable`, `Unlockable`.
    pub fn mark_sending<'c>(
        &self,
        claims: impl IntoIterator<Item = &'c mut Claim>,
    ) -> Result<Vec<EntryName>> {
        let inner = &self.inner;
        let disk = &inner.disk;
        let mut claims: Vec<&mut Claim> = claims.into_iter().collect();
        let mut vanished = Vec::new();
        let _lock = inner.lock()?;
        for claim in &claims {
            claim.check_markable(inner)?;
        }
        claims.retain(|claim| {
            let is_there = claim.is_there();
            if !is_there {
                vanished.push(claim.name().clone());
            }
            is_there
        });
        if claims.is_empty() {
            return Ok(vanished);
        }
        let marks: Vec<Mark> = claims.iter().map(|claim| claim.mark()).collect();
        let file = name::window(&name::unique());
        let path = disk.path(&file);
        let not_durable = |path: &Path, error: &std::io::Error| {
            OutboxError::disk(path, error).with_kind(ErrorKind::NotDurable)
        };
        let result = disk
            .replace(&path, window::to_text(&marks).as_bytes())
            .map_err(|error| not_durable(&path, &error))
            .and_then(|()| {
                // A program with an old index cannot find the text any more.
                for claim in &mut claims {
                    claim.hide()?;
                }
                inner.write_index()?;
                disk.sync_directory()
                    .map_err(|error| not_durable(disk.directory(), &error))
            });
        if let Err(error) = result {
            for claim in &mut claims {
                claim.show();
            }
            let _ = disk.remove(&path);
            let _ = inner.write_index();
            return Err(error);
        }
        let window = Arc::new(OpenWindow::new(file, claims.len()));
        for claim in claims {
            claim.enter(Arc::clone(&window));
            if !claim.is_there() {
                vanished.push(claim.name().clone());
            }
        }
        inner.windows().push(window);
        Ok(vanished)
    }

    /// Brings index and directory up to date with all outcomes and makes both
    /// durable: once per window.
    ///
    /// # Errors
    /// `Busy`, `Disk`, `Hostile`, `NotDurable`, `Unlockable`: repeat it, nothing is lost.
    pub fn sync(&self) -> Result<()> {
        let inner = &self.inner;
        let _lock = inner.lock()?;
        inner.write_index()?;
        inner.sync_directory()?;
        // Only now: before, a power cut could have undone the outcomes.
        let mut windows = inner.windows();
        let (settled, open) = windows.drain(..).partition(|window| window.is_settled());
        *windows = open;
        drop(windows);
        let settled: Vec<Arc<OpenWindow>> = settled;
        for window in settled {
            inner.remove(&window.file)?;
        }
        Ok(())
    }
}

impl Inner {
    fn windows(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OpenWindow>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory's lock, held for index, names and windows.
    pub(super) fn lock(&self) -> Result<FileLock> {
        FileLock::wait(&self.disk.path(name::LOCK))
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot> {
        Snapshot::take(&self.disk, &self.index_path, &self.cache)
    }

    pub(super) fn sync_directory(&self) -> Result<()> {
        self.disk.sync_directory().map_err(|error| {
            OutboxError::disk(self.disk.directory(), &error).with_kind(ErrorKind::NotDurable)
        })
    }

    pub(super) fn remove(&self, file: &str) -> Result<bool> {
        let path = self.disk.path(file);
        self.disk
            .remove(&path)
            .map_err(|error| OutboxError::disk(&path, &error))
    }

    /// Derives the index from the entries and replaces it if it differs; true
    /// if so. The caller has the lock and syncs the directory.
    pub(super) fn write_index(&self) -> Result<bool> {
        let mut has_changed = false;
        for _ in 0..MAX_INDEX_TRIES {
            let snapshot = self.snapshot()?;
            if let Some(error) = snapshot.index_error {
                return Err(error);
            }
            let content = snapshot.index_content(self.disk.directory(), SystemTime::now());
            let index = &snapshot.index;
            // An empty index stays, but a directory that has never been an outbox gets none.
            let is_needed = index.exists || !snapshot.entries.is_empty();
            if !is_needed || index.exists && index.content == content {
                return Ok(has_changed);
            }
            let replace = |path: &Path, content: &[u8]| {
                self.disk
                    .replace(path, content)
                    .map_err(|error| OutboxError::disk(path, &error))
            };
            if let Some(lines) = snapshot.set_aside_content() {
                replace(&self.disk.path(name::SET_ASIDE), &lines)?;
            }
            let old = open_plain(&self.index_path, false).ok();
            replace(&self.index_path, &content)?;
            has_changed = true;
            // Programs that know no lock append to the file that we replaced.
            let grew = old
                .and_then(|old| old.metadata().ok())
                .is_some_and(|old| old.len() > index.content.len() as u64);
            if !grew {
                break;
            }
        }
        if let Some(parent) = self.index_path.parent()
            && parent != self.disk.directory()
        {
            let synced = self.disk.sync_directory_at(parent);
            synced.map_err(|error| OutboxError::disk(parent, &error))?;
        }
        Ok(has_changed)
    }

    fn is_writable_by_others(&self) -> bool {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            const WRITE_BY_OTHERS: u32 = 0o022;
            fs::metadata(self.disk.directory())
                .is_ok_and(|metadata| metadata.permissions().mode() & WRITE_BY_OTHERS != 0)
        }
        #[cfg(not(unix))]
        false
    }
}

/// Whether somebody, in this process or another, sends the text.
fn is_locked(text: &Path) -> bool {
    !matches!(FileLock::try_lock(text), Ok(Attempt::Taken(_)))
}
