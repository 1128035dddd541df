//! A flush on a disk that fails: full, read-only, or with errors of its fsync.
//! Whatever step it is, no message is lost and none is sent twice.

mod outbox_support;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

use outbox_support::{Scratch, add, id_of, states};
use smtpmail_core::outbox::{Claim, Outbox, Outcome, State, Step, StepHook};

const MESSAGES: usize = 4;
const WINDOW: usize = 2;

/// How a disk fails.
#[derive(Clone, Copy, Debug)]
struct Fault {
    error: io::ErrorKind,
    /// From its step on, or that once.
    is_lasting: bool,
    /// Only fsyncs fail.
    only_syncs: bool,
}

/// Counts the steps that may fail, and lets them fail from one on.
fn failing(fault: Fault, at: usize, has_failed: &Arc<AtomicBool>) -> Arc<StepHook> {
    let (count, has_failed) = (AtomicUsize::new(0), Arc::clone(has_failed));
    Arc::new(move |step: Step, _: &Path| {
        if fault.only_syncs && !matches!(step, Step::SyncFile | Step::SyncDirectory) {
            return Ok(());
        }
        let now = count.fetch_add(1, Ordering::SeqCst);
        if now == at || fault.is_lasting && now > at {
            has_failed.store(true, Ordering::SeqCst);
            return Err(fault.error.into());
        }
        Ok(())
    })
}

/// Sends all that may be sent; what the server took.
fn flush(outbox: &Outbox) -> Vec<String> {
    let mut accepted = Vec::new();
    let names: Vec<_> = match outbox.entries() {
        Ok(listing) => listing
            .entries
            .into_iter()
            .map(|entry| entry.name)
            .collect(),
        Err(_) => return accepted,
    };
    for window in names.chunks(WINDOW) {
        let claims = outbox.claim_all(window).into_iter();
        let mut claims: Vec<Claim> = claims.filter_map(|claim| claim.ok().flatten()).collect();
        claims.retain(|claim| claim.state().is_sendable(SystemTime::now()));
        let Ok(unmarked) = outbox.mark_sending(&mut claims) else {
            continue;
        };
        assert_eq!(unmarked, []);
        for claim in &mut claims {
            accepted.push(id_of(&claim.text().expect("readable")));
            // It is not said again: the next reader finds it unknown.
            let _ = claim.settle(Outcome::Accepted);
        }
    }
    let _ = outbox.sync();
    accepted
}

#[test]
fn no_failing_step_of_a_flush_loses_or_doubles_a_message() {
    let mut runs = 0;
    for (error, only_syncs) in [
        (io::ErrorKind::StorageFull, false),
        (io::ErrorKind::ReadOnlyFilesystem, false),
        // What the system says as EIO has no kind of its own.
        (io::ErrorKind::Other, true),
    ] {
        for is_lasting in [false, true] {
            let fault = Fault {
                error,
                is_lasting,
                only_syncs,
            };
            for at in 0.. {
                let scratch = Scratch::new();
                for number in 0..MESSAGES {
                    add(&scratch.outbox(), &format!("m{number}"), State::Waiting).expect("queued");
                }
                let has_failed = Arc::default();
                let hook = failing(fault, at, &has_failed);
                let outbox = Outbox::open_with(&scratch.queue(), "index", Some(hook));
                let outbox = outbox.expect("good names");
                let accepted = flush(&outbox);
                drop(outbox);
                check(&scratch, accepted, &format!("{fault:?}, step {at}"));
                runs += 1;
                if !has_failed.load(Ordering::SeqCst) {
                    break;
                }
            }
        }
    }
    assert!(runs > 150, "only {runs} runs");
}

/// Afterwards the disk is well again.
fn check(scratch: &Scratch, mut accepted: Vec<String>, context: &str) {
    let outbox = scratch.outbox();
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.problems, [], "{context}");
    let left: BTreeMap<String, State> = states(&listing).into_iter().collect();
    for number in 0..MESSAGES {
        let id = format!("m{number}");
        let times = accepted.iter().filter(|other| **other == id).count();
        match (times, left.get(&id)) {
            (0, Some(State::Waiting | State::Unknown)) | (1, None | Some(State::Unknown)) => {}
            other => panic!("{context}: {id}: {other:?}"),
        }
    }
    // The next flush works, and sends what waits.
    accepted.extend(flush(&outbox));
    accepted.sort();
    let all = accepted.len();
    accepted.dedup();
    assert_eq!(accepted.len(), all, "{context}: one went twice");
    let listing = outbox.entries().expect("readable");
    for (id, state) in states(&listing) {
        assert_eq!(state, State::Unknown, "{context}: {id}");
    }
    assert_eq!(
        listing.entries.len() + all - twice(&listing, &accepted),
        MESSAGES,
        "{context}"
    );
}

/// How many are both at the server and in the outbox, as unknown.
fn twice(listing: &smtpmail_core::outbox::Listing, accepted: &[String]) -> usize {
    let states = states(listing);
    states
        .iter()
        .filter(|(id, _)| accepted.contains(id))
        .count()
}
