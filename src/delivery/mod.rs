//! FLOOR 3: deliveries. A courier thread takes its messages, one after the
//! other, over one connection, or as many as they need; events come back through a mailbox, answers go in.
//!
//! Nothing here blocks the caller: [`Delivery::open`] starts the courier,
//! [`Delivery::events`] takes what has happened, [`Delivery::answer`] and
//! [`Delivery::cancel`] ring its bell. What to do about refusals, retries and
//! logins is decided in `courier.rs`; how octets move, in `session.rs`.

mod body;
mod courier;
mod entries;
mod limits;
mod mail;
mod mailbox;
mod pool;
mod probe;
mod queue;
mod reach;
mod request;
mod servers;
mod session;
mod trace;
mod trust;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

pub use self::limits::TimeLimits;
use self::mailbox::Mailbox;
pub use self::mailbox::{
    Answer, Event, Question, QuestionId, RecipientReport, Report, TrustAnswer, Verdict,
};
pub use self::pool::{Keep, close_kept};
pub use self::probe::Probe;
pub use self::queue::{Job, QueuePlace, QueueRequest};
pub use self::request::{Envelope, MailObject, Request, Text, TlsFiles};
pub use self::servers::forget_faults;
use crate::net::{threads, tls};
use crate::smtp::failure::Failure;

/// Begin to read what a TLS session needs; deliveries to come find it done.
pub fn prepare_tls(files: &TlsFiles) {
    tls::prepare(files.settings(tls::Trust::Authorities));
}

/// Messages under way. Dropping it stops the courier without waiting for it.
#[derive(Debug)]
pub struct Delivery {
    mailbox: Mutex<Hold>,
}

/// What is held of a delivery.
#[derive(Debug)]
enum Hold {
    /// With its descriptors, until all was heard.
    Mailbox(Arc<Mailbox>),
    /// All is over: what a `cancel` says from now on. Lisp may keep the delivery for
    /// long, until garbage is collected.
    Over {
        /// Whether the last message may have been taken.
        taken: bool,
    },
}

/// Rung when events wait, from the courier's thread: at once for what must be
/// answered and for the end, for all else a few times a second at most.
pub type Bell = Box<dyn FnMut() + Send>;

impl Delivery {
    /// Start the delivery of `request`. `bell` is rung once for any number of
    /// events; [`Delivery::events`] arms it again.
    ///
    /// # Errors
    /// The system has no descriptor or thread left.
    pub fn open(request: Request, bell: Bell) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new(bell)?);
        let inside = mailbox.clone();
        threads::spawn("smtpmail-courier", move || courier::run(request, &inside))?;
        Ok(mailbox.into())
    }

    /// A delivery of that many messages that is over before it began.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn ended(messages: usize, failure: &Failure, bell: Bell) -> io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new(bell)?);
        for number in 0..messages {
            mailbox.post(Event::Finished(number, failure.clone().into()));
        }
        mailbox.post(Event::Done(None));
        Ok(mailbox.into())
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        // A panic elsewhere leaves it whole.
        self.mailbox
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn mailbox(&self) -> Option<Arc<Mailbox>> {
        match &*self.hold() {
            Hold::Mailbox(mailbox) => Some(mailbox.clone()),
            Hold::Over { .. } => None,
        }
    }

    /// What has happened since the last call, in order, the trace first. To be
    /// called now and then without a ring, too.
    pub fn events(&self) -> Vec<Event> {
        let Some(mailbox) = self.mailbox() else {
            return Vec::new();
        };
        let events = mailbox.take_events();
        if matches!(events.last(), Some(Event::Done(_))) {
            let taken = mailbox.cancel();
            *self.hold() = Hold::Over { taken };
        }
        events
    }

    /// Answer the question `id`; an answer to another one is ignored.
    pub fn answer(&self, id: QuestionId, answer: Answer) {
        if let Some(mailbox) = self.mailbox() {
            mailbox.answer(id, answer);
        }
    }

    /// Begin no further message. True if the end of one is on its way: its event, and those
    /// of the messages that are given up, are still to come. Otherwise stop at once.
    pub fn finish_current(&self) -> bool {
        self.mailbox()
            .is_some_and(|mailbox| mailbox.finish_current())
    }

    /// Stop at once; nothing is waited for. True if the server may have taken a
    /// message of which no [`Event::Finished`] tells yet: the end of its text may
    /// be on the way.
    pub fn cancel(&self) -> bool {
        match &*self.hold() {
            Hold::Mailbox(mailbox) => mailbox.cancel(),
            Hold::Over { taken } => *taken,
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl From<Arc<Mailbox>> for Delivery {
    fn from(mailbox: Arc<Mailbox>) -> Self {
        Self {
            mailbox: Mutex::new(Hold::Mailbox(mailbox)),
        }
    }
}

/// The report of a delivery that never began.
impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        Self {
            verdict: Verdict::Failed(failure),
            recipients: Vec::new(),
            logged_in: false,
        }
    }
}
