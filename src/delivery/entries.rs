//! Entries of the outbox that are being delivered: claimed, so that nobody else
//! sends them; marked, a window of them at once, before the end of the first one's
//! text goes out; settled, each as its own reply arrives.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::mailbox::{Report, Verdict};
use super::queue::{QueuePlace, disk_failure, open};
use crate::net::threads;
use crate::outbox::{Claim, EntryName, Outbox, Outcome, RefusedRecipient};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most entries marked at once: one write and some fsyncs for all of them, and
/// as many whose fate nobody knows after a crash.
const WINDOW: usize = 16;

/// Largest text up to which a second window is marked before its turn: those of
/// a window are on their way within seconds then, and a crash finds few that never were.
const MAX_SMALL_TEXT: usize = 256 * 1024;

/// First pause of an entry that was refused for now; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Longest pause: RFC 5321 §4.5.4.1 wants tries for days, some hours apart.
const MAX_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// The entries of one delivery; all of it on the courier's thread.
pub(super) struct Entries {
    outbox: Outbox,
    /// Those without an outcome, in the order in which they go, with the number
    /// of their recipients.
    line: VecDeque<(EntryName, usize)>,
    held: HashMap<EntryName, Held>,
    /// Those that are being claimed and marked.
    next: Option<Next>,
    /// Whether the next ones are to be marked as soon as one of the last is on its way.
    next_is_due: bool,
    texts_are_small: bool,
    /// Whether outcomes were written since directory and index were last made durable.
    unsynced: bool,
}

struct Held {
    claim: Claim,
    marked: bool,
}

/// A window that is being claimed and marked, on a thread of its own.
struct Next {
    names: HashSet<EntryName>,
    work: JoinHandle<Window>,
    /// Whether outcomes written before it was begun are not durable without it.
    unsynced: bool,
}

/// Claims that were to be marked together.
struct Window {
    claims: Vec<(EntryName, Claim)>,
    /// The names of those that another program removed meanwhile; or why none is marked.
    vanished: Result<Vec<EntryName>, Failure>,
}

