//! Entries of the outbox that are being delivered: claimed, so that nobody else
//! sends them; marked, a window of them at once, before the end of the first one's
//! text goes out; settled, each as its own reply arrives.

mod outcomes;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use self::outcomes::{outcome, says_why_nothing_was_tried};
use super::mailbox::Report;
use super::queue::{QueuePlace, disk_failure, open};
use crate::net::signal::Signal;
use crate::net::threads;
use crate::outbox::{Claim, EntryName, Obstacle, Outbox, Outcome, Unmarked};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most entries marked at once: one write and some fsyncs for all of them, and
/// as many whose fate nobody knows after a crash.
const WINDOW: usize = 16;

/// Largest text up to which a second window is marked before its turn: those of
/// a window are on their way within seconds then, and a crash finds few that never were.
const MAX_SMALL_TEXT: usize = 256 * 1024;

/// The entries of one delivery; all of it on the courier's thread.
pub(super) struct Entries {
    outbox: Outbox,
    /// By the user's word: they go even if another program may be sending them.
    despite_readers: bool,
    /// Those without an outcome, in the order in which they go, with the number
    /// of their recipients.
    line: VecDeque<(EntryName, usize)>,
    held: HashMap<EntryName, Claim>,
    /// Those that are being claimed and marked.
    next: Option<Next>,
    /// Rung when they are.
    signal: Arc<Signal>,
    /// Whether the first ones were marked before anything of them could go out, and
    /// nothing has.
    is_ahead: bool,
    /// Whether the next ones are to be marked as soon as one of the last is on its way.
    next_is_due: bool,
    texts_are_small: bool,
    /// Whether outcomes were written since directory and index were last made durable.
    unsynced: bool,
}

/// A window that is being claimed and marked, on a thread of its own.
struct Next {
    names: HashSet<EntryName>,
    window: Receiver<Window>,
    work: JoinHandle<()>,
    /// Whether outcomes written before it was begun are not durable without it.
    unsynced: bool,
}

/// Claims that were to be marked together.
struct Window {
    claims: Vec<(EntryName, Claim)>,
    /// Those that are another program's, and are not marked; or why none is.
    unmarked: Result<Vec<Unmarked>, Failure>,
}

impl Window {
    fn mark(outbox: &Outbox, mut claims: Vec<(EntryName, Claim)>) -> Self {
        let unmarked = outbox
            .mark_sending(claims.iter_mut().map(|(_, claim)| claim))
            .map_err(disk_failure);
        Self { claims, unmarked }
    }
}

/// An entry that is the source of a message.
#[derive(Clone)]
pub(super) struct Entry {
    entries: Rc<RefCell<Entries>>,
    name: EntryName,
}

impl Entry {
    pub fn new(entries: &Rc<RefCell<Entries>>, name: &EntryName) -> Self {
        Self {
            entries: entries.clone(),
            name: name.clone(),
        }
    }

    /// Claim the entry, if it is not, and read the message.
    ///
    /// # Errors
    /// `Busy`: somebody else has it. `ReadElsewhere`: perhaps. `Disk`: it must not go, or
    /// the disk says no.
    pub fn text(&self) -> Result<Vec<u8>, Failure> {
        let mut entries = self.entries.borrow_mut();
        entries.claim(&self.name)?;
        let claim = &entries.held[&self.name];
        // Claimed with others a while ago, perhaps; a text that is begun costs the connection.
        if let Some(why) = claim.obstacle() {
            entries.held.remove(&self.name);
            return Err(hindrance(&self.name, why));
        }
        let text = claim.text().map_err(disk_failure)?;
        entries.texts_are_small &= text.len() <= MAX_SMALL_TEXT;
        Ok(text)
    }

    /// Write down that the end of the text goes out now: killed from here on,
    /// the entry's state is unknown.
    ///
    /// # Errors
    /// `Disk`: it must not go out; `Busy`, `ReadElsewhere`: for another program's sake.
    pub fn mark_sending(&self) -> Result<(), Failure> {
        self.entries.borrow_mut().mark_sending(&self.name)
    }

