//! One entry in one hand: locked as long as the claim lives.
//!
//! The lock is on the inode of the text itself, which no state change
//! replaces: renaming keeps it, removing the entry ends it, and nothing of it
//! is left behind. A lock is therefore good only while its file is still the
//! entry's text, which is checked after taking it and before each change.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::disk::read_bounded;
use super::entry::{EntryName, Facts, RefusedRecipient, State, StoredVariables};
use super::error::{ErrorKind, OutboxError, Result};
use super::lock::{Attempt, FileLock};
use super::metadata::{Metadata, Microseconds, Record};
use super::name::{self, FileKind};
use super::readers;
use super::scan::MAX_TEXT_BYTES;
use super::store::{Inner, Outbox};
use super::window::{self, Mark, OpenWindow};

/// A text may change its name between look and lock, but not for ever.
const MAX_LOCK_TRIES: usize = 5;

/// How an attempt, or the user's word, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it: the files go.
    Accepted,
    /// 4xx, or no way to the server: try again at a time.
    Deferred {
        /// The reply or failure.
        reply: String,
        /// When.
        next_try: SystemTime,
    },
    /// The user does not want it any more: the files go.
    Dropped,
    /// Until the user releases it.
    Held,
    /// 5xx: the user edits or drops it.
    Refused {
        /// The reply.
        reply: String,
    },
    /// Until a time.
    Scheduled {
        /// When any program may send it.
        until: SystemTime,
    },
    /// Its final dot went out, and no answer came.
    Unknown {
        /// What happened.
        reply: String,
    },
    /// Anybody may send it: released by the user, or its final dot certainly never went out.
    Waiting,
}

/// Why an entry must not be sent although it is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another program has removed it.
    Gone,
    /// Another program, which knows no locks, read it and may be sending it.
    ReadElsewhere {
        /// How long ago it was last seen to be read.
        ago: Duration,
    },
}

/// An entry that was to be marked and is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmarked {
    /// Which one.
    pub name: EntryName,
    /// Why.
    pub why: Obstacle,
}

/// The right to send or change an entry.
pub struct Claim {
    outbox: Arc<Inner>,
    name: EntryName,
    lock: FileLock,
    /// Where the text was last seen.
    is_hidden: bool,
    metadata: Metadata,
    state: State,
    window: Option<Arc<OpenWindow>>,
    is_settled: bool,
    ignores_readers: bool,
}

impl Claim {
    pub(super) fn take_all(outbox: &Outbox, names: &[EntryName]) -> Vec<Result<Option<Self>>> {
        let inner = &outbox.inner;
        let locked = names.iter().map(|name| Self::lock(inner, name));
        let mut claims: Vec<Result<Option<Self>>> = locked.collect();
        // Whoever marks one hides it before its end goes out: who died between
        // the two has sent nothing.
        if claims
            .iter()
            .any(|claim| matches!(claim, Ok(Some(found)) if found.is_hidden))
        {
            // We have the locks, so whoever marked one of them is dead.
            let marks = marks(inner);
            for claim in &mut claims {
                if let Ok(Some(found)) = claim {
                    match &marks {
                        Ok(marks) if marks.contains(&found.mark()) => found.state = State::Unknown,
                        Ok(_) => {}
                        Err(error) => *claim = Err(error.clone()),
                    }
                }
            }
        }
        claims
    }

    /// Locks the text and reads the metadata; nothing is known yet of marks.
    fn lock(inner: &Arc<Inner>, name: &EntryName) -> Result<Option<Self>> {
        let Some((lock, is_hidden)) = lock_text(inner, name)? else {
            return Ok(None);
        };
        let file = name::metadata_file(name);
        let path = inner.disk.path(&file);
        let text = if is_hidden {
            name::hidden_text(name)
        } else {
            name.to_string()
        };
        readers::arm(&inner.disk.path(&text));
        readers::arm(&path);
        let metadata = match inner.cache.read(&file, &path) {
            Some(Ok(metadata)) => metadata.as_ref().clone(),
            Some(Err((kind, detail))) => {
                let text = format!("{kind} {detail}");
                return Err(OutboxError::new(ErrorKind::Damaged, &path, text.trim_end()));
            }
            None => return Ok(None),
        };
        Ok(Some(Self {
            outbox: Arc::clone(inner),
            name: name.clone(),
            lock,
            is_hidden,
            state: metadata.state(),
            metadata,
            window: None,
            is_settled: false,
            ignores_readers: false,
        }))
    }

