//! The outbox itself: open, list, mark, make durable. Adding is in `add.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::claim::{Claim, Obstacle, Outcome, Unmarked};
use super::disk::{Disk, StepHook};
use super::entry::{EntryName, Facts, State, StoredVariables};
use super::error::{ErrorKind, OutboxError, Result};
use super::header;
use super::index::Index;
use super::lock::{Attempt, FileLock};
use super::name;
use super::problem::{Problem, ProblemKind};
use super::reading::Cache;
use super::refresh::{AmendedIndex, KnownIndex};
use super::scan::Snapshot;
use super::window::{self, Mark, OpenWindow};

/// A queue directory. Cheap to clone; any number of threads and processes may use it at once.
#[derive(Clone)]
pub struct Outbox {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub disk: Disk,
    pub index_path: PathBuf,
    pub cache: Cache,
    pub known_index: KnownIndex,
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

/// What became of marking several claims at once.
enum Marking {
    /// By the window of this name.
    Marked(String),
    /// Not at all, for the sake of this one.
    Hindered(Unmarked),
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
        let (cache, known_index) = (Cache::default(), KnownIndex::default());
        let windows = Mutex::default();
        Ok(Self {
            inner: Arc::new(Inner {
                disk,
                index_path,
                cache,
                known_index,
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
        let (snapshot, repaired) = match inner.repair() {
            Ok(snapshot) => (snapshot, Ok(())),
            Err(error) => (inner.snapshot()?, Err(error)),
        };
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

    /// How many entries the index lists, which any program may send now.
    ///
    /// # Errors
    /// `Disk`, `Hostile`.
    pub fn indexed(&self) -> Result<usize> {
        if let Some(length) = self.inner.known_length() {
            return Ok(length);
        }
        let index = Index::read(&self.inner.index_path, self.directory())?;
        Ok(index.lines.len())
    }

    /// Locks an entry, so that nobody else sends or changes it. `None` when
    /// somebody else has it or it is gone.
    ///
    /// # Errors
    /// `Unlockable`; `Damaged` when its metadata cannot be used; `Disk`, `Hostile`.
    pub fn claim(&self, name: &EntryName) -> Result<Option<Claim>> {
        let mut claims = self.claim_all(std::slice::from_ref(name));
        claims.pop().unwrap_or(Ok(None))
    }

    /// As [`Outbox::claim`] of each name, in order, with one look at the windows.
    pub fn claim_all(&self, names: &[EntryName]) -> Vec<Result<Option<Claim>>> {
        Claim::take_all(self, names)
    }

    /// Claims an entry, gives it an outcome and makes that durable: hold,
    /// release, schedule or drop by the user's word. False as [`Outbox::claim`]'s `None`.
    ///
    /// # Errors
    /// As [`Outbox::claim`] and [`Claim::settle`].
    pub fn change(&self, name: &EntryName, outcome: Outcome) -> Result<bool> {
        self.change_if(name, |_| true, outcome)
    }

    /// As [`Outbox::change`], if the entry's state is one that was reckoned with;
    /// false and unchanged otherwise.
    ///
    /// # Errors
    /// As [`Outbox::change`].
    pub fn change_if(
        &self,
        name: &EntryName,
        is_expected: impl FnOnce(State) -> bool,
        outcome: Outcome,
    ) -> Result<bool> {
        let Some(mut claim) = self.claim(name)?.filter(|claim| is_expected(claim.state())) else {
            return Ok(false);
        };
        let changed = claim.settle(outcome)?;
        drop(claim);
        self.sync()?;
        Ok(changed)
    }

    /// Marks a window of claims as being sent: durable when this returns.
    /// Only then may the first of their final dots go out. From here on an
    /// entry without an outcome is unknown. Gives those that are not marked and must
    /// not be sent, since another program has removed them or may be sending them.
    ///
    /// # Errors
    /// None of them may be sent: all are as before. `Misuse` for a claim that is
    /// not sendable, or already marked; `Busy`, `Disk`, `NotDurable`, `Unlockable`.
    pub fn mark_sending<'c>(
        &self,
        claims: impl IntoIterator<Item = &'c mut Claim>,
    ) -> Result<Vec<Unmarked>> {
        let inner = &self.inner;
        let mut claims: Vec<&mut Claim> = claims.into_iter().collect();
        let mut unmarked = Vec::new();
        let _lock = inner.lock()?;
        for claim in &claims {
            claim.check_markable(inner)?;
        }
        let settled = inner.settled_windows();
        let file = loop {
            claims.retain(|claim| {
                let why = claim.obstacle();
                unmarked.extend(why.map(|why| claim.unmarked(why)));
                why.is_none()
            });
            if claims.is_empty() {
                return Ok(unmarked);
            }
            match inner.mark(&mut claims)? {
                Marking::Marked(file) => break file,
                // One fewer each time.
                Marking::Hindered(hindered) => {
                    claims.retain(|claim| hindered.name != *claim.name());
                    unmarked.push(hindered);
                }
            }
        };
        // The outcomes before are durable now too. What cannot be removed says
        // nothing any more, and goes with the next repair.
        let _ = inner.remove_windows(&settled);
        let window = Arc::new(OpenWindow::new(file, claims.len()));
        for claim in claims {
            claim.enter(Arc::clone(&window));
            if !claim.is_there() {
                unmarked.push(claim.unmarked(Obstacle::Gone));
            }
        }
        inner.windows().push(window);
        Ok(unmarked)
    }

    /// Takes the marks of claims back of which nothing has gone out: any program may
    /// send them again. Where others were marked with them, or one has its
    /// outcome, all stay marked: what the disk has of them is one file.
    ///
    /// # Errors
    /// As [`Outbox::sync`]; those that are marked no more are so all the same.
    pub fn unmark<'c>(&self, claims: impl IntoIterator<Item = &'c mut Claim>) -> Result<()> {
        let inner = &self.inner;
        let mut claims: Vec<&mut Claim> = claims.into_iter().collect();
        let _lock = inner.lock()?;
        let taken_back: Vec<_> = {
            let windows = inner.windows();
            let all_here = windows.iter().filter(|window| {
                let of_it =
                    |claim: &&&mut Claim| claim.window().is_some_and(|w| Arc::ptr_eq(w, window));
                window.is_all_of(claims.iter().filter(of_it).count())
            });
            all_here.cloned().collect()
        };
        if taken_back.is_empty() {
            return Ok(());
        }
        // First: what is in sight again, anybody may send.
        let removed = inner.remove_windows(&taken_back);
        let windows = inner.windows().clone();
        let mut returned = Vec::new();
        for claim in &mut claims {
            let is_left = |window| windows.iter().any(|other| Arc::ptr_eq(other, window));
            if claim.window().is_some_and(|window| !is_left(window)) {
                claim.leave_window();
                returned.push(claim.name().clone());
            }
        }
        inner.write_index_with(&returned)?;
        inner.sync_directory()?;
        removed
    }

    /// Brings index and directory up to date with all outcomes and makes both
    /// durable: once per window.
    ///
    /// # Errors
    /// `Busy`, `Disk`, `Hostile`, `NotDurable`, `Unlockable`: repeat it, nothing is lost.
    pub fn sync(&self) -> Result<()> {
        let inner = &self.inner;
        let _lock = inner.lock()?;
        let settled = inner.settled_windows();
        if !inner.known_index.is_fresh() {
            inner.write_index()?;
        }
        inner.sync_directory()?;
        // Only now: before, a power cut could have undone the outcomes.
        inner.remove_windows(&settled)
    }
}

impl Inner {
    fn windows(&self) -> std::sync::MutexGuard<'_, Vec<Arc<OpenWindow>>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the window of `claims`, hides their texts and takes them out of the index,
    /// all durable; or leaves everything as it was.
    fn mark(&self, claims: &mut [&mut Claim]) -> Result<Marking> {
        let marks: Vec<Mark> = claims.iter().map(|claim| claim.mark()).collect();
        let file = name::window(&name::unique());
        let path = self.disk.path(&file);
        let result = self.put_window(&path, &marks).and_then(|amended| {
            // A program with an old index cannot find the text any more.
            for claim in claims.iter_mut() {
                if let Some(why) = claim.hide_unread()? {
                    let over = why != Obstacle::Gone && claim.give_back()?;
                    let why = if over { Obstacle::Gone } else { why };
                    return Ok(Some(claim.unmarked(why)));
                }
            }
            match amended {
                Some(amended) => self.put_index(amended)?,
                None => self.write_index().map(|_| ())?,
            }
            self.sync_directory()?;
            Ok(None)
        });
        if let Ok(None) = result {
            return Ok(Marking::Marked(file));
        }
        for claim in claims {
            claim.show();
        }
        let _ = self.disk.remove(&path);
        let names: Vec<_> = marks.into_iter().map(|mark| mark.name).collect();
        let _ = self.write_index_with(&names);
        result.map(|hindered| Marking::Hindered(hindered.expect("`None` is returned above")))
    }

    /// Writes the window of `marks` to `path`, and the index without them where
    /// that can be told now: both durable at once.
    fn put_window(&self, path: &Path, marks: &[Mark]) -> Result<Option<AmendedIndex>> {
        let disk = &self.disk;
        let names: Vec<_> = marks.iter().map(|mark| &mark.name).collect();
        let not_durable = |error: std::io::Error| {
            OutboxError::disk(path, &error).with_kind(ErrorKind::NotDurable)
        };
        let amended = self.amended_index(&names, None)?;
        let window = disk.prepare(path, window::to_text(marks).as_bytes());
        let window = window.map_err(not_durable)?;
        let synced = match &amended {
            Some(amended) => disk.sync_both(&window, &amended.new),
            None => disk.sync(&window),
        };
        let put = synced.and_then(|()| disk.rename(&window.path, path));
        if put.is_err() {
            window.abandon();
        }
        put.map_err(not_durable)?;
        Ok(amended)
    }

    fn settled_windows(&self) -> Vec<Arc<OpenWindow>> {
        let windows = self.windows();
        let settled = windows.iter().filter(|window| window.is_settled());
        settled.cloned().collect()
    }

    fn remove_windows(&self, settled: &[Arc<OpenWindow>]) -> Result<()> {
        for window in settled {
            self.remove(&window.file)?;
            self.windows().retain(|other| !Arc::ptr_eq(other, window));
        }
        Ok(())
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