    /// Write down how it went; durable with [`Entries::sync`].
    ///
    /// # Errors
    /// `Disk`: the outcome is not on the disk.
    pub fn settle(&self, report: &Report) -> Result<(), Failure> {
        self.entries.borrow_mut().settle(&self.name, report)
    }
}

impl Entries {
    /// The entries of `place` that are to be delivered, each with the number of
    /// its recipients.
    ///
    /// # Errors
    /// `Disk`.
    pub fn new(
        place: &QueuePlace,
        line: VecDeque<(EntryName, usize)>,
        despite_readers: bool,
        signal: Arc<Signal>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            outbox: open(place)?,
            despite_readers,
            line,
            held: HashMap::new(),
            next: None,
            signal,
            is_ahead: false,
            next_is_due: false,
            texts_are_small: true,
            unsynced: false,
        })
    }

    /// Claim the entry, if it is not, and with it those behind it that go into
    /// its window.
    fn claim(&mut self, name: &EntryName) -> Result<(), Failure> {
        self.take_next_window(Some(name));
        if self.held.contains_key(name) {
            return Ok(());
        }
        let behind = self.line.iter().skip_while(|(other, _)| other != name);
        let free = behind.filter(|(other, _)| !self.held.contains_key(other));
        let window: Vec<_> = free.take(WINDOW).cloned().collect();
        let mut result = refuse(name, FailureKind::Disk, "it is not in line");
        for (other, claim) in claim_all(&self.outbox, window, self.despite_readers) {
            let claimed = claim.map(|claim| {
                self.held.insert(other.clone(), claim);
            });
            // Why another one cannot be had is told when its turn comes.
            if other == *name {
                result = claimed;
            }
        }
        result
    }

    fn mark_sending(&mut self, name: &EntryName) -> Result<(), Failure> {
        self.claim(name)?;
        self.is_ahead = false;
        if !self.held[name].is_marked() {
            let behind = self.line.iter().map(|(other, _)| other);
            let behind = behind.skip_while(|other| *other != name);
            let unmarked =
                |other: &&EntryName| self.held.get(*other).is_some_and(|h| !h.is_marked());
            let window: Vec<_> = behind.filter(unmarked).take(WINDOW).cloned().collect();
            let claims = window.into_iter().filter_map(|other| {
                let claim = self.held.remove(&other)?;
                Some((other, claim))
            });
            let window = Window::mark(&self.outbox, claims.collect());
            let unsynced = std::mem::take(&mut self.unsynced);
            let unmarked = self.take(window, unsynced)?;
            if let Some(other) = unmarked.iter().find(|other| other.name == *name) {
                return Err(hindrance(name, other.why));
            }
        }
        if std::mem::take(&mut self.next_is_due) {
            self.begin_next_window(name);
        }
        Ok(())
    }

    /// Claim and mark the first ones in line while the connection begins; not if there
    /// are so few that they are marked soon enough: a crash before anything went out
    /// would leave them unknown.
    pub fn mark_ahead(&mut self) {
        if self.line.len() <= WINDOW {
            return;
        }
        let begun = self.next.is_some() || self.held.values().any(Claim::is_marked);
        if !begun && let Some((first, _)) = self.line.front().cloned() {
            self.begin_next_window(&first);
            self.is_ahead = self.next.is_some();
        }
    }

    /// Whether entries are marked of which nothing could go out yet.
    pub fn is_ahead(&mut self) -> bool {
        self.take_finished_window();
        self.is_ahead && self.next.is_none()
    }

    /// Take those marks back: it may take long until something goes out, if ever.
    pub fn fall_back(&mut self) {
        if std::mem::take(&mut self.is_ahead) {
            self.take_next_window(None);
            // What cannot be taken back gets its outcome one by one.
            let _ = self.outbox.unmark(self.held.values_mut());
            self.next_is_due = false;
        }
    }

    /// Whether the entry waits for the disk: it is being marked.
    pub fn is_under_way(&mut self, name: &EntryName) -> bool {
        self.take_finished_window();
        self.next
            .as_ref()
            .is_some_and(|next| next.names.contains(name))
    }

    /// Whether the entry is marked, so that its text can be had at once.
    pub fn is_at_hand(&mut self, name: &EntryName) -> bool {
        self.take_finished_window();
        self.held.get(name).is_some_and(Claim::is_marked)
    }

    /// Take the window that was being marked, if it is not being so any more.
    fn take_finished_window(&mut self) {
        let finished = |next: &mut Next| match next.window.try_recv() {
            Ok(window) => Some(Ok(window)),
            Err(TryRecvError::Disconnected) => Some(Err(())),
            Err(TryRecvError::Empty) => None,
        };
        if let Some(window) = self.next.as_mut().and_then(finished)
            && let Some(next) = self.next.take()
        {
            self.take_next(next, window.ok());
        }
    }

    /// Claim and mark those behind `name` while its window goes out: the disk then
    /// has its time while the network has its own.
    fn begin_next_window(&mut self, name: &EntryName) {
        if self.next.is_some() || !self.texts_are_small {
            return;
        }
        let behind = self.line.iter().skip_while(|(other, _)| other != name);
        let unmarked =
            behind.filter(|(other, _)| self.held.get(other).is_none_or(|h| !h.is_marked()));
        let line: Vec<_> = unmarked.take(WINDOW).cloned().collect();
        if line.is_empty() {
            return;
        }
        let names = line.iter().map(|(name, _)| name.clone()).collect();
        let (mut claims, mut free) = (Vec::new(), Vec::new());
        for (name, count) in line {
            match self.held.remove(&name) {
                Some(claim) => claims.push((name, claim)),
                None => free.push((name, count)),
            }
        }
        let outbox = self.outbox.clone();
        let despite_readers = self.despite_readers;
        let signal = self.signal.clone();
        let (sender, window) = mpsc::channel();
        let work = move || {
            // Why one cannot be had is told when its turn comes.
            let claimed = claim_all(&outbox, free, despite_readers).into_iter();
            claims.extend(claimed.filter_map(|(name, claim)| Some((name, claim.ok()?))));
            // Nobody is there any more if the delivery was given up.
            let _ = sender.send(Window::mark(&outbox, claims));
            signal.ring();
        };
        // Where the system has no thread left, each has its turn as the first one had;
        // what was claimed already is claimed again.
        if let Ok(work) = threads::spawn("smtpmail-marks", work) {
            let unsynced = std::mem::take(&mut self.unsynced);
            self.next = Some(Next {
                names,
                window,
                work,
                unsynced,
            });
        }
    }

    /// Wait for the window that is being marked, if `name` is in it, or whatever
    /// is in it.
    fn take_next_window(&mut self, name: Option<&EntryName>) {
        let is_in = |next: &mut Next| name.is_none_or(|name| next.names.contains(name));
        if let Some(next) = self.next.take_if(is_in) {
            let window = next.window.recv().ok();
            self.take_next(next, window);
        }
    }

    /// Hold what is in `window`; there is none if its thread panicked.
    fn take_next(&mut self, next: Next, window: Option<Window>) {
        let joined = next.work.join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if let Some(window) = window {
            // Marked or not, the reason is told by the next attempt.
            let _ = self.take(window, next.unsynced);
        }
    }

    /// Hold what is in `window`; return what is another program's. `unsynced` tells
    /// whether outcomes were written before it was marked that were not durable then.
    ///
    /// # Errors
    /// `Disk`: none of it is marked.
    fn take(&mut self, window: Window, unsynced: bool) -> Result<Vec<Unmarked>, Failure> {
        let marked = window.unmarked.is_ok();
        let unmarked = window.unmarked.as_deref().unwrap_or_default();
        let durable = marked && unmarked.len() < window.claims.len();
        // Outcomes written before are durable by the same fsyncs.
        self.unsynced |= unsynced && !durable;
        for (name, mut claim) in window.claims {
            match unmarked.iter().find(|other| other.name == name) {
                None => {
                    self.held.insert(name, claim);
                }
                Some(other) if matches!(other.why, Obstacle::Gone) => {
                    // Nothing is left that could be written to; the window is told.
                    let _ = claim.settle(Outcome::Waiting);
                    self.unsynced = true;
                }
                // It lies there as it did.
                Some(_) => {}
            }
        }
        self.next_is_due |= marked;
        window.unmarked
    }

    fn settle(&mut self, name: &EntryName, report: &Report) -> Result<(), Failure> {
        self.take_next_window(Some(name));
        if says_why_nothing_was_tried(report) && !self.held.contains_key(name) {
            // Whoever has it then says for himself why it is still there.
            let _ = self.claim(name);
        }
        if let Some(position) = self.line.iter().position(|(other, _)| other == name) {
            self.line.remove(position);
        }
        // Never claimed: it lies there as it did.
        let Some(mut claim) = self.held.remove(name) else {
            return Ok(());
        };
        let outcome = outcome(&mut claim, report);
        if outcome == Outcome::Waiting && !claim.is_marked() {
            return Ok(());
        }
        claim.settle(outcome).map_err(disk_failure)?;
        // Made durable together with the next window, or at the end.
        self.unsynced = true;
        Ok(())
    }

    /// Make all outcomes durable.
    ///
    /// # Errors
    /// `Disk`: a power cut may bring messages back that were sent.
    pub fn sync(&mut self) -> Result<(), Failure> {
        self.take_next_window(None);
        if self.unsynced {
            self.outbox.sync().map_err(disk_failure)?;
            self.unsynced = false;
        }
        Ok(())
    }
}