impl Window {
    fn mark(outbox: &Outbox, mut claims: Vec<(EntryName, Claim)>) -> Self {
        let vanished = outbox
            .mark_sending(claims.iter_mut().map(|(_, claim)| claim))
            .map_err(disk_failure);
        Self { claims, vanished }
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
    /// `Busy`: somebody else has it. `Disk`: it must not go, or the disk says no.
    pub fn text(&self) -> Result<Vec<u8>, Failure> {
        let mut entries = self.entries.borrow_mut();
        entries.claim(&self.name)?;
        let text = entries.held[&self.name].claim.text();
        let text = text.map_err(disk_failure)?;
        entries.texts_are_small &= text.len() <= MAX_SMALL_TEXT;
        Ok(text)
    }

    /// Write down that the end of the text goes out now: killed from here on,
    /// the entry's state is unknown.
    ///
    /// # Errors
    /// `Disk`: it must not go out.
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
    pub fn new(place: &QueuePlace, line: VecDeque<(EntryName, usize)>) -> Result<Self, Failure> {
        Ok(Self {
            outbox: open(place)?,
            line,
            held: HashMap::new(),
            next: None,
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
        for (other, claim) in claim_all(&self.outbox, window) {
            let claimed = claim.map(|claim| {
                let marked = false;
                self.held.insert(other.clone(), Held { claim, marked });
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
        if !self.held[name].marked {
            let behind = self.line.iter().map(|(other, _)| other);
            let behind = behind.skip_while(|other| *other != name);
            let unmarked = |other: &&EntryName| self.held.get(*other).is_some_and(|h| !h.marked);
            let window: Vec<_> = behind.filter(unmarked).take(WINDOW).cloned().collect();
            let claims = window.into_iter().filter_map(|other| {
                let held = self.held.remove(&other)?;
                Some((other, held.claim))
            });
            let window = Window::mark(&self.outbox, claims.collect());
            let unsynced = std::mem::take(&mut self.unsynced);
            self.take(window, unsynced)?;
        }
        if std::mem::take(&mut self.next_is_due) {
            self.begin_next_window(name);
        }
        match self.held.contains_key(name) {
            true => Ok(()),
            false => refuse(name, FailureKind::Disk, "another program has removed it"),
        }
    }

    /// Claim and mark those behind `name` while its window goes out: the disk then
    /// has its time while the network has its own.
    fn begin_next_window(&mut self, name: &EntryName) {
        if self.next.is_some() || !self.texts_are_small {
            return;
        }
        let behind = self.line.iter().skip_while(|(other, _)| other != name);
        let unmarked = behind.filter(|(other, _)| self.held.get(other).is_none_or(|h| !h.marked));
        let line: Vec<_> = unmarked.take(WINDOW).cloned().collect();
        if line.is_empty() {
            return;
        }
        let names = line.iter().map(|(name, _)| name.clone()).collect();
        let (mut claims, mut free) = (Vec::new(), Vec::new());
        for (name, count) in line {
            match self.held.remove(&name) {
                Some(held) => claims.push((name, held.claim)),
                None => free.push((name, count)),
            }
        }
        let outbox = self.outbox.clone();
        let work = move || {
            // Why one cannot be had is told when its turn comes.
            let claimed = claim_all(&outbox, free).into_iter();
            claims.extend(claimed.filter_map(|(name, claim)| Some((name, claim.ok()?))));
            Window::mark(&outbox, claims)
        };
        // Where the system has no thread left, each has its turn as the first one had;
        // what was claimed already is claimed again.
        if let Ok(work) = threads::spawn("smtpmail-marks", work) {
            let unsynced = std::mem::take(&mut self.unsynced);
            self.next = Some(Next {
                names,
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
            let window = next.work.join();
            let window = window.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Marked or not, the reason is told by the next attempt.
            let _ = self.take(window, next.unsynced);
        }
    }

    /// Hold what is in `window`; `unsynced` tells whether outcomes were written
    /// before it was marked that were not durable then.
    ///
    /// # Errors
    /// `Disk`: none of it is marked.
    fn take(&mut self, window: Window, unsynced: bool) -> Result<(), Failure> {
        let marked = window.vanished.is_ok();
        let vanished = window.vanished.as_deref().unwrap_or_default();
        let durable = marked && vanished.len() < window.claims.len();
        // Outcomes written before are durable by the same fsyncs.
        self.unsynced |= unsynced && !durable;
        for (name, mut claim) in window.claims {
            match vanished.contains(&name) {
                false => {
                    self.held.insert(name, Held { claim, marked });
                }
                true => {
                    // Nothing is left that could be written to; the window is told.
                    let _ = claim.settle(Outcome::Waiting);
                    self.unsynced = true;
                }
            }
        }
        self.next_is_due |= marked;
        window.vanished.map(|_| ())
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
        let Some(mut held) = self.held.remove(name) else {
            return Ok(());
        };
        let outcome = outcome(&mut held.claim, report);
        if outcome == Outcome::Waiting && !held.marked {
            return Ok(());
        }
        held.claim.settle(outcome).map_err(disk_failure)?;
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
) -> Vec<(EntryName, Result<Claim, Failure>)> {
    let names: Vec<_> = window.iter().map(|(name, _)| name.clone()).collect();
    let claims = outbox.claim_all(&names);
    let claimed = window
        .into_iter()
        .zip(claims)
        .map(|((name, count), claim)| {
            let claim = claim.map_err(disk_failure);
            let checked = claim.and_then(|claim| check(&name, count, claim));
            (name, checked)
        });
    claimed.collect()
}

fn refuse<T>(name: &EntryName, kind: FailureKind, text: &str) -> Result<T, Failure> {
    let text = format!("{name}: {text}");
    Err(Failure::new(kind, Phase::Idle, text))
}

/// The claim, if the entry is still what was to be delivered to `count` recipients.
fn check(name: &EntryName, count: usize, claim: Option<Claim>) -> Result<Claim, Failure> {
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
        Some(claim) => Ok(claim),
    }
}

/// Whether the report of a message that was not tried has a reason worth
/// keeping, such as a server that cannot be reached.
fn says_why_nothing_was_tried(report: &Report) -> bool {
    match &report.verdict {
        Verdict::Failed(failure) => !matches!(
            failure.kind,
            FailureKind::Busy | FailureKind::Cancelled | FailureKind::Content | FailureKind::Disk
        ),
        Verdict::Accepted(_) | Verdict::Unknown(_) => false,
    }
}

/// Whether a refusal is of the message: before MAIL it is of us, or of everybody.
fn is_of_the_message(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Content => true,
        FailureKind::Refused => failure.phase >= Phase::Mail,
        _ => false,
    }
}

/// What a report means for the entry; who has got the message waits no more.
fn outcome(claim: &mut Claim, report: &Report) -> Outcome {
    match &report.verdict {
        Verdict::Accepted(_) | Verdict::Failed(_)
            if report.recipients.iter().any(|r| r.accepted) =>
        {
            let mut waiting = Vec::new();
            let mut refused = Vec::new();
            let mut last = String::new();
            for (recipient, queued) in report.recipients.iter().zip(claim.recipients()) {
                match &recipient.failure {
                    _ if recipient.accepted => {}
                    Some(failure) if !failure.is_transient() => refused.push(RefusedRecipient {
                        recipient: queued.clone(),
                        reply: failure.text.clone(),
                    }),
                    why => {
                        last = why.as_ref().map_or(last, |failure| failure.text.clone());
                        waiting.push(queued.clone());
                    }
                }
            }
            if waiting.is_empty() {
                return Outcome::Accepted;
            }
            claim.keep_recipients(waiting, refused);
            deferred(claim, last)
        }
        Verdict::Accepted(_) => Outcome::Accepted,
        Verdict::Unknown(failure) => Outcome::Unknown {
            reply: failure.text.clone(),
        },
        Verdict::Failed(failure) if failure.kind == FailureKind::Cancelled => Outcome::Waiting,
        Verdict::Failed(failure) if is_of_the_message(failure) => Outcome::Refused {
            reply: failure.to_string(),
        },
        Verdict::Failed(failure) => deferred(claim, failure.to_string()),
    }
}

fn deferred(claim: &Claim, reply: String) -> Outcome {
    let attempts = claim.facts().map_or(0, |facts| facts.attempts).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << attempts).min(MAX_PAUSE);
    Outcome::Deferred {
        reply,
        next_try: SystemTime::now() + pause,
    }
}
