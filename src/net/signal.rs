//! A bell that wakes a thread out of `poll`, and the word that it shall stop.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Shared by a connection's thread and those who want something of it.
#[derive(Debug)]
pub struct Signal {
    stopped: AtomicBool,
    ring: UnixStream,
    heard: UnixStream,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// A descriptor is ready.
    Ready,
    /// The bell rang.
    Rung,
    /// The deadline passed.
    TimedOut,
}

impl Signal {
    /// # Errors
    /// No descriptors left.
    pub fn new() -> io::Result<Self> {
        let (ring, heard) = UnixStream::pair()?;
        ring.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self {
            stopped: AtomicBool::new(false),
            ring,
            heard,
        })
    }

    /// Wake the thread that waits, or the next wait.
    pub fn ring(&self) {
        // A full buffer holds a ring already.
        let _ = (&self.ring).write(&[1]);
    }

    /// Tell the thread to stop, for good.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Whether [`Signal::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The word that it shall stop, for those who look at it themselves.
    pub fn stop_flag(&self) -> &AtomicBool {
        &self.stopped
    }

    /// The failure of a wait that was stopped.
    pub fn stopped_failure(phase: Phase) -> Failure {
        Failure::new(FailureKind::Cancelled, phase, "stopped")
    }

    /// Wait until one of `wanted` is ready, the bell rings or `deadline` comes.
    ///
    /// # Errors
    /// `poll` failed, which only a lack of memory makes it do.
    pub fn wait(
        &self,
        wanted: &[(BorrowedFd<'_>, PollFlags)],
        deadline: Option<Instant>,
    ) -> io::Result<Waited> {
        let mut fds = vec![PollFd::from_borrowed_fd(self.heard.as_fd(), PollFlags::IN)];
        fds.extend(
            wanted
                .iter()
                .map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)),
        );
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match poll(&mut fds, left.map(timespec).as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
                Ok(0) if left.is_some_and(|left| left > Duration::from_secs(1 << 30)) => continue,
                Ok(0) => return Ok(Waited::TimedOut),
                Ok(_) => {}
            }
            if !fds[0].revents().is_empty() {
                self.silence();
                return Ok(Waited::Rung);
            }
            return Ok(Waited::Ready);
        }
    }

    fn silence(&self) {
        let mut rings = [0; 64];
        while matches!((&self.heard).read(&mut rings), Ok(n) if n > 0) {}
    }
}

fn timespec(left: Duration) -> Timespec {
    // Rounded up to a millisecond: poll must not return before the deadline.
    let left = left + Duration::from_micros(999);
    Timespec {
        tv_sec: i64::try_from(left.as_secs())
            .unwrap_or(i64::MAX)
            .min(1 << 30),
        tv_nsec: left.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_lost() {
        let signal = Signal::new().unwrap();
        signal.ring();
        signal.ring();
        assert_eq!(signal.wait(&[], None).unwrap(), Waited::Rung);
        let soon = Some(Instant::now() + Duration::from_millis(5));
        assert_eq!(signal.wait(&[], soon).unwrap(), Waited::TimedOut);
    }

    #[test]
    fn the_deadline_has_passed_when_it_says_so() {
        let signal = Signal::new().unwrap();
        let deadline = Instant::now() + Duration::from_micros(1500);
        assert_eq!(signal.wait(&[], Some(deadline)).unwrap(), Waited::TimedOut);
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn any_number_of_rings_blocks_nobody() {
        let signal = Signal::new().unwrap();
        for _ in 0..100_000 {
            signal.ring();
        }
        assert_eq!(signal.wait(&[], None).unwrap(), Waited::Rung);
    }
}
