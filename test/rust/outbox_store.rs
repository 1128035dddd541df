//! The outbox in one process: what is on the disk after each call.

mod outbox_support;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use outbox_support::{Scratch, add, entry, id_of, name, states, text};
use smtpmail_core::outbox::{
    ErrorKind, Facts, Outbox, Outcome, ProblemKind, RefusedRecipient, State, Step, Text, Value,
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
    assert_eq!(outbox.mark_sending(&mut claims).expect("marked"), [gone]);
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
fn what_the_built_in_and_scripts_append_are_entries() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let ours = add(&outbox, "ours", State::Waiting).expect("queued").name;
    scratch.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("stock"));
    scratch.add_as_built_in("by-a-script", "b@x", &text("script"));
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.problems, []);
    let mut found = states(&listing);
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ["ours", "script", "stock"].map(|id| (id.to_owned(), State::Waiting));
    assert_eq!(found, expected);
    assert_eq!(
        listing
            .entries
            .iter()
            .filter(|entry| entry.is_foreign)
            .count(),
        2
    );
    let mut index = scratch.index();
    index.sort();
    assert_eq!(
        index,
        ["2026-01-01_00:00:00_1", ours.as_str(), "by-a-script"]
    );

    // The built-in's flush of our 2.3 format ends by emptying the index, whatever was queued meanwhile.
    fs::write(scratch.file("index"), "").expect("writable");
    std::thread::sleep(Duration::from_millis(2100)); // until foreign entries are surely finished
    outbox.entries().expect("readable");
    assert_eq!(scratch.index().len(), 3);
}

#[test]
fn odd_entries_are_reported_and_stay() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let good = add(&outbox, "good", State::Waiting).expect("queued").name;
    let outside = scratch.path().join("outside");
    fs::write(&outside, "secret").expect("writable");
    let write =
        |file: &str, content: &str| fs::write(scratch.file(file), content).expect("writable");
    let stock = "(setq      smtpmail-recipient-address-list (\"a@x\")\n)\n";
    // Kind, metadata, text: each under its own name and in the index.
    let table = [
        (
            ProblemKind::UnexpectedCode,
            Some("(delete-file \"index\")\n"),
            Some("x"),
        ),
        (
            ProblemKind::HalfWritten,
            Some("(setq      smtpmail-recipient-addr"),
            Some("x"),
        ),
        (ProblemKind::HalfWritten, Some(""), Some("x")),
        (ProblemKind::MissingText, Some(stock), None),
        (ProblemKind::MissingMetadata, None, Some("x")),
        (
            ProblemKind::NoRecipients,
            Some("(setq      smtpmail-recipient-address-list nil\n)\n"),
            Some("x"),
        ),
    ];
    let mut expected = Vec::new();
    for (count, (kind, metadata, text)) in table.iter().enumerate() {
        let base = format!("odd-{count}");
        if let Some(metadata) = metadata {
            write(&format!("{base}.el"), metadata);
        }
        if let Some(text) = text {
            write(&base, text);
        }
        scratch.append_to_index(&format!("{}\n", scratch.file(&base).display()));
        expected.push(*kind);
    }
    // A link, a FIFO and a directory as text, a link as metadata.
    for base in ["link", "fifo", "directory"] {
        write(&format!("{base}.el"), stock);
        expected.push(ProblemKind::NotPlainFile);
    }
    symlink(&outside, scratch.file("link")).expect("free");
    let fifo = std::process::Command::new("mkfifo")
        .arg(scratch.file("fifo"))
        .status();
    assert!(fifo.expect("mkfifo runs").success());
    fs::create_dir(scratch.file("directory")).expect("free");
    write("linked-metadata", "x");
    symlink(&outside, scratch.file("linked-metadata.el")).expect("free");
    expected.push(ProblemKind::NotPlainFile);
    let big = fs::File::create(scratch.file("big.el")).expect("free");
    big.set_len(1 << 40).expect("sparse");
    write("big", "x");
    expected.push(ProblemKind::TooLarge);
    // Nobody's: not a mail, not in the index.
    write("init.el", "(require 'smtpmail)");
    write("notes", "x");
    for line in ["/etc/passwd", "../outside", "/etc/../etc/hosts"] {
        scratch.append_to_index(&format!("{line}\n"));
        expected.push(ProblemKind::OutsideDirectory);
    }
    scratch.append_to_index("/etc/gr\u{fc}n\u{0}\n");
    expected.push(ProblemKind::OutsideDirectory);
    // Lines to nothing: what they named was sent.
    scratch.append_to_index(&format!("{}\n", scratch.file("sent-long-ago").display()));
    expected.sort();

    std::thread::sleep(Duration::from_millis(2100)); // until nobody can still be writing
    let before = scratch.files();
    for round in 0..2 {
        let listing = outbox.entries().expect("readable");
        let mut kinds: Vec<_> = listing
            .problems
            .iter()
            .map(|problem| problem.kind)
            .collect();
        kinds.sort();
        assert_eq!(kinds, expected, "round {round}: {:#?}", listing.problems);
        assert_eq!(
            states(&listing),
            [("good".into(), State::Waiting)],
            "round {round}"
        );
        assert_eq!(scratch.index(), [good.as_str()], "round {round}");
    }
    let mut after = scratch.files();
    assert!(after.remove(".smtpmail-set-aside"), "the lines are kept");
    assert_eq!(after, before, "nothing was removed");
    assert_eq!(fs::read_to_string(&outside).expect("untouched"), "secret");
}