    /// The entry's name.
    pub fn name(&self) -> &EntryName {
        &self.name
    }

    /// Its state when it was claimed; send nothing that is not [sendable](State::is_sendable).
    pub fn state(&self) -> State {
        self.state
    }

    /// Those who still wait for it.
    pub fn recipients(&self) -> &[String] {
        &self.metadata.recipients
    }

    /// As stored by us or by the built-in.
    pub fn stored_variables(&self) -> &StoredVariables {
        &self.metadata.variables
    }

    /// What we know about it; `None` for entries of other programs.
    pub fn facts(&self) -> Option<&Facts> {
        self.metadata.record.as_ref().map(|record| &record.facts)
    }

    /// The message as it lies on the disk, LF line ends.
    ///
    /// # Errors
    /// `Disk`; `Hostile` when it is too large.
    pub fn text(&self) -> Result<Vec<u8>> {
        let path = self.outbox.disk.path(self.name.as_str());
        let mut file = self.lock.file();
        io::Seek::seek(&mut file, io::SeekFrom::Start(0))
            .map_err(|error| OutboxError::disk(&path, &error))?;
        read_bounded(&path, file, MAX_TEXT_BYTES)
    }

    /// Why the entry must not be sent, as far as can be told now; asked again for each entry
    /// that is [marked](Outbox::mark_sending).
    pub fn obstacle(&self) -> Option<Obstacle> {
        if !self.is_there() {
            return Some(Obstacle::Gone);
        }
        let ago = self.read_elsewhere()?;
        (!self.ignores_readers).then_some(Obstacle::ReadElsewhere { ago })
    }

    /// By the user's word the entry may be sent even if another program may be sending it.
    pub fn ignore_readers(&mut self) {
        self.ignores_readers = true;
    }

    fn read_elsewhere(&self) -> Option<Duration> {
        readers::another_program(self.lock.file(), &self.metadata_path())
    }

    /// After partial acceptance: who still waits, and who was refused for
    /// good. Written together with the next outcome.
    pub fn keep_recipients(&mut self, waiting: Vec<String>, refused: Vec<RefusedRecipient>) {
        self.metadata.recipients = waiting;
        self.record().facts.refused_recipients.extend(refused);
    }

    /// Writes the outcome. Durable for good with the next [`Outbox::sync`];
    /// a power cut before leaves a marked entry unknown. False when another
    /// program removed the entry meanwhile. After an error the outcome may be
    /// given again.
    ///
    /// # Errors
    /// `Disk`, `NotDurable`; `Misuse` after an outcome, or without recipients left.
    pub fn settle(&mut self, outcome: Outcome) -> Result<bool> {
        if self.is_settled {
            return Err(self.misuse("the claim has its outcome"));
        }
        let text_path = self.text_path();
        let is_there = text_path.is_some();
        match outcome {
            Outcome::Accepted | Outcome::Dropped => self.remove(text_path)?,
            // Writing metadata again would bring half an entry back.
            _ if !is_there => {}
            _ if self.metadata.recipients.is_empty() => {
                return Err(self.misuse("nobody waits for this message"));
            }
            Outcome::Deferred { reply, next_try } => {
                self.write(State::Deferred { next_try }, Some(reply))?;
            }
            Outcome::Held => self.write(State::Held, None)?,
            Outcome::Refused { reply } => self.write(State::Refused, Some(reply))?,
            Outcome::Scheduled { until } => self.write(State::Scheduled { until }, None)?,
            Outcome::Unknown { reply } => self.write(State::Unknown, Some(reply))?,
            Outcome::Waiting => self.write(State::Waiting, None)?,
        }
        self.is_settled = true;
        if let Some(window) = &self.window {
            window.settle_one();
        }
        Ok(is_there)
    }

