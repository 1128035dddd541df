//! Connections that are kept for a while after their messages, for the next
//! delivery to the same account. Each waits on a thread of its own, which says
//! QUIT when its time is over and drops it when the server ends it; nothing of a
//! message is in here.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::request::Request;
use super::trust::SessionTrust;
use crate::net::signal::{Signal, Waited};
use crate::net::threads;
use crate::net::tls::TlsFacts;
use crate::net::wire::Wire;
use crate::smtp::dialogue::{Dialogue, Input, Output, Plan};
use crate::smtp::secret::Secret;

/// Connections kept at once, of all accounts: more serve nobody, and hold
/// descriptors of Emacs, which has 1024.
const MAX_KEPT: usize = 8;

/// Longest time to keep one: servers give up after 300 s at least (RFC 5321
/// §4.5.3.2.7), and we shall be gone before.
const MAX_KEEP: Duration = Duration::from_secs(240);

/// How long the first reply on a connection that was kept is waited for: a
/// network address translator may have forgotten it without a word, and to begin
/// anew costs less than to wait for a reply's usual limit.
pub(super) const FIRST_REPLY: Duration = Duration::from_secs(20);

/// For how long after the last reply envelope and text may go in one flight: what
/// was silent for longer may be dead, and a text that went into it is unknown.
pub(super) const ONE_FLIGHT: Duration = Duration::from_secs(5);

/// How a connection is kept after its last message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Names the account, and all that Lisp knows and the request does not.
    pub account: String,
    /// For how long; nothing is kept for no time.
    pub time: Duration,
}

/// A connection between messages.
pub(super) struct Kept {
    pub wire: Wire,
    pub dialogue: Dialogue,
    pub tls: Option<TlsFacts>,
    /// What must be left out of replies.
    pub secrets: Vec<Secret>,
    /// When the server said something last.
    pub last_reply: Instant,
    /// Messages that it was given.
    pub given: usize,
}

struct Slot {
    key: String,
    signal: Arc<Signal>,
    kept: Mutex<Option<Kept>>,
}

static POOL: Mutex<Vec<Arc<Slot>>> = Mutex::new(Vec::new());

/// What two deliveries must have in common to share a connection. The protection
/// wished for is in it after what is known of the server had its say, so that one
/// without TLS is not found where TLS is due.
pub(super) fn key(request: &Request, plan: &Plan, trust: &SessionTrust) -> String {
    let mut without: Vec<_> = plan.without.iter().map(|off| off.name()).collect();
    without.sort_unstable();
    without.dedup();
    format!(
        "{:?}",
        (
            (&request.keep.account, &request.host, request.port),
            &request.proxy,
            (&plan.ehlo_name, plan.security, plan.clear_login_allowed),
            (plan.login_required, plan.verb, plan.refused_recipients),
            (&request.tls, trust.accepted(), trust.ask_new, without),
        )
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keep a connection under `key`, or say QUIT where that is not wanted.
pub(super) fn keep(mut kept: Kept, key: String, time: Duration) {
    let time = time.min(MAX_KEEP);
    let watched = kept
        .wire
        .socket()
        .and_then(|socket| socket.try_clone().ok());
    let (Some(watched), Ok(signal)) = (watched, Signal::new()) else {
        return kept.quit();
    };
    let signal = Arc::new(signal);
    kept.wire.ring_with(signal.clone());
    let slot = Arc::new(Slot {
        key,
        signal,
        kept: Mutex::new(Some(kept)),
    });
    {
        let mut pool = lock(&POOL);
        if time.is_zero() || pool.len() >= MAX_KEPT {
            drop(pool);
            return slot.quit();
        }
        pool.push(slot.clone());
    }
    let inside = slot.clone();
    let spawned = threads::spawn("smtpmail-kept", move || {
        inside.watch(&watched, Instant::now() + time);
        inside.leave();
    });
    if spawned.is_err() {
        slot.quit();
        slot.leave();
    }
}

/// A connection that was kept under `key` and still stands.
pub(super) fn take(key: &str) -> Option<Kept> {
    loop {
        let slot = {
            let mut pool = lock(&POOL);
            let place = pool.iter().position(|slot| slot.key == key)?;
            pool.remove(place)
        };
        let kept = lock(&slot.kept).take();
        slot.signal.ring();
        if let Some(mut kept) = kept
            && kept.is_alive()
        {
            return Some(kept);
        }
    }
}

/// Say QUIT on all connections that are kept; nothing is waited for.
pub fn close_kept() {
    let slots = std::mem::take(&mut *lock(&POOL));
    for slot in slots {
        slot.quit();
        slot.signal.ring();
    }
}

impl Slot {
    /// Wait until the connection is taken, the server says or ends something, or
    /// `end` comes.
    fn watch(&self, socket: &impl AsFd, end: Instant) {
        loop {
            let waited = self
                .signal
                .wait(&[(socket.as_fd(), PollFlags::IN)], Some(end));
            let mut kept = lock(&self.kept);
            let Some(connection) = kept.as_mut() else {
                return;
            };
            match waited {
                // TLS may have said something that is none of ours.
                Ok(Waited::Ready) if connection.is_alive() => {}
                Ok(Waited::Rung) => {}
                Ok(Waited::Ready) => {
                    kept.take();
                    return;
                }
                Ok(Waited::TimedOut) | Err(_) => {
                    if let Some(connection) = kept.take() {
                        connection.quit();
                    }
                    return;
                }
            }
        }
    }

    fn quit(&self) {
        if let Some(kept) = lock(&self.kept).take() {
            kept.quit();
        }
    }

    fn leave(self: &Arc<Self>) {
        lock(&POOL).retain(|slot| !Arc::ptr_eq(slot, self));
    }
}

impl Kept {
    /// Whether the connection stands, as far as can be seen, and nothing was
    /// said: a server that speaks now says goodbye.
    fn is_alive(&mut self) -> bool {
        let mut said = Vec::new();
        let progress = self.wire.exchange(&[], &mut said);
        said.is_empty() && !progress.closed && progress.broken.is_none()
    }

    fn quit(mut self) {
        let mut octets = Vec::new();
        self.dialogue.handle(Input::NoMoreMessages);
        while let Some(output) = self.dialogue.next_output() {
            if let Output::Send(commands) = output {
                commands
                    .iter()
                    .for_each(|command| command.write_to(&mut octets));
            }
        }
        // Best effort: nothing depends on it.
        let _ = self.wire.exchange(&octets, &mut Vec::new());
        self.wire.close();
    }
}
