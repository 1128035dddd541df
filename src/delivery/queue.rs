//! What Lisp asks of the outbox, each on a thread of its own: the disk and its
//! locks may take their time.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::entries;
use super::mailbox::{Event, Mailbox};
use super::request::Text;
use super::servers;
use super::{Bell, Delivery};
use crate::net::known::{self, KnownServers};
use crate::net::threads;
use crate::outbox::{
    EntryName, Facts, Listing, NewEntry, Outbox, OutboxError, Outcome, State, StoredVariables,
    Text as EntryText,
};
use crate::smtp::content::survey;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most outboxes kept open; nobody has many.
const MAX_OPEN: usize = 4;

/// Outboxes that were opened before: what they know of the disk need not be
/// looked for again.
static OPEN: Mutex<Vec<(QueuePlace, Outbox)>> = Mutex::new(Vec::new());

/// A queue directory and the name of its index.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Waiting, held or scheduled.
    pub state: State,
    /// The message.
    pub text: Text,
}

/// What is asked of the outbox, or of the file of known servers.
#[derive(Debug)]
pub enum Job {
    /// Put a message in; ends with [`Event::Queued`].
    Add(Box<QueueRequest>),
    /// Give an entry an outcome by the user's word; ends with [`Event::Changed`].
    Change {
        /// Of which outbox.
        place: QueuePlace,
        /// Which one.
        name: EntryName,
        /// The [name](State::name) of the state that the user saw: another one is
        /// left as it is.
        expected: Option<String>,
        /// What is to become of it.
        outcome: Outcome,
    },
    /// List everything; ends with [`Event::Listed`].
    List(QueuePlace),
    /// Read an entry's text; ends with [`Event::Text`].
    Read {
        /// Of which outbox.
        place: QueuePlace,
        /// Which one.
        name: EntryName,
        /// How many octets of it at most.
        limit: Option<u64>,
        /// Somebody is about to send it: then nobody else must have it.
        to_send: bool,
    },
    /// Forget what the file of known servers has of this host and port, and which
    /// speed-ups it got wrong; ends with [`Event::Changed`].
    ForgetServer(PathBuf, String, u16),
    /// Tell what is known of servers; ends with [`Event::Servers`].
    ListServers(PathBuf),
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
        Ok(mailbox.into())
    }
}

fn perform(job: Job, mailbox: &Mailbox) -> Result<Event, Failure> {
    match job {
        Job::Add(request) => add(*request, mailbox),
        Job::Change {
            place,
            name,
            expected,
            outcome,
        } => {
            let is_expected = |state: State| expected.is_none_or(|seen| seen == state.name());
            let changed = open(&place)?.change_if(&name, is_expected, outcome);
            Ok(Event::Changed(changed.map_err(disk_failure)?))
        }
        Job::Read {
            place,
            name,
            limit,
            to_send,
        } => {
            let outbox = open(&place)?;
            if to_send {
                entries::check_free(&outbox, &name)?;
            }
            let text = outbox.read_text(&name, limit).map_err(disk_failure)?;
            Ok(Event::Text(text))
        }
        Job::List(place) => {
            let listing: Listing = open(&place)?.entries().map_err(disk_failure)?;
            Ok(Event::Listed(listing))
        }
        Job::ForgetServer(file, host, port) => {
            servers::forget_faults(&host, port);
            known::forget(&file, &host, port)
                .map(Event::Changed)
                .map_err(known_failure)
        }
        Job::ListServers(file) => KnownServers::load(&file)
            .map(|known| Event::Servers(known.entries().cloned().collect()))
            .map_err(known_failure),
    }
}

pub(super) fn open(place: &QueuePlace) -> Result<Outbox, Failure> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, outbox)) = open.iter().find(|(other, _)| other == place) {
        return Ok(outbox.clone());
    }
    let outbox = Outbox::open(&place.directory, &place.index).map_err(disk_failure)?;
    open.insert(0, (place.clone(), outbox.clone()));
    open.truncate(MAX_OPEN);
    Ok(outbox)
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
    Ok(Event::Queued {
        name: added.name.to_string(),
        waiting: outbox.indexed().unwrap_or(0),
        warning: added.index_error.map(|error| error.to_string()),
    })
}

fn known_failure(text: String) -> Failure {
    Failure::new(FailureKind::Disk, Phase::Idle, text)
}

pub(super) fn disk_failure(error: OutboxError) -> Failure {
    Failure::new(FailureKind::Disk, Phase::Idle, error.to_string())
}