/// Claim what of `window` is still what was to be delivered.
fn claim_all(
    outbox: &Outbox,
    window: Vec<(EntryName, usize)>,
    despite_readers: bool,
) -> Vec<(EntryName, Result<Claim, Failure>)> {
    let names: Vec<_> = window.iter().map(|(name, _)| name.clone()).collect();
    let claims = outbox.claim_all(&names);
    let claimed = window
        .into_iter()
        .zip(claims)
        .map(|((name, count), claim)| {
            let claim = claim.map_err(disk_failure);
            let checked = claim.and_then(|claim| check(&name, count, claim, despite_readers));
            (name, checked)
        });
    claimed.collect()
}

fn refuse<T>(name: &EntryName, kind: FailureKind, text: &str) -> Result<T, Failure> {
    let text = format!("{name}: {text}");
    Err(Failure::new(kind, Phase::Idle, text))
}

/// What another program means for the entry.
fn hindrance(name: &EntryName, why: Obstacle) -> Failure {
    match why {
        Obstacle::Gone => {
            let text = format!("{name}: another program has sent or removed it");
            Failure::new(FailureKind::Busy, Phase::Idle, text)
        }
        Obstacle::ReadElsewhere { ago } => {
            let text = format!(
                "another program read it {} ago and may be sending it",
                rounded(ago)
            );
            Failure::new(FailureKind::ReadElsewhere, Phase::Idle, text)
        }
    }
}

