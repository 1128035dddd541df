//! The outbox in one process: what is on the disk after each call.

mod outbox_support;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use outbox_support::{Scratch, add, entry, id_of, name, states, text};
use smtpmail_core::outbox::{
    ErrorKind, Facts, Obstacle, Outbox, Outcome, RefusedRecipient, State, Step, Text, Unmarked,
    Value,
};

fn later() -> SystemTime {
    // Whole microseconds, as the disk has them.
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn looking_creates_nothing_and_queueing_does() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    assert_eq!(outbox.entries().expect("empty"), Default::default());
    assert!(!scratch.queue().exists());

    let added = add(&outbox, "one", State::Waiting).expect("queued");
    assert_eq!(added.index_error, None);
    let name = added.name.to_string();
    let files = [name.clone(), format!("{name}.el"), "index".into()];
    assert_eq!(scratch.files(), files.clone().into());
    assert_eq!(scratch.index(), [name.as_str()]);
    assert_eq!(
        fs::read(scratch.file(&name)).expect("text"),
        text("one").as_bytes()
    );
    assert_eq!(mode(&scratch.queue()), 0o700);
    for file in files.iter().map(String::as_str).chain([".smtpmail-lock"]) {
        assert_eq!(mode(&scratch.file(file)), 0o600, "{file}");
    }
}

#[test]
fn all_that_was_given_comes_back() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let text = text("one");
    let mut new = entry(
        "ü\"\\\n@example.org",
        State::Scheduled { until: later() },
        text.as_bytes(),
    );
    new.stored_variables.server = Some(Value::Text("mail.example.org".into()));
    new.stored_variables.stream_type = Some(Value::Symbol("starttls".into()));
    new.stored_variables.service = Some(Value::Integer(587));
    new.stored_variables.user = Some(Value::Nil);
    new.facts.sender = Some(String::new());
    new.facts
        .other
        .insert("local-domain".into(), Value::Text("example.org".into()));
    let (recipients, variables, facts) = (
        new.recipients.clone(),
        new.stored_variables.clone(),
        new.facts.clone(),
    );
    let added = outbox.add(new, &AtomicBool::new(false)).expect("queued");

    let listing = scratch.outbox().entries().expect("readable");
    assert_eq!(listing.problems, []);
    let [listed] = &listing.entries[..] else {
        panic!("one entry")
    };
    assert_eq!(listed.name, added.name);
    assert_eq!(listed.recipients, recipients);
    assert_eq!(listed.stored_variables, variables);
    let told_by_header = Facts {
        from: Some("me@example.org".into()),
        message_id: Some("<one>".into()),
        subject: Some("one".into()),
        ..facts
    };
    assert_eq!(listed.facts, told_by_header);
    assert_eq!(listed.state, State::Scheduled { until: later() });
    assert_eq!(listed.bytes, text.len() as u64);
    assert!(!listed.is_foreign);
}

#[test]
fn the_index_lists_what_any_program_may_send() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let past = SystemTime::UNIX_EPOCH;
    let sendable = [
        State::Waiting,
        State::Deferred { next_try: later() },
        State::Scheduled { until: past },
    ];
    let others = [
        State::Held,
        State::Refused,
        State::Unknown,
        State::Scheduled { until: later() },
    ];
    let mut listed = Vec::new();
    for (count, state) in sendable.into_iter().chain(others).enumerate() {
        let name = add(&outbox, &count.to_string(), state)
            .expect("queued")
            .name;
        if state.is_sendable(SystemTime::now()) {
            listed.push(name.to_string());
        } else {
            assert!(
                !scratch.file(name.as_str()).exists(),
                "{state:?} is in sight of other programs"
            );
        }
    }
    assert_eq!(scratch.index(), listed);
    assert_eq!(outbox.entries().expect("readable").entries.len(), 7);
    assert_eq!(scratch.index(), listed);
}

