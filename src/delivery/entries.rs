//! Entries of the outbox that are being delivered: claimed, so that nobody else
//! sends them; marked, a window of them at once, before the end of the first one's
//! text goes out; settled, each as its own reply arrives.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::mailbox::{Report, Verdict};
use super::queue::{QueuePlace, disk_failure, open};
use crate::outbox::{Claim, EntryName, Obstacle, Outbox, Outcome, RefusedRecipient};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most entries marked at once: one write and some fsyncs for all of them, and
/// as many whose fate nobody knows after a crash.
const WINDOW: usize = 16;

/// First pause of an entry that was refused for now; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Longest pause: RFC 5321 §4.5.4.1 wants tries for days, some hours apart.
const MAX_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// The entries of one delivery; all of it on the courier's thread.
pub(super) struct Entries {
    outbox: Outbox,
    /// By the user's word: they go even if another program may be sending them.
    despite_readers: bool,
    /// Those without an outcome, in the order in which they go, with the number
    /// of their recipients.
    line: VecDeque<(EntryName, usize)>,
    held: HashMap<EntryName, Held>,
    /// Whether outcomes were written since directory and index were last made durable.
    unsynced: bool,
}

struct Held {
    claim: Claim,
    marked: bool,
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
        let claim = &entries.held[&self.name].claim;
        // Claimed with others a while ago, perhaps; a text that is begun costs the connection.
        if let Some(why) = claim.obstacle() {
            entries.held.remove(&self.name);
            return Err(hindrance(&self.name, why));
        }
        claim.text().map_err(disk_failure)
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
    ) -> Result<Self, Failure> {
        Ok(Self {
            outbox: open(place)?,
            despite_readers,
            line,
            held: HashMap::new(),
            unsynced: false,
        })
    }

    /// Claim the entry, if it is not, and with it those behind it that go into
    /// its window.
    fn claim(&mut self, name: &EntryName) -> Result<(), Failure> {
        if self.held.contains_key(name) {
            return Ok(());
        }
        let behind = self.line.iter().skip_while(|(other, _)| other != name);
        let free = behind.filter(|(other, _)| !self.held.contains_key(other));
        let window: Vec<_> = free.take(WINDOW).cloned().collect();
        let names: Vec<_> = window.iter().map(|(name, _)| name.clone()).collect();
        let mut result = refuse(name, FailureKind::Disk, "it is not in line");
        for ((other, count), claim) in window.into_iter().zip(self.outbox.claim_all(&names)) {
            let checked = claim
                .map_err(disk_failure)
                .and_then(|c| check(&other, count, c, self.despite_readers));
            let claimed = checked.map(|claim| {
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
        match self.held.get(name) {
            Some(held) if held.marked => return Ok(()),
            Some(_) => {}
            None => self.claim(name)?,
        }
        let behind = self.line.iter().map(|(other, _)| other);
        let behind = behind.skip_while(|other| *other != name);
        let unmarked = |other: &&EntryName| self.held.get(other).is_some_and(|held| !held.marked);
        let window: HashSet<EntryName> = behind.filter(unmarked).take(WINDOW).cloned().collect();
        let mut held: Vec<&mut Held> = self
            .held
            .iter_mut()
            .filter_map(|(other, held)| window.contains(other).then_some(held))
            .collect();
        let unmarked = self
            .outbox
            .mark_sending(held.iter_mut().map(|held| &mut held.claim))
            .map_err(disk_failure)?;
        for held in held {
            held.marked = true;
        }
        // Outcomes written before are durable by the same fsyncs.
        self.unsynced = false;
        let mut result = Ok(());
        for other in unmarked {
            let held = self.held.remove(&other.name);
            if let (Some(mut held), Obstacle::Gone) = (held, other.why) {
                // Nothing is left that could be written to; the window is told.
                let _ = held.claim.settle(Outcome::Waiting);
                self.unsynced = true;
            }
            if other.name == *name {
                result = Err(hindrance(name, other.why));
            }
        }
        result
    }

    fn settle(&mut self, name: &EntryName, report: &Report) -> Result<(), Failure> {
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
        if self.unsynced {
            self.outbox.sync().map_err(disk_failure)?;
            self.unsynced = false;
        }
        Ok(())
    }
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

/// Whether the report of a message that was not tried has a reason worth
/// keeping, such as a server that cannot be reached.
fn says_why_nothing_was_tried(report: &Report) -> bool {
    match &report.verdict {
        Verdict::Failed(failure) => !matches!(
            failure.kind,
            FailureKind::Busy
                | FailureKind::Cancelled
                | FailureKind::Content
                | FailureKind::Disk
                | FailureKind::ReadElsewhere
        ),
        Verdict::Accepted(_) | Verdict::Unknown(_) => false,
    }
}

/// Whether nothing is to be written down that was not there before.
fn leaves_it_alone(failure: &Failure) -> bool {
    use FailureKind::{Busy, Cancelled, ReadElsewhere};
    matches!(failure.kind, Busy | Cancelled | ReadElsewhere)
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
        Verdict::Failed(failure) if leaves_it_alone(failure) => Outcome::Waiting,
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