    fn misuse(&self, text: &str) -> OutboxError {
        OutboxError::new(
            ErrorKind::Misuse,
            &self.outbox.disk.path(self.name.as_str()),
            text,
        )
    }

    fn metadata_path(&self) -> PathBuf {
        self.outbox.disk.path(&name::metadata_file(&self.name))
    }

    fn plain_path(&self) -> PathBuf {
        self.outbox.disk.path(self.name.as_str())
    }

    fn hidden_path(&self) -> PathBuf {
        self.outbox.disk.path(&name::hidden_text(&self.name))
    }

    /// The name under which the locked text lies now.
    fn text_path(&self) -> Option<PathBuf> {
        let mut paths = [self.plain_path(), self.hidden_path()];
        if self.is_hidden {
            paths.reverse();
        }
        paths.into_iter().find(|path| self.lock.is_at(path))
    }

    /// Whether the entry is still there, as far as other programs let it.
    pub(super) fn is_there(&self) -> bool {
        self.text_path().is_some()
    }

    pub(super) fn check_markable(&self, outbox: &Arc<Inner>) -> Result<()> {
        if !Arc::ptr_eq(outbox, &self.outbox) {
            return Err(self.misuse("a claim of another outbox"));
        }
        if self.is_settled || self.window.is_some() {
            return Err(self.misuse("the claim was marked before"));
        }
        if !self.state.is_sendable(SystemTime::now()) {
            return Err(self.misuse("the entry may not be sent"));
        }
        Ok(())
    }