#[test]
fn every_outcome_is_on_the_disk() {
    let table: [(Outcome, Option<State>, u32); 7] = [
        (Outcome::Accepted, None, 0),
        (Outcome::Dropped, None, 0),
        (
            Outcome::Deferred {
                reply: "451 later".into(),
                next_try: later(),
            },
            Some(State::Deferred { next_try: later() }),
            1,
        ),
        (Outcome::Held, Some(State::Held), 0),
        (
            Outcome::Refused {
                reply: "550 no".into(),
            },
            Some(State::Refused),
            1,
        ),
        (
            Outcome::Unknown {
                reply: "line broke".into(),
            },
            Some(State::Unknown),
            1,
        ),
        (Outcome::Waiting, Some(State::Waiting), 0),
    ];
    for is_marked in [false, true] {
        for (outcome, expected, attempts) in &table {
            let scratch = Scratch::new();
            let outbox = scratch.outbox();
            let name = add(&outbox, "one", State::Waiting).expect("queued").name;
            let mut claim = outbox.claim(&name).expect("lockable").expect("free");
            if is_marked {
                assert_eq!(outbox.mark_sending([&mut claim]).expect("marked"), []);
                assert_eq!(scratch.index(), Vec::<String>::new());
                assert_eq!(
                    states(&outbox.entries().expect("readable")),
                    [("one".into(), State::Sending)]
                );
                assert!(!scratch.file(name.as_str()).exists());
            }
            assert!(claim.settle(outcome.clone()).expect("settled"));
            let again = claim
                .settle(Outcome::Accepted)
                .expect_err("one outcome only");
            assert_eq!(again.kind, ErrorKind::Misuse);
            drop(claim);
            outbox.sync().expect("durable");

            let listing = scratch.outbox().entries().expect("readable");
            assert_eq!(listing.problems, []);
            assert_eq!(
                listing.entries.first().map(|entry| entry.state),
                *expected,
                "{outcome:?}"
            );
            let is_sendable = expected.is_some_and(|state| state.is_sendable(SystemTime::now()));
            assert_eq!(scratch.index().len(), usize::from(is_sendable));
            assert_eq!(scratch.file(name.as_str()).exists(), is_sendable);
            if let Some(entry) = listing.entries.first() {
                assert_eq!(entry.facts.attempts, *attempts);
                assert_eq!(entry.facts.last_reply.is_some(), *attempts > 0);
                assert_eq!(scratch.files().len(), 3, "{:?}", scratch.files());
            } else {
                assert_eq!(
                    scratch.files(),
                    ["index".to_owned()].into(),
                    "an empty index stays"
                );
            }
        }
    }
}

#[test]
fn partial_acceptance_keeps_those_who_wait() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    scratch.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("one"));
    let refused = vec![RefusedRecipient {
        recipient: "c@x".into(),
        reply: "550 no".into(),
    }];
    let mut claim = outbox
        .claim(&name("2026-01-01_00:00:00_1"))
        .expect("lockable")
        .expect("free");
    outbox.mark_sending([&mut claim]).expect("marked");
    claim.keep_recipients(vec!["b@x".into()], refused.clone());
    claim
        .settle(Outcome::Deferred {
            reply: "450 busy".into(),
            next_try: later(),
        })
        .expect("settled");
    drop(claim);
    outbox.sync().expect("durable");
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.entries[0].recipients, ["b@x"]);
    assert_eq!(listing.entries[0].facts.refused_recipients, refused);

    let mut claim = outbox
        .claim(&listing.entries[0].name)
        .expect("lockable")
        .expect("free");
    claim.keep_recipients(vec![], vec![]);
    let error = claim.settle(Outcome::Waiting).expect_err("nobody is left");
    assert_eq!(error.kind, ErrorKind::Misuse);
}

#[test]
fn the_user_can_hold_release_schedule_and_drop() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let name = add(&outbox, "one", State::Waiting).expect("queued").name;
    for (outcome, lines) in [
        (Outcome::Held, 0),
        (Outcome::Waiting, 1),
        (Outcome::Scheduled { until: later() }, 0),
        (Outcome::Waiting, 1),
        (Outcome::Dropped, 0),
    ] {
        assert!(outbox.change(&name, outcome.clone()).expect("changed"));
        assert_eq!(scratch.index().len(), lines, "{outcome:?}");
    }
    assert!(!outbox.change(&name, Outcome::Held).expect("gone"));
    assert_eq!(scratch.files(), ["index".to_owned()].into());
}

#[test]
fn a_claim_is_exclusive_and_ends_with_its_drop() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let name = add(&outbox, "one", State::Waiting).expect("queued").name;
    let claim = outbox.claim(&name).expect("lockable").expect("free");
    assert!(outbox.claim(&name).expect("lockable").is_none());
    assert!(scratch.outbox().claim(&name).expect("lockable").is_none());
    assert_eq!(id_of(&claim.text().expect("readable")), "one");
    assert_eq!(id_of(&claim.text().expect("readable twice")), "one");
    drop(claim);
    assert!(outbox.claim(&name).expect("lockable").is_some());
    assert!(
        outbox
            .claim(&outbox_support::name("other"))
            .expect("nothing there")
            .is_none()
    );
}

