//! Between the courier's thread and Emacs: events out, answers in, and the one
//! bit that must never be wrong: whether the message may have been taken.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Bell;
use crate::net::signal::Signal;
use crate::net::tls::TlsFacts;
use crate::outbox::Listing;
use crate::smtp::command::Line;
use crate::smtp::dialogue::LoginAnswer;
use crate::smtp::failure::{Failure, Phase};
use crate::smtp::reply::Reply;

/// Shortest time between two rings for what nobody waits for: waking Emacs up
/// costs more than most messages do.
const RING_INTERVAL: Duration = Duration::from_millis(50);

/// Names a question within its delivery.
pub type QuestionId = u64;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// Keywords of the server's EHLO of which the engine knows nothing.
    UnknownExtensions(Vec<String>),
    /// An entry of the outbox got the outcome asked for, or was not to be had.
    Changed(bool),
    /// A connection stands: the server's address with port.
    Connected(String),
    /// The login was accepted: user name and mechanism keyword are in the trace.
    LoggedIn,
    /// The reply to [`Answer::Say`]; none, if the connection is gone.
    Heard(Option<Reply>),
    /// What is in the outbox.
    Listed(Listing),
    /// What is being waited for now.
    Phase(Phase),
    /// Octets of the text written, of how many.
    Progress(u64, u64),
    /// An answer is wanted.
    Question(QuestionId, Question),
    /// A message is in the outbox, durably.
    Queued {
        /// The entry's name.
        name: String,
        /// Entries that any program may send now, this one included.
        waiting: usize,
        /// What did not work although the entry is safe.
        warning: Option<String>,
    },
    /// Another try begins after this many seconds.
    Retry(Failure, u64),
    /// TLS stands.
    Secured(TlsFacts),
    /// Lines for the trace, each with its line feed, all since the last look.
    Trace(String),
    /// The message of this number is over.
    Finished(usize, Report),
    /// All is over; what the disk did not take although every message has its
    /// outcome. Nothing comes after this.
    Done(Option<Failure>),
}

impl Event {
    /// Whether something stands still until it is heard. What an end follows at
    /// once needs no ring of its own.
    fn is_awaited(&self) -> bool {
        match self {
            Self::Done(_) | Self::Heard(_) | Self::Progress(..) => true,
            Self::Question(..) | Self::Retry(..) => true,
            Self::Changed(_) | Self::Listed(_) | Self::Queued { .. } => false,
            Self::Connected(_) | Self::LoggedIn | Self::Secured(_) => false,
            Self::Finished(..) | Self::Phase(_) | Self::Trace(_) => false,
            Self::UnknownExtensions(_) => false,
        }
    }
}

