//! Threads that live beside Emacs.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Start a thread that takes no signals: they belong to Emacs's main thread.
/// Batch Emacs dies of SIGPIPE when another thread takes it.
///
/// # Errors
/// The system has no room for another thread.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // A thread inherits the mask of the one that starts it, so there is no
    // moment at which the new one could be hit.
    let blocked = SignalsBlocked::new();
    let thread = Builder::new().name(name.into()).spawn(work);
    drop(blocked);
    thread
}

/// Blocks all signals for the calling thread while it lives.
#[cfg(unix)]
struct SignalsBlocked {
    before: libc::sigset_t,
}

#[cfg(unix)]
impl SignalsBlocked {
    #[allow(unsafe_code)]
    fn new() -> Self {
        // SAFETY: both sets are plain memory that sigfillset and pthread_sigmask
        // fill before it is read; no other requirement on them.
        unsafe {
            let mut all = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self { before }
        }
    }
}

#[cfg(unix)]
impl Drop for SignalsBlocked {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: `before` was filled by pthread_sigmask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, std::ptr::null_mut());
        }
    }
}

#[cfg(not(unix))]
struct SignalsBlocked;

#[cfg(not(unix))]
impl SignalsBlocked {
    fn new() -> Self {
        Self
    }
}
