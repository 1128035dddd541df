//! What this process has learnt of servers: which speed-ups they announce and
//! get wrong. For the life of the process, of a bounded number of servers, and
//! for a bounded time.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use crate::smtp::dialogue::SpeedUp;

/// Servers remembered: people have a handful. Beyond it all are forgotten, at
/// the price of one connection each.
const MAX_SERVERS: usize = 64;

/// Servers get mended, and a broken line looks like a broken server.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// A server as the user named it, and its port.
type Server = (String, u16);

/// A speed-up that is off, and why.
#[derive(Clone, Debug)]
pub(super) struct SwitchedOff {
    pub speed_up: SpeedUp,
    pub reason: String,
    since: Instant,
}

type Known = HashMap<Server, Vec<SwitchedOff>>;

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    // Whatever panicked while it held the lock left whole entries.
    known.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// What is not to be used with that server.
pub(super) fn switched_off(host: &str, port: u16) -> Vec<SwitchedOff> {
    let mut known = known();
    let Some(list) = known.get_mut(&(host.to_owned(), port)) else {
        return Vec::new();
    };
    list.retain(|off| off.since.elapsed() < MAX_AGE);
    list.clone()
}

/// That server has got `speed_up` wrong.
pub(super) fn switch_off(host: &str, port: u16, speed_up: SpeedUp, reason: &str) {
    let mut known = known();
    let server = (host.to_owned(), port);
    if known.len() >= MAX_SERVERS && !known.contains_key(&server) {
        known.clear();
    }
    let list = known.entry(server).or_default();
    list.retain(|off| off.speed_up != speed_up);
    list.push(SwitchedOff {
        speed_up,
        reason: reason.to_owned(),
        since: Instant::now(),
    });
}

/// Forget what that server got wrong: it is another one, or was mended.
pub fn forget_faults(host: &str, port: u16) {
    known().remove(&(host.to_owned(), port));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(host: &str, port: u16) -> Vec<(SpeedUp, String)> {
        let list = switched_off(host, port).into_iter();
        list.map(|off| (off.speed_up, off.reason)).collect()
    }

    /// One test, since the memory is one for the process.
    #[test]
    fn each_server_for_itself_and_not_without_end() {
        let host = "servers.test.example.org";
        switch_off(host, 25, SpeedUp::Chunking, "500 what?");
        switch_off(host, 25, SpeedUp::Pipelining, "gone");
        switch_off(host, 25, SpeedUp::Chunking, "502 no");
        assert_eq!(
            reasons(host, 25),
            [
                (SpeedUp::Pipelining, "gone".into()),
                (SpeedUp::Chunking, "502 no".into())
            ]
        );
        assert_eq!(reasons(host, 587), []);
        forget_faults(host, 587);
        assert_eq!(reasons(host, 25).len(), 2);
        forget_faults(host, 25);
        assert_eq!(reasons(host, 25), []);
        for port in 1000..1000 + 2 * MAX_SERVERS {
            let port = u16::try_from(port).expect("small");
            switch_off(host, port, SpeedUp::Chunking, "500 what?");
            assert!(known().len() <= MAX_SERVERS);
            assert_eq!(reasons(host, port).len(), 1);
        }
    }
}