#[test]
fn only_sendable_claims_are_marked_and_all_or_none() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let waiting = add(&outbox, "one", State::Waiting).expect("queued").name;
    let held = add(&outbox, "two", State::Held).expect("queued").name;
    let mut waiting = outbox.claim(&waiting).expect("lockable").expect("free");
    let mut held = outbox.claim(&held).expect("lockable").expect("free");
    let error = outbox
        .mark_sending([&mut waiting, &mut held])
        .expect_err("one is held");
    assert_eq!(error.kind, ErrorKind::Misuse);
    assert_eq!(scratch.index().len(), 1);
    outbox.mark_sending([&mut waiting]).expect("marked");
    let error = outbox
        .mark_sending([&mut waiting])
        .expect_err("marked before");
    assert_eq!(error.kind, ErrorKind::Misuse);
    let error = scratch
        .outbox()
        .mark_sending([&mut held])
        .expect_err("another outbox's");
    assert_eq!(error.kind, ErrorKind::Misuse);
}

#[test]
fn what_another_program_sent_meanwhile_is_not_sent() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let gone = add(&outbox, "gone", State::Waiting).expect("queued").name;
    let stays = add(&outbox, "stays", State::Waiting).expect("queued").name;
    let mut claims: Vec<_> = [&gone, &stays]
        .map(|name| outbox.claim(name).expect("lockable").expect("free"))
        .into();
    fs::remove_file(scratch.file(gone.as_str())).expect("there");
    fs::remove_file(scratch.file(&format!("{gone}.el"))).expect("there");
    let unmarked = Unmarked {
        name: gone,
        why: Obstacle::Gone,
    };
    assert_eq!(
        outbox.mark_sending(&mut claims).expect("marked"),
        [unmarked]
    );
    assert!(
        !claims[0]
            .settle(Outcome::Waiting)
            .expect("nothing to write")
    );
    assert!(claims[1].settle(Outcome::Accepted).expect("removed"));
    drop(claims);
    outbox.sync().expect("durable");
    assert_eq!(scratch.files(), ["index".to_owned()].into());
}

#[test]
fn a_dropped_mark_is_unknown_until_the_user_decides() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let name = add(&outbox, "one", State::Waiting).expect("queued").name;
    let mut claim = outbox.claim(&name).expect("lockable").expect("free");
    outbox.mark_sending([&mut claim]).expect("marked");
    drop(claim);
    let mut claim = outbox.claim(&name).expect("lockable").expect("free");
    assert_eq!(claim.state(), State::Unknown);
    assert!(outbox.mark_sending([&mut claim]).is_err());
    drop(claim);
    assert_eq!(
        states(&outbox.entries().expect("readable")),
        [("one".into(), State::Unknown)]
    );
    assert_eq!(scratch.index().len(), 0);
    assert!(
        outbox
            .change(&name, Outcome::Waiting)
            .expect("the user's word")
    );
    assert_eq!(scratch.index(), [name.as_str()]);
    assert_eq!(
        scratch.files().len(),
        3,
        "the window is over: {:?}",
        scratch.files()
    );
}

#[test]
fn marks_of_what_was_not_sent_are_taken_back_as_if_they_had_never_been() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    for id in ["one", "two", "three"] {
        add(&outbox, id, State::Waiting).expect("queued");
    }
    // So young that its line might still be on its way into the index.
    scratch.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("stock"));
    let (files, index) = (scratch.files(), scratch.index());
    let listed = outbox.entries().expect("readable").entries;
    let names: Vec<_> = listed.into_iter().map(|entry| entry.name).collect();
    let claims = outbox.claim_all(&names).into_iter();
    let mut claims: Vec<_> = claims
        .map(|c| c.expect("lockable").expect("free"))
        .collect();
    for _ in 0..2 {
        assert_eq!(outbox.mark_sending(&mut claims).expect("marked"), []);
        assert!(claims.iter().all(|claim| claim.is_marked()));
        assert!(scratch.index().is_empty());
        // One of them is not the whole window.
        outbox.unmark(&mut claims[..1]).expect("nothing to do");
        assert!(claims[0].is_marked() && scratch.index().is_empty());
        outbox.unmark(&mut claims).expect("taken back");
        assert!(!claims.iter().any(|claim| claim.is_marked()));
        assert_eq!(
            (scratch.files(), scratch.index()),
            (files.clone(), index.clone())
        );
    }
    // One has its outcome: the mark of the others is as good as it was.
    outbox.mark_sending(&mut claims).expect("marked");
    claims[1].settle(Outcome::Accepted).expect("settled");
    outbox.unmark(&mut claims).expect("nothing to do");
    drop(claims);
    let listed = outbox.entries().expect("readable").entries;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|entry| entry.state == State::Unknown));
}

