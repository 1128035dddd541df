//! What Lisp asks of the outbox, each on a thread of its own: the disk and its
//! locks may take their time.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::mailbox::{Event, Mailbox};
use super::request::Text;
use super::{Bell, Delivery};
use crate::net::threads;
use crate::outbox::{
    EntryName, Facts, Listing, NewEntry, Outbox, OutboxError, Outcome, State, StoredVariables,
    Text as EntryText,
};
use crate::smtp::content::survey;
use crate::smtp::failure::{Failure, FailureKind, Phase};

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
    /// Waiting, or scheduled for a time.
    pub state: State,
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
    /// Start `job`. Its event, or [`Event::Finished`] with its failure, comes
    /// before [`Event::Done`].
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn outbox(job: Job, bell: Bell) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new(bell)?);
        let inside = mailbox.clone();
        threads::spawn("smtpmail-outbox", move || {
            let event =
                perform(job, &inside).unwrap_or_else(|failure| Event::Finished(0, failure.into()));
            inside.post(event);
            inside.post(Event::Done(None));
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

pub(super) fn open(place: &QueuePlace) -> Result<Outbox, Failure> {
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
        state: request.state,
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

pub(super) fn disk_failure(error: OutboxError) -> Failure {
    Failure::new(FailureKind::Disk, Phase::Idle, error.to_string())
}