#[test]
fn names_with_maildir_flags_are_taken_back() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let ours = add(&outbox, "ours", State::Waiting)
        .expect("queued")
        .name
        .to_string();
    scratch.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("stock"));
    for file in [
        ours.clone(),
        "2026-01-01_00:00:00_1".into(),
        "2026-01-01_00:00:00_1.el".into(),
    ] {
        fs::rename(scratch.file(&file), scratch.file(&format!("{file}:2,S"))).expect("there");
    }
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.problems, []);
    assert_eq!(listing.entries.len(), 2);
    assert_eq!(scratch.index().len(), 2);
    assert!(scratch.file(&ours).exists() && scratch.file("2026-01-01_00:00:00_1.el").exists());
}

#[test]
fn later_versions_keep_their_line_and_are_not_sent() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let name = add(&outbox, "one", State::Waiting).expect("queued").name;
    let file = scratch.file(&format!("{name}.el"));
    let later = fs::read_to_string(&file)
        .expect("ours")
        .replace("smtpmail-entry 1", "smtpmail-entry 2");
    fs::write(&file, &later).expect("writable");
    let listing = outbox.entries().expect("readable");
    assert_eq!(listing.entries, []);
    assert_eq!(listing.problems[0].kind, ProblemKind::UnsupportedVersion);
    assert_eq!(scratch.index(), [name.as_str()]);
    assert_eq!(
        outbox.claim(&name).err().map(|error| error.kind),
        Some(ErrorKind::Damaged)
    );
    assert_eq!(fs::read_to_string(&file).expect("untouched"), later);
}

#[test]
fn hostile_directories_and_indexes_are_refused() {
    let scratch = Scratch::new();
    let secret = scratch.path().join("secret");
    fs::write(&secret, "keep me").expect("writable");
    fs::create_dir(scratch.queue()).expect("free");
    symlink(&secret, scratch.file("index")).expect("free");
    let outbox = scratch.outbox();
    let error = add(&outbox, "one", State::Waiting).expect_err("the index is a link");
    assert_eq!(error.kind, ErrorKind::Hostile);
    assert_eq!(outbox.entries().expect("readable").entries, []);
    assert_eq!(fs::read_to_string(&secret).expect("untouched"), "keep me");

    let file = Outbox::open(&secret, "index").expect("a good name");
    assert_eq!(
        add(&file, "one", State::Waiting).expect_err("a file").kind,
        ErrorKind::Hostile
    );
    for (directory, index) in [
        ("relative", "index"),
        ("/a\nb", "index"),
        ("/a", ""),
        ("/a", "b/"),
    ] {
        let error = Outbox::open(Path::new(directory), index)
            .err()
            .expect("cannot work");
        assert_eq!(error.kind, ErrorKind::Misuse);
    }
}

#[test]
fn a_directory_that_others_can_write_is_reported_and_keeps_its_mode() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.queue()).expect("free");
    fs::set_permissions(scratch.queue(), fs::Permissions::from_mode(0o777)).expect("ours");
    let outbox = scratch.outbox();
    add(&outbox, "one", State::Waiting).expect("queued");
    let problems = outbox.entries().expect("readable").problems;
    assert_eq!(problems[0].kind, ProblemKind::DirectoryWritableByOthers);
    assert_eq!(mode(&scratch.queue()), 0o777);
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

#[test]
fn lines_appended_while_the_index_is_replaced_are_kept() {
    let scratch = Arc::new(Scratch::new());
    let other = Arc::clone(&scratch);
    let has_appended = AtomicBool::new(false);
    let hook = move |step: Step, path: &Path| {
        // Between the derivation of the new index and its rename.
        if step == Step::Rename
            && path.ends_with("index")
            && !has_appended.swap(true, Ordering::Relaxed)
        {
            other.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("stock"));
        }
        Ok(())
    };
    let outbox =
        Outbox::open_with(&scratch.queue(), "index", Some(Arc::new(hook))).expect("good names");
    add(&scratch.outbox(), "before", State::Waiting).expect("queued");
    add(&outbox, "new", State::Waiting).expect("queued");
    std::thread::sleep(Duration::from_millis(2100)); // until the foreign entry is surely finished
    scratch.outbox().entries().expect("readable");
    assert_eq!(scratch.index().len(), 3);
}

#[test]
fn where_nothing_can_be_written_listing_still_works() {
    let scratch = Scratch::new();
    add(&scratch.outbox(), "one", State::Waiting).expect("queued");
    // For root, permissions stop nothing, so the hook is the read-only disk.
    scratch.append_to_index("/etc/passwd\n");
    let hook = |_: Step, _: &Path| Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem));
    let outbox =
        Outbox::open_with(&scratch.queue(), "index", Some(Arc::new(hook))).expect("good names");
    let listing = outbox.entries().expect("readable");
    assert_eq!(states(&listing), [("one".into(), State::Waiting)]);
    let kinds: Vec<_> = listing
        .problems
        .iter()
        .map(|problem| problem.kind)
        .collect();
    assert_eq!(
        kinds,
        [ProblemKind::OutsideDirectory, ProblemKind::RepairFailed]
    );
    let error = add(&outbox, "two", State::Waiting).expect_err("nothing can be written");
    assert_eq!(error.io_kind(), Some(io::ErrorKind::ReadOnlyFilesystem));
}

#[test]
fn temporary_files_of_the_dead_go_and_foreign_ones_stay() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    add(&outbox, "one", State::Waiting).expect("queued");
    for file in [
        ".smtpmail-dead.new",
        ".hidden",
        "index~",
        "#notes#",
        "x.new",
    ] {
        fs::File::create(scratch.file(file))
            .and_then(|mut file| file.write_all(b"x"))
            .expect("writable");
    }
    outbox.entries().expect("readable");
    let files = scratch.files();
    assert!(!files.contains(".smtpmail-dead.new"));
    assert!(
        [".hidden", "index~", "#notes#", "x.new"]
            .iter()
            .all(|file| files.contains(*file))
    );
}
