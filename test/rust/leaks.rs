//! Many sends in one process, as in an Emacs that runs for a year: descriptors,
//! threads and memory stay what they were. `make leaks` for ten thousand.

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use smtpmail_core::delivery::Answer;
use smtpmail_core::smtp::dialogue::Security;

use self::support::*;

/// Until then all is loaded that stays: the resolver's, the TLS library's and
/// the allocator's.
const WARM_UP: usize = 200;

/// Sends between two looks, after which the server's spool is emptied.
const BATCH: usize = 100;

/// What may come and go by chance, in KiB: some pools of the allocator, which
/// has one for each thread of the moment.
const ALLOWED_GROWTH_KIB: usize = 4096;

/// The same where AddressSanitizer keeps what was freed, 256 MiB of it by default; it
/// looks for leaks itself.
const ALLOWED_GROWTH_SANITIZED_KIB: usize = 320 * 1024;

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Waits until there are `before` descriptors again: a thread that has just begun has
/// no name yet by which it is known as ours, and ends as soon as it finds that nobody
/// needs it.
fn assert_descriptors(before: usize, batch: usize) {
    let end = Instant::now() + GONE_WITHIN;
    while descriptors() != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(descriptors(), before, "descriptors, batch {batch}");
}

/// Memory in use, in KiB.
fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("KiB")
}

fn empty(spool: &Path) {
    for file in fs::read_dir(spool).expect("a spool").flatten() {
        fs::remove_file(file.path()).ok();
    }
}

/// Some by TLS, some in clear, some refused, some cut, some cancelled.
fn send(number: usize, servers: [&Fixture; 3]) {
    let mut request = request(servers[number % 3]);
    if number.is_multiple_of(2) {
        request.plan.security = Security::Never;
    }
    let under = Under::begin(request);
    if number.is_multiple_of(7) {
        under.delivery.cancel();
    }
    under.finish(|_| Some(Answer::Login(None)));
}

fn sends(count: usize) {
    let good = start(options().user(USER, PASSWORD));
    let cut = start(options_on(&["mail=close"]));
    let refused = start(options_on(&["dot=reply 554 no"]));
    let servers = [&good, &cut, &refused];
    let look = || {
        for server in servers {
            assert!(server.wait_until_quiet(WATCHDOG));
            empty(server.spool());
        }
        assert_no_threads();
        resident_kib()
    };
    (0..WARM_UP).for_each(|number| send(number, servers));
    let memory = look();
    let before = descriptors();
    let mut most = memory;
    for batch in 0..count / BATCH {
        (0..BATCH).for_each(|number| send(batch * BATCH + number, servers));
        most = most.max(look());
        assert_descriptors(before, batch);
    }
    println!("{count} sends: {before} descriptors, {memory} KiB, at most {most} KiB");
    // Set by `make sanitize`.
    let allowed = match std::env::var_os("ASAN_OPTIONS") {
        Some(_) => ALLOWED_GROWTH_SANITIZED_KIB,
        None => ALLOWED_GROWTH_KIB,
    };
    assert!(
        most <= memory + allowed,
        "memory grew from {memory} to {most} KiB"
    );
}

#[test]
fn five_hundred_sends_leave_nothing() {
    sends(500);
}

#[test]
#[ignore = "minutes: make leaks"]
fn ten_thousand_sends_leave_nothing() {
    sends(10_000);
}