#[test]
fn a_prepared_text_is_queued_as_written_and_removed_if_not() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let unused = outbox.prepare_text().expect("a file");
    let file = unused.path().to_owned();
    assert!(
        file.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'))
    );
    outbox.entries().expect("readable");
    assert!(
        file.exists(),
        "the tidying leaves living writers' files alone"
    );
    drop(unused);
    assert!(!file.exists());

    let prepared = outbox.prepare_text().expect("a file");
    fs::write(prepared.path(), text("big")).expect("writable");
    let mut new = entry("you@example.org", State::Waiting, b"");
    new.text = Text::Prepared(prepared);
    let added = outbox.add(new, &AtomicBool::new(false)).expect("queued");
    assert_eq!(
        fs::read_to_string(scratch.file(added.name.as_str())).expect("text"),
        text("big")
    );
    assert_eq!(scratch.files().len(), 3);

    let replaced = outbox.prepare_text().expect("a file");
    fs::remove_file(replaced.path()).expect("there");
    symlink("/etc/passwd", replaced.path()).expect("free");
    let mut new = entry("you@example.org", State::Waiting, b"");
    new.text = Text::Prepared(replaced);
    let error = outbox
        .add(new, &AtomicBool::new(false))
        .expect_err("not our file");
    assert_eq!(error.kind, ErrorKind::Hostile);
}

#[test]
fn cancelling_before_the_commit_leaves_nothing_at_every_step() {
    for at in 0.. {
        let scratch = Scratch::new();
        let cancel = Arc::new(AtomicBool::new(false));
        let (count, flag) = (AtomicUsize::new(0), Arc::clone(&cancel));
        let renames = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&renames);
        let outbox = Outbox::open_with(
            &scratch.queue(),
            "index",
            Some(Arc::new(move |step, _: &Path| {
                if count.fetch_add(1, Ordering::Relaxed) == at {
                    flag.store(true, Ordering::Relaxed);
                }
                if step == Step::Rename && !flag.load(Ordering::Relaxed) {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })),
        )
        .expect("good names");
        let text = text("one");
        let result = outbox.add(entry("a@x", State::Waiting, text.as_bytes()), &cancel);
        if !cancel.load(Ordering::Relaxed) {
            assert!(at > 8, "all steps were tried");
            break;
        }
        let left = scratch.outbox().entries().expect("readable").entries.len();
        match result {
            Ok(_) => assert_eq!(left, 1),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Cancelled);
                assert_eq!(left, 0);
                assert_eq!(
                    renames.load(Ordering::Relaxed),
                    0,
                    "cancelled after the commit began"
                );
                let files: Vec<_> = scratch.files().into_iter().collect();
                assert!(files.is_empty(), "{files:?}");
            }
        }
    }
}

/// Each step fails once, and then each fails from that step on, as a full disk does.
#[test]
fn no_failing_step_loses_or_doubles_a_message() {
    for is_lasting in [false, true] {
        for at in 0.. {
            let scratch = Scratch::new();
            add(&scratch.outbox(), "before", State::Waiting).expect("queued");
            let count = AtomicUsize::new(0);
            let has_failed = Arc::new(AtomicBool::new(false));
            let failed = Arc::clone(&has_failed);
            let hook = move |_: Step, _: &Path| {
                let now = count.fetch_add(1, Ordering::Relaxed);
                if now == at || is_lasting && now > at {
                    failed.store(true, Ordering::Relaxed);
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                Ok(())
            };
            let outbox = Outbox::open_with(&scratch.queue(), "index", Some(Arc::new(hook)));
            let result = add(&outbox.expect("good names"), "new", State::Waiting);
            if !has_failed.load(Ordering::Relaxed) {
                result.expect("nothing failed");
                assert!(at > 8, "all steps were tried");
                break;
            }
            let listing = scratch.outbox().entries().expect("readable");
            let new = listing
                .entries
                .iter()
                .filter(|entry| entry.facts.message_id.as_deref() == Some("<new>"));
            match (&result, new.count()) {
                (Ok(added), 1) => assert!(added.index_error.is_some(), "step {at}"),
                (Err(_), 0) => {}
                (Err(error), 1) => {
                    assert!(
                        error.kind == ErrorKind::NotDurable && error.text.contains("may remain"),
                        "{error}"
                    );
                }
                (result, count) => panic!("step {at}: {result:?} and {count} entries"),
            }
            assert_eq!(scratch.index().len(), listing.entries.len(), "step {at}");
            assert!(
                !scratch.files().iter().any(|file| file.ends_with(".new")),
                "step {at}"
            );
        }
    }
}

#[test]
fn a_thousand_messages_keep_their_order_and_their_names_apart() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let outbox = outbox.clone();
            std::thread::spawn(move || {
                (0..50).for_each(|count| {
                    add(&outbox, &format!("{thread}-{count:03}"), State::Waiting).expect("queued");
                });
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no panic"));
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.entries.len(), 200);
    for thread in 0..4 {
        let prefix = format!("{thread}-");
        let order: Vec<_> = states(&listing)
            .into_iter()
            .map(|(id, _)| id)
            .filter(|id| id.starts_with(&prefix))
            .collect();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(order, sorted);
    }
    let names: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| entry.name.to_string())
        .collect();
    assert_eq!(scratch.index(), names);
}