/// A time in words, in the largest unit of which there are two.
fn rounded(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// The claim, if the entry is still what was to be delivered to `count` recipients.
fn check(
    name: &EntryName,
    count: usize,
    claim: Option<Claim>,
    despite_readers: bool,
) -> Result<Claim, Failure> {
    match claim {
        None => refuse(
            name,
            FailureKind::Busy,
            "somebody else is sending it, or it is gone",
        ),
        Some(claim) if !claim.state().is_sendable(SystemTime::now()) => {
            refuse(name, FailureKind::Busy, "it is not to be sent now")
        }
        Some(claim) if claim.recipients().len() != count => refuse(
            name,
            FailureKind::Disk,
            "its recipients have changed meanwhile",
        ),
        Some(mut claim) => {
            if despite_readers {
                claim.ignore_readers();
            }
            match claim.obstacle() {
                None => Ok(claim),
                Some(why) => Err(hindrance(name, why)),
            }
        }
    }
}

/// Whether the entry can be had at this moment, for somebody who sends it himself.
///
/// # Errors
/// `Busy`, `ReadElsewhere`, `Disk`.
pub(super) fn check_free(outbox: &Outbox, name: &EntryName) -> Result<(), Failure> {
    let claim = outbox.claim(name).map_err(disk_failure)?;
    let count = claim.as_ref().map_or(0, |claim| claim.recipients().len());
    check(name, count, claim, false).map(|_| ())
}
