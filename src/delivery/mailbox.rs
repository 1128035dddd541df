//! Between the courier's thread and Emacs: events out, answers in, and the one
//! bit that must never be wrong: whether the message may have been taken.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::Bell;
use crate::net::certificate::CertificateFacts;
use crate::net::known::Entry;
use crate::net::signal::Signal;
use crate::net::tls::TlsFacts;
use crate::outbox::Listing;
use crate::smtp::command::Line;
use crate::smtp::dialogue::LoginAnswer;
use crate::smtp::failure::{Failure, Phase};
use crate::smtp::reply::Reply;
use crate::smtp::secret::Secret;

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
    /// A probe has tried this address with port, and how that failed if it did.
    Address(String, Option<Failure>),
    /// A connection stands: the server's address with port.
    Connected(String),
    /// A wish of the user's that this server does not know was left out: a clause.
    LeftOut(&'static str),
    /// The login was accepted: user name and mechanism keyword are in the trace.
    LoggedIn,
    /// The reply to [`Answer::Say`]; none, if the connection is gone.
    Heard(Option<Reply>),
    /// What is in the outbox.
    Listed(Listing),
    /// What is known of servers.
    Servers(Vec<Entry>),
    /// A probe is over, and why it did not come to its end, if it did not.
    Probed(Option<Failure>),
    /// A probe has said this command, and this was the reply.
    Tried(String, Reply),
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
    /// Octets of an entry of the outbox, and whether there are more; none, if it is gone.
    Text(Option<(Vec<u8>, bool)>),
    /// Lines for the trace, each with its line feed, all since the last look.
    Trace(String),
    /// What the user has to know although it stops nothing: a sentence.
    Warning(String),
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
            Self::Address(..) | Self::Probed(_) | Self::Tried(..) => false,
            Self::Connected(_) | Self::LeftOut(_) | Self::LoggedIn | Self::Secured(_) => false,
            Self::Finished(..) | Self::Phase(_) | Self::Trace(_) => false,
            Self::Servers(_) | Self::Text(_) => false,
            Self::UnknownExtensions(_) | Self::Warning(_) => false,
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
    /// Whether a certificate that was not accepted is trusted all the same.
    Certificate {
        /// What it says.
        certificate: Box<CertificateFacts>,
        /// Why it was not accepted.
        failure: Failure,
    },
    /// A login at the proxy, which is not the server; answered by [`Answer::Login`].
    ProxyLogin {
        /// The proxy's name or address.
        host: String,
        /// Its port.
        port: u16,
        /// The user that the settings name.
        user: Option<String>,
        /// Whether it speaks SOCKS5, and not HTTP.
        socks: bool,
        /// What it said.
        failure: Failure,
        /// Whether a login was refused.
        again: bool,
    },
    /// The passphrase of our key.
    Passphrase {
        /// The key's file.
        file: String,
        /// Whether one was given that does not fit.
        again: bool,
    },
    /// Whether it may go on without TLS, which the server spoke before.
    WithoutTls,
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Credentials`] and [`Question::ProxyLogin`].
    Login(Option<LoginAnswer>),
    /// To [`Question::Credentials`], which stays open: say this line;
    /// [`Event::Heard`] brings the reply.
    Say(Line),
    /// To [`Question::Credentials`]: the lines said made a login.
    LoggedIn,
    /// To [`Question::Certificate`].
    Trust(TrustAnswer),
    /// To [`Question::Passphrase`]; `None`: nobody knows it.
    Passphrase(Option<Secret>),
    /// To the other questions.
    Yes(bool),
}

/// Whether a certificate is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustAnswer {
    /// From now on, for this server.
    Always,
    /// No.
    No,
    /// For this delivery.
    Once,
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
#[derive(Default)]
struct Point {
    /// One is being written.
    passing: bool,
    /// So many have been written, and wait for the server's word.
    passed: usize,
    /// The server has taken a message, or nobody knows, and no report says so yet.
    taken: bool,
    /// The delivery was stopped before any of that: none will.
    stopped: bool,
    /// No further one may be written; those that have been get their words.
    closing: bool,
}

impl Point {
    fn is_passed(&self) -> bool {
        self.passing || self.passed > 0 || self.taken
    }
}

pub(super) struct Mailbox {
    pub signal: Arc<Signal>,
    point: Mutex<Point>,
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
            point: Mutex::default(),
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

    fn point(&self) -> MutexGuard<'_, Point> {
        self.point
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
        let passed = {
            let mut point = self.point();
            point.stopped |= !point.is_passed();
            point.is_passed()
        };
        self.signal.stop();
        passed
    }

    /// Begin no further message. True if the end of one is on its way: its word is
    /// awaited; otherwise the delivery is stopped.
    pub fn finish_current(&self) -> bool {
        let awaited = {
            let mut point = self.point();
            point.closing = true;
            let awaited = point.passing || point.passed > 0;
            point.stopped |= !awaited && !point.is_passed();
            awaited
        };
        match awaited {
            true => self.signal.ring(),
            false => self.signal.stop(),
        }
        awaited
    }

    // For the courier's thread.

    /// Whether no further message is to be begun.
    pub fn is_closing(&self) -> bool {
        self.point().closing
    }

    /// Let Emacs know, at once if it may wait for `event`, else when it has not
    /// been rung for for a while; it looks from time to time anyway.
    pub fn post(&self, event: Event) {
        let mut inner = self.inner();
        let now = Instant::now();
        // A trace rides with what happens: in the middle of a burst of replies, Emacs
        // would only be in the way.
        let is_trace = matches!(event, Event::Trace(_));
        let due =
            event.is_awaited() || !is_trace && now.duration_since(inner.last_ring) >= RING_INTERVAL;
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

    /// The end of a text is about to be written; false if it must not be.
    pub fn pass_point_of_no_return(&self) -> bool {
        let mut point = self.point();
        point.passing = !point.stopped && !point.closing;
        point.passing
    }

    /// The end of a text that was to be written is still here.
    pub fn leave_point_of_no_return(&self) {
        self.point().passing = false;
    }

    /// The end of a text is written: the server's word on it is due.
    pub fn await_word(&self) {
        let mut point = self.point();
        point.passing = false;
        point.passed += 1;
    }

    /// The server's word on the text whose end was written first is in, or will
    /// not come; whether it may have taken the message. It is about to be reported.
    pub fn note_word(&self, taken: bool) {
        let mut point = self.point();
        point.passed = point.passed.saturating_sub(1);
        point.taken |= taken;
    }

    /// A message is over and reported: what comes next has its own point.
    pub fn renew_point_of_no_return(&self) {
        self.point().taken = false;
    }

    /// Whether the end of a text may have reached the server, unreported.
    pub fn is_past_point_of_no_return(&self) -> bool {
        self.point().is_passed()
    }
}