/// What only the user, or what speaks for the user, knows.
#[derive(Debug)]
pub enum Question {
    /// User name and secret.
    Credentials {
        /// Mechanism keywords that the server offers.
        offered: Vec<String>,
        /// The refusal of a login: other credentials are wanted.
        refused: Option<Failure>,
        /// The refusal of the message: credentials may help.
        demanded: Option<Failure>,
        /// Whether the connection is under TLS.
        protected: bool,
    },
    /// Whether a password may go over an unprotected connection.
    ClearLogin,
    /// Whether the others shall get the message.
    RefusedRecipients(Vec<RecipientReport>),
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Credentials`].
    Login(Option<LoginAnswer>),
    /// To [`Question::Credentials`], which stays open: say this line;
    /// [`Event::Heard`] brings the reply.
    Say(Line),
    /// To [`Question::Credentials`]: the lines said made a login.
    LoggedIn,
    /// To the other questions.
    Yes(bool),
}

/// How a delivery ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// For the message.
    pub verdict: Verdict,
    /// For each recipient, in the request's order.
    pub recipients: Vec<RecipientReport>,
    /// Whether the server accepted a login.
    pub logged_in: bool,
}

/// How a delivery ended for the message.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Taken, with the server's words.
    Accepted(String),
    /// Not taken.
    Failed(Failure),
    /// Taken or not: nobody knows.
    Unknown(Failure),
}

/// How a delivery stands for one recipient.
#[derive(Clone, Debug)]
pub struct RecipientReport {
    /// The address as said to the server.
    pub address: String,
    /// Whether a server has taken the message for it.
    pub accepted: bool,
    /// The refusal, where there was one.
    pub failure: Option<Failure>,
}

/// Whether the end of a text may have reached the server.
mod point {
    /// Not yet.
    pub const OPEN: u8 = 0;
    /// It may have.
    pub const PASSED: u8 = 1;
    /// It has not and will not: the delivery was stopped before.
    pub const STOPPED: u8 = 2;
    /// The server has taken the message, for some recipients at least.
    pub const TAKEN: u8 = 3;
}

pub(super) struct Mailbox {
    pub signal: Arc<Signal>,
    point: AtomicU8,
    /// Not within `inner`: a bell takes longer than to take the events.
    bell: Mutex<Bell>,
    inner: Mutex<Inner>,
}

struct Inner {
    events: VecDeque<Event>,
    /// Lines for the trace since the events were taken; one event, however many.
    trace: String,
    rung: bool,
    last_ring: Instant,
    answers: VecDeque<(QuestionId, Answer)>,
    last_question: QuestionId,
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

impl Mailbox {
    pub fn new(bell: Bell) -> io::Result<Self> {
        let inner = Inner {
            events: VecDeque::new(),
            trace: String::new(),
            rung: false,
            last_ring: Instant::now(),
            answers: VecDeque::new(),
            last_question: 0,
        };
        Ok(Self {
            signal: Arc::new(Signal::new()?),
            point: AtomicU8::new(point::OPEN),
            bell: Mutex::new(bell),
            inner: Mutex::new(inner),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the queues whole.
        self.inner
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    // For Emacs's thread.

    pub fn take_events(&self) -> Vec<Event> {
        let mut inner = self.inner();
        // Armed before draining, under the same lock: no event goes unheard.
        inner.rung = false;
        let trace = match std::mem::take(&mut inner.trace) {
            empty if empty.is_empty() => None,
            lines => Some(Event::Trace(lines)),
        };
        trace.into_iter().chain(inner.events.drain(..)).collect()
    }

    pub fn answer(&self, id: QuestionId, answer: Answer) {
        self.inner().answers.push_back((id, answer));
        self.signal.ring();
    }

    pub fn cancel(&self) -> bool {
        let before = self.point.compare_exchange(
            point::OPEN,
            point::STOPPED,
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
        self.signal.stop();
        matches!(before, Err(point::PASSED | point::TAKEN))
    }

    // For the courier's thread.

    /// Let Emacs know, at once if it may wait for `event`, else when it has not
    /// been rung for for a while; it looks from time to time anyway.
    pub fn post(&self, event: Event) {
        let mut inner = self.inner();
        let now = Instant::now();
        let due = event.is_awaited() || now.duration_since(inner.last_ring) >= RING_INTERVAL;
        match (event, inner.events.back_mut()) {
            (Event::Trace(lines), _) => inner.trace.push_str(&lines),
            // What is waited for now, not what was.
            (Event::Phase(now), Some(Event::Phase(before))) => *before = now,
            (event, _) => inner.events.push_back(event),
        }
        if due && !std::mem::replace(&mut inner.rung, true) {
            inner.last_ring = now;
            drop(inner);
            let mut bell = self
                .bell
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner());
            bell();
        }
    }

    pub fn ask(&self, question: Question) -> QuestionId {
        let id = {
            let mut inner = self.inner();
            inner.last_question += 1;
            inner.last_question
        };
        self.post(Event::Question(id, question));
        id
    }

    /// The answer to question `id`, if it has come; answers to others are dropped.
    pub fn take_answer(&self, id: QuestionId) -> Option<Answer> {
        let mut inner = self.inner();
        while let Some((of, answer)) = inner.answers.pop_front() {
            if of == id {
                return Some(answer);
            }
        }
        None
    }

    /// The end of the text is about to be written; false if it must not be.
    pub fn pass_point_of_no_return(&self) -> bool {
        self.point
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| match now {
                point::STOPPED => None,
                point::TAKEN => Some(point::TAKEN),
                _ => Some(point::PASSED),
            })
            .is_ok()
    }

    /// A message is over and reported: what comes next has its own point.
    pub fn renew_point_of_no_return(&self) {
        // After a stop nothing comes next.
        let _ = self
            .point
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
                (now != point::STOPPED).then_some(point::OPEN)
            });
    }

    /// Whether the end of a text may have reached the server, unreported.
    pub fn is_past_point_of_no_return(&self) -> bool {
        matches!(
            self.point.load(Ordering::SeqCst),
            point::PASSED | point::TAKEN
        )
    }

    /// The server's word on the text is in, or its end is still here.
    pub fn leave_point_of_no_return(&self, taken: bool) {
        let _ = self.point.compare_exchange(
            point::PASSED,
            if taken { point::TAKEN } else { point::OPEN },
            Ordering::SeqCst,
            Ordering::SeqCst,
        );
    }
}