    pub(super) fn unmarked(&self, why: Obstacle) -> Unmarked {
        Unmarked {
            name: self.name.clone(),
            why,
        }
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            name: self.name.clone(),
            revision: self.metadata.revision(),
        }
    }

    /// Whether it is [marked](Outbox::mark_sending) as being sent.
    pub fn is_marked(&self) -> bool {
        self.window.is_some()
    }

    pub(super) fn window(&self) -> Option<&Arc<OpenWindow>> {
        self.window.as_ref()
    }

    pub(super) fn enter(&mut self, window: Arc<OpenWindow>) {
        self.window = Some(window);
    }

    /// Its mark is off the disk.
    pub(super) fn leave_window(&mut self) {
        self.window = None;
        self.show();
    }

    /// Takes the text out of other programs' sight; not an error if it is gone.
    pub(super) fn hide(&mut self) -> Result<()> {
        let path = self.plain_path();
        if !self.lock.is_at(&path) {
            return Ok(());
        }
        match self.outbox.disk.rename(&path, &self.hidden_path()) {
            Ok(()) => self.is_hidden = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OutboxError::disk(&path, &error)),
        }
        Ok(())
    }

    /// Takes the text out of sight, unless another program had it in its hands before.
    pub(super) fn hide_unread(&mut self) -> Result<Option<Obstacle>> {
        if let Some(why) = self.obstacle() {
            return Ok(Some(why));
        }
        self.hide()?;
        // From here on nobody else opens it; who opened it before is seen now.
        Ok(self.obstacle())
    }

    /// Puts the text back for the program that has the entry in its hands, which removes
    /// both files when it has sent it. True if it has done so: then the text goes.
    pub(super) fn give_back(&mut self) -> Result<bool> {
        self.show();
        let is_over = fs::symlink_metadata(self.metadata_path()).is_err();
        if is_over && let Some(path) = self.text_path() {
            let removed = self.outbox.disk.remove(&path);
            removed.map_err(|error| OutboxError::disk(&path, &error))?;
        }
        Ok(is_over)
    }

    /// Puts the text back into sight; what does not work now, the next repair does.
    pub(super) fn show(&mut self) {
        let path = self.hidden_path();
        if self.lock.is_at(&path) {
            let disk = &self.outbox.disk;
            let shown = disk.rename_to_free_name(&path, &self.plain_path());
            self.is_hidden = shown.is_err();
        }
    }

    /// The record, begun for entries of other programs.
    fn record(&mut self) -> &mut Record {
        let queued = self
            .lock
            .file()
            .metadata()
            .and_then(|attributes| attributes.modified());
        self.metadata.record.get_or_insert_with(|| Record {
            revision: 0,
            queued: Microseconds::of(queued.unwrap_or(SystemTime::UNIX_EPOCH)),
            state: State::Waiting,
            facts: Facts::default(),
        })
    }

    /// Metadata first: it is what counts if we die before the text follows.
    fn write(&mut self, state: State, reply: Option<String>) -> Result<()> {
        let revision = self.metadata.revision() + 1;
        let mut metadata = self.metadata.clone();
        {
            let record = self.record();
            let mut record = record.clone();
            record.revision = revision;
            record.state = state;
            if let Some(reply) = reply {
                record.facts.attempts = record.facts.attempts.saturating_add(1);
                record.facts.last_reply = Some(reply);
            }
            metadata.record = Some(record);
        }
        let source = metadata.to_source().map_err(|text| self.misuse(&text))?;
        let disk = &self.outbox.disk;
        let file = name::metadata_file(&self.name);
        let path = disk.path(&file);
        let was_read = self.read_elsewhere().is_some();
        self.outbox.cache.forget(&file);
        self.outbox.known_index.forget();
        disk.replace(&path, source.as_bytes())
            .map_err(|error| OutboxError::disk(&path, &error))?;
        if was_read {
            // The new file must not look as if nobody had read the old one.
            readers::note_read(&path);
        }
        self.metadata = metadata;
        self.state = state;
        if !state.is_sendable(SystemTime::now()) {
            return self.hide();
        }
        self.show();
        Ok(())
    }

    /// The rename to `.done` decides; who dies after it has his work finished by the next repair.
    fn remove(&mut self, text_path: Option<PathBuf>) -> Result<()> {
        let outbox = &self.outbox;
        let done = outbox.disk.path(&name::done(&self.name));
        if self.window.is_none() {
            // Its line is in the index, perhaps.
            outbox.known_index.forget();
        }
        if let Some(path) = text_path {
            outbox
                .disk
                .rename(&path, &done)
                .map_err(|error| OutboxError::disk(&path, &error))?;
        }
        outbox.remove(&name::metadata_file(&self.name))?;
        outbox.remove(&name::done(&self.name))?;
        Ok(())
    }

    /// Repair: a mark of a dead process becomes the state it means.
    pub(super) fn settle_left_behind(&mut self) -> Result<()> {
        self.write(
            State::Unknown,
            Some("interrupted while its delivery was under way".to_owned()),
        )
    }

    /// Repair: moves the text to where its state says it belongs; true if it was elsewhere.
    pub(super) fn place_text(&mut self) -> Result<bool> {
        let is_visible = self.lock.is_at(&self.plain_path());
        let should_be = self.state.is_sendable(SystemTime::now());
        match (is_visible, should_be) {
            (true, false) => self.hide()?,
            (false, true) => self.show(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Locks the text wherever it lies; whether that is hidden.
fn lock_text(inner: &Inner, name: &EntryName) -> Result<Option<(FileLock, bool)>> {
    let paths = [
        (inner.disk.path(name.as_str()), false),
        (inner.disk.path(&name::hidden_text(name)), true),
    ];
    for _ in 0..MAX_LOCK_TRIES {
        for (path, is_hidden) in &paths {
            match FileLock::try_lock(path)? {
                Attempt::Taken(lock) => return Ok(Some((lock, *is_hidden))),
                Attempt::Busy => return Ok(None),
                Attempt::Gone => {}
            }
        }
        let mut paths = paths.iter();
        if paths.all(|(path, _)| fs::symlink_metadata(path).is_err()) {
            break;
        }
    }
    Ok(None)
}

/// All marks of all windows.
fn marks(inner: &Inner) -> Result<HashSet<Mark>> {
    let directory = inner.disk.directory();
    let failed = |error: &io::Error| OutboxError::disk(directory, error);
    let mut marks = HashSet::new();
    for file in fs::read_dir(directory).map_err(|error| failed(&error))? {
        let file = file.map_err(|error| failed(&error))?.file_name();
        if let Some(file) = file.to_str()
            && FileKind::of(file) == FileKind::Window
        {
            marks.extend(window::read(&inner.disk.path(file))?);
        }
    }
    Ok(marks)
}
