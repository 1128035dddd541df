//! Names to addresses, on a thread of its own: `getaddrinfo` cannot be stopped,
//! and a resolver that hangs must hold nobody.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::signal::{Signal, Waited};
use super::threads;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Most look-ups under way at once; hung ones count until they give up.
const MAX_LOOKUPS: usize = 4;

/// How often a look-up that found no room tries again.
const ROOM_INTERVAL: Duration = Duration::from_millis(100);

static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// The addresses of `host` (an ASCII name or an IP address) with `port`.
///
/// # Errors
/// `Resolve` (no such host), `Timeout` or `Cancelled`.
pub fn resolve(
    host: &str,
    port: u16,
    deadline: Instant,
    signal: &Arc<Signal>,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let name = host.to_owned();
    let look_up = move || Ok((name.as_str(), port).to_socket_addrs()?.collect());
    wait_for(host, look_up, deadline, signal)
}

/// What `look_up`, which may hang, finds for `host`.
fn wait_for(
    host: &str,
    look_up: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static,
    deadline: Instant,
    signal: &Arc<Signal>,
) -> Result<Vec<SocketAddr>, Failure> {
    let room = take_room(host, deadline, signal)?;
    let answer = Arc::new(Mutex::new(None));
    let (there, bell) = (answer.clone(), signal.clone());
    threads::spawn("smtpmail-resolve", move || {
        let found = look_up();
        *there
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(found);
        drop(room);
        bell.ring();
    })
    .map_err(|error| failure(FailureKind::Resolve, host, error))?;
    loop {
        if signal.is_stopped() {
            return Err(Signal::stopped_failure(Phase::Resolve));
        }
        // Looked at before waiting: its ring may have been heard by another wait.
        let found = answer
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        match found {
            Some(Ok(addresses)) if addresses.is_empty() => {
                return Err(failure(FailureKind::Resolve, host, "no address"));
            }
            Some(Ok(addresses)) => return Ok(addresses),
            Some(Err(error)) => return Err(failure(FailureKind::Resolve, host, words(&error))),
            None => pause(host, deadline, deadline, signal)?,
        }
    }
}

/// Takes a place among [`MAX_LOOKUPS`]; gives it back when dropped.
struct Room;

impl Drop for Room {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::SeqCst);
    }
}

fn take_room(host: &str, deadline: Instant, signal: &Signal) -> Result<Room, Failure> {
    loop {
        let taken = LOOKUPS.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| {
            (n < MAX_LOOKUPS).then_some(n + 1)
        });
        if taken.is_ok() {
            return Ok(Room);
        }
        pause(
            host,
            deadline,
            deadline.min(Instant::now() + ROOM_INTERVAL),
            signal,
        )?;
    }
}

/// Wait until `until` or a ring; an error when stopped or past `deadline`.
fn pause(host: &str, deadline: Instant, until: Instant, signal: &Signal) -> Result<(), Failure> {
    let waited = signal
        .wait(&[], Some(until))
        .map_err(|error| failure(FailureKind::Resolve, host, error))?;
    if signal.is_stopped() {
        Err(Signal::stopped_failure(Phase::Resolve))
    } else if waited == Waited::TimedOut && Instant::now() >= deadline {
        Err(failure(
            FailureKind::Timeout,
            host,
            "the look-up of its address got no answer",
        ))
    } else {
        Ok(())
    }
}

fn failure(kind: FailureKind, host: &str, text: impl std::fmt::Display) -> Failure {
    Failure::new(kind, Phase::Resolve, format!("{host}: {text}"))
}

/// The system's words without the library's preface to them.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ")
        .unwrap_or(&text)
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, mpsc};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(20)
    }

    #[test]
    fn literals_need_no_resolver() {
        let signal = Arc::new(Signal::new().unwrap());
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1:25"),
            ("::1", "[::1]:25"),
            ("[::1]", "[::1]:25"),
        ] {
            assert_eq!(
                resolve(host, 25, soon(), &signal).unwrap(),
                [address.parse().unwrap()]
            );
        }
    }

    #[test]
    fn this_machine_is_known() {
        let signal = Arc::new(Signal::new().unwrap());
        let found = resolve("localhost", 25, soon(), &signal).unwrap();
        assert!(
            found.iter().all(|address| address.ip().is_loopback()),
            "{found:?}"
        );
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let signal = Arc::new(Signal::new().unwrap());
        signal.stop();
        assert_eq!(
            resolve("localhost", 25, soon(), &signal)
                .map_err(|f| f.kind)
                .err(),
            Some(FailureKind::Cancelled)
        );
    }

    #[test]
    fn hung_look_ups_are_four_at_most_and_hold_nobody() {
        let hung = Arc::new(Barrier::new(MAX_LOOKUPS + 1));
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(Mutex::new(released));
        let waiting: Vec<_> = (0..MAX_LOOKUPS)
            .map(|_| {
                let signal = Arc::new(Signal::new().unwrap());
                let (hung, released, mine) = (hung.clone(), released.clone(), signal.clone());
                let look_up = move || {
                    hung.wait();
                    // Until the sender is gone.
                    let _ = released.lock().unwrap().recv();
                    Ok(Vec::new())
                };
                let thread = std::thread::spawn(move || wait_for("hung", look_up, soon(), &mine));
                (thread, signal)
            })
            .collect();
        hung.wait();
        let one_more = |deadline, signal: &Arc<Signal>| {
            let look_up = || panic!("one more than there may be");
            wait_for("late", look_up, deadline, signal).map_err(|failure| failure.kind)
        };
        let signal = Arc::new(Signal::new().unwrap());
        let late = Instant::now() + ROOM_INTERVAL;
        assert_eq!(one_more(late, &signal), Err(FailureKind::Timeout));
        signal.stop();
        assert_eq!(one_more(soon(), &signal), Err(FailureKind::Cancelled));
        // Who stops waiting need not wait for the resolver.
        for (thread, signal) in waiting {
            signal.stop();
            let ended = thread.join().unwrap().map_err(|failure| failure.kind);
            assert_eq!(ended, Err(FailureKind::Cancelled));
        }
        assert_eq!(LOOKUPS.load(Ordering::SeqCst), MAX_LOOKUPS);
        drop(release);
        // The places come back with the threads.
        let signal = Arc::new(Signal::new().unwrap());
        let found = wait_for(
            "free",
            || Ok(vec![([127, 0, 0, 1], 25).into()]),
            soon(),
            &signal,
        );
        assert_eq!(found.unwrap().len(), 1);
    }
}
