//! What Lisp asks of the outbox, each on a thread of its own: the disk and its
//! locks may take their time. And an entry of the outbox as the source of a
//! message that is being delivered.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::mailbox::{Event, Mailbox, Report, Verdict};
use super::request::Text;
use super::{Bell, Delivery};
use crate::net::threads;
use crate::outbox::{
    Claim, EntryName, Facts, Listing, NewEntry, Outbox, OutboxError, Outcome, RefusedRecipient,
    State, StoredVariables, Text as EntryText,
};
use crate::smtp::content::survey;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// First pause of an entry that was refused for now; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Longest pause: RFC 5321 §4.5.4.1 wants tries for days, some hours apart.
const MAX_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// A queue directory and the name of its index.
#[derive(Clone, Debug)]
pub struct QueuePlace {
    /// Absolute and expanded.
    pub directory: PathBuf,
    /// Relative to the directory.
    pub index: String,
}

/// A message for the outbox.
#[derive(Debug)]
pub struct QueueRequest {
    /// Where to.
    pub place: QueuePlace,
    /// The envelope's recipients, at least one.
    pub recipients: Vec<String>,
    /// What `smtpmail-store-queue-variables` stores.
    pub stored_variables: StoredVariables,
    /// Sender, subject and the like; what the text itself tells is added.
    pub facts: Facts,
    /// The message.
    pub text: Text,
}

/// What is asked of the outbox.
#[derive(Debug)]
pub enum Job {
    /// Put a message in; ends with [`Event::Queued`].
    Add(Box<QueueRequest>),
    /// Give an entry an outcome by the user's word; ends with [`Event::Changed`].
    Change(QueuePlace, EntryName, Outcome),
    /// List everything; ends with [`Event::Listed`].
    List(QueuePlace),
}

impl Delivery {
    /// Start `job`. A failure of it ends with [`Event::Finished`].
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn outbox(job: Job, bell: Bell) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new(bell)?);
        let inside = mailbox.clone();
        threads::spawn("smtpmail-outbox", move || {
            let event =
                perform(job, &inside).unwrap_or_else(|failure| Event::Finished(failure.into()));
            inside.post(event);
        })?;
        Ok(Self { mailbox })
    }
}

fn perform(job: Job, mailbox: &Mailbox) -> Result<Event, Failure> {
    match job {
        Job::Add(request) => add(*request, mailbox),
        Job::Change(place, name, outcome) => {
            let changed = open(&place)?.change(&name, outcome).map_err(disk_failure)?;
            Ok(Event::Changed(changed))
        }
        Job::List(place) => {
            let listing: Listing = open(&place)?.entries().map_err(disk_failure)?;
            Ok(Event::Listed(listing))
        }
    }
}

fn open(place: &QueuePlace) -> Result<Outbox, Failure> {
    Outbox::open(&place.directory, &place.index).map_err(disk_failure)
}

fn add(mut request: QueueRequest, mailbox: &Mailbox) -> Result<Event, Failure> {
    let unreadable =
        |error: io::Error| Failure::new(FailureKind::Disk, Phase::Idle, error.to_string());
    let text = request.text.take().map_err(unreadable)?;
    let facts = survey(&text);
    let entry = NewEntry {
        recipients: request.recipients,
        stored_variables: request.stored_variables,
        facts: Facts {
            size: Some(facts.wire_len),
            eight_bit: Some(facts.eight_bit),
            ..request.facts
        },
        state: State::Waiting,
        text: EntryText::Bytes(&text),
    };
    let outbox = open(&request.place)?;
    let added = outbox
        .add(entry, mailbox.signal.stop_flag())
        .map_err(disk_failure)?;
    let waiting = outbox.entries().map(|listing| {
        let now = SystemTime::now();
        listing
            .entries
            .iter()
            .filter(|entry| entry.state.is_sendable(now))
            .count()
    });
    Ok(Event::Queued {
        name: added.name.to_string(),
        waiting: waiting.unwrap_or(0),
        warning: added.index_error.map(|error| error.to_string()),
    })
}

fn disk_failure(error: OutboxError) -> Failure {
    Failure::new(FailureKind::Disk, Phase::Idle, error.to_string())
}

/// An entry that is being delivered: claimed, so that nobody else sends it.
pub(super) struct Entry {
    outbox: Outbox,
    claim: Mutex<Claim>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").finish_non_exhaustive()
    }
}

impl Entry {
    /// Claim entry `name`, which is to go to that many recipients.
    ///
    /// # Errors
    /// `Disk`: somebody else has it, it must not go, or the disk says no.
    pub fn claim(place: &QueuePlace, name: &EntryName, recipients: usize) -> Result<Self, Failure> {
        let refuse = |text: &str| {
            Err(Failure::new(
                FailureKind::Disk,
                Phase::Idle,
                format!("{name}: {text}"),
            ))
        };
        let outbox = open(place)?;
        match outbox.claim(name).map_err(disk_failure)? {
            None => refuse("somebody else is sending it, or it is gone"),
            Some(claim) if !claim.state().is_sendable(SystemTime::now()) => {
                refuse("it is not to be sent now")
            }
            Some(claim) if claim.recipients().len() != recipients => {
                refuse("its recipients have changed meanwhile")
            }
            Some(claim) => Ok(Self {
                outbox,
                claim: Mutex::new(claim),
            }),
        }
    }

    /// The message as it lies on the disk.
    ///
    /// # Errors
    /// `Disk`.
    pub fn text(&self) -> Result<Vec<u8>, Failure> {
        self.lock().text().map_err(disk_failure)
    }

    /// Write down that the end of the text goes out now: killed from here on,
    /// the entry's state is unknown.
    ///
    /// # Errors
    /// `Disk`: it must not go out.
    pub fn mark_sending(&self) -> Result<(), Failure> {
        let mut claim = self.lock();
        let vanished = self
            .outbox
            .mark_sending([&mut *claim])
            .map_err(disk_failure)?;
        match vanished.is_empty() {
            true => Ok(()),
            false => {
                let text = format!("{}: another program has removed it", claim.name());
                Err(Failure::new(FailureKind::Disk, Phase::Idle, text))
            }
        }
    }

    /// Write down how it went, durably.
    ///
    /// # Errors
    /// `Disk`: the outcome is not on the disk.
    pub fn settle(&self, report: &Report) -> Result<(), Failure> {
        let mut claim = self.lock();
        let outcome = outcome(&mut claim, report);
        claim.settle(outcome).map_err(disk_failure)?;
        drop(claim);
        self.outbox.sync().map_err(disk_failure)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Claim> {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner)
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
        Verdict::Failed(failure) => match failure.kind {
            FailureKind::Cancelled => Outcome::Waiting,
            FailureKind::Refused | FailureKind::Content => Outcome::Refused {
                reply: failure.to_string(),
            },
            _ => deferred(claim, failure.to_string()),
        },
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
