//! Who has read an entry: the times that a file system keeps, and what the outbox makes of
//! them. The readers are other processes, as they are in life.

#![cfg(target_os = "linux")]

mod outbox_support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use outbox_support::{AnotherEmacs, Scratch, add, alone, cat, name, states, text};
use rustix::fs::{StatVfsMountFlags, statvfs};
use smtpmail_core::outbox::{Claim, EntryName, Obstacle, Outbox, Outcome, State, Step, StepHook};

/// A directory whose file system notes who reads; what these tests are about.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    let flags = statvfs(scratch.path()).expect("a file system").f_flag;
    assert!(
        !flags.contains(StatVfsMountFlags::NOATIME),
        "these tests need a temporary directory whose file system keeps times of access"
    );
    scratch
}

fn accessed(path: &Path) -> (i64, i64) {
    let attributes = fs::metadata(path).expect("there");
    (attributes.atime(), attributes.atime_nsec())
}

/// Lets files look as if they had been read, and changed last, so long ago.
fn age(files: &[&Path], read: u64) {
    for file in files {
        let ago = SystemTime::now() - Duration::from_secs(read);
        let times = fs::FileTimes::new()
            .set_accessed(ago)
            .set_modified(ago - Duration::from_secs(3600));
        let file = fs::File::options().write(true).open(file);
        file.expect("ours").set_times(times).expect("ours");
    }
}

fn claim(outbox: &Outbox, name: &EntryName) -> Claim {
    outbox.claim(name).expect("lockable").expect("free")
}

/// What keeps the one entry from being sent, when it is claimed and when it is marked.
fn obstacle(outbox: &Outbox, name: &EntryName) -> Option<Obstacle> {
    let mut claim = claim(outbox, name);
    let seen = claim.obstacle();
    let unmarked = outbox.mark_sending([&mut claim]).expect("marked");
    let why = unmarked.first().map(|unmarked| unmarked.why);
    assert_eq!(seen.is_none(), why.is_none(), "{seen:?} {why:?}");
    if why.is_none() {
        claim.settle(Outcome::Waiting).expect("settled");
    }
    drop(claim);
    outbox.sync().expect("durable");
    why
}

fn is_read_elsewhere(why: Option<Obstacle>) -> bool {
    matches!(why, Some(Obstacle::ReadElsewhere { ago }) if ago < Duration::from_secs(60))
}

/// An outbox with one entry, of ours or of the built-in: its name, text and metadata.
fn one(scratch: &Scratch, ours: bool) -> (Outbox, EntryName, [PathBuf; 2]) {
    let outbox = scratch.outbox();
    let entry = match ours {
        true => add(&outbox, "one", State::Waiting).expect("queued").name,
        false => {
            scratch.add_as_built_in("2026-11-22_18:43:46_1", "a@example.org", &text("one"));
            name("2026-11-22_18:43:46_1")
        }
    };
    let files = [
        scratch.file(entry.as_str()),
        scratch.file(&format!("{entry}.el")),
    ];
    (outbox, entry, files)
}

#[test]
fn what_nobody_has_read_goes_at_once() {
    let _turn = alone();
    for ours in [true, false] {
        let scratch = scratch();
        let _emacs = AnotherEmacs::start(&scratch);
        let (outbox, entry, [text, metadata]) = one(&scratch, ours);
        assert_eq!(obstacle(&outbox, &entry), None);
        // A person looks at the text, or something at the metadata.
        cat(&[&text]);
        assert_eq!(obstacle(&outbox, &entry), None);
        drop((outbox, entry));
        let (outbox, entry, [_, metadata_of_another]) = one(&scratch, ours);
        cat(&[&metadata_of_another]);
        assert_eq!(obstacle(&outbox, &entry), None);
        drop(metadata);
    }
}

#[test]
fn what_another_has_just_read_is_left_alone() {
    let _turn = alone();
    for ours in [true, false] {
        let scratch = scratch();
        let _emacs = AnotherEmacs::start(&scratch);
        let (outbox, entry, [text, metadata]) = one(&scratch, ours);
        cat(&[&metadata, &text]);
        let index = fs::read(scratch.file("index")).expect("an index");
        let content = fs::read(&metadata).expect("there");
        assert!(is_read_elsewhere(obstacle(&outbox, &entry)));
        // Also by a later look, by another of our processes, and after our own looking.
        assert!(is_read_elsewhere(obstacle(&scratch.outbox(), &entry)));
        // Nothing has changed, and nothing is left behind.
        assert_eq!(fs::read(scratch.file("index")).expect("an index"), index);
        assert_eq!(fs::read(&metadata).expect("there"), content);
        let listing = outbox.entries().expect("readable");
        assert_eq!(states(&listing), [("one".to_owned(), State::Waiting)]);
        assert_eq!(scratch.files().len(), 3, "{:?}", scratch.files());
        // The user knows better.
        let mut claim = claim(&outbox, &entry);
        claim.ignore_readers();
        assert_eq!(claim.obstacle(), None);
        assert_eq!(outbox.mark_sending([&mut claim]).expect("marked"), []);
        claim.settle(Outcome::Accepted).expect("settled");
    }
}

#[test]
fn an_outcome_keeps_the_traces_of_readers() {
    let _turn = alone();
    let scratch = scratch();
    let _emacs = AnotherEmacs::start(&scratch);
    let (outbox, entry, [text, metadata]) = one(&scratch, true);
    let mut claim = claim(&outbox, &entry);
    cat(&[&metadata, &text]);
    let outcome = Outcome::Deferred {
        reply: "the network is away".into(),
        next_try: SystemTime::now(),
    };
    claim.settle(outcome).expect("settled");
    drop(claim);
    outbox.sync().expect("durable");
    assert!(is_read_elsewhere(obstacle(&outbox, &entry)));
}

/// The text is in somebody's hands as long as it is open, if the metadata was read before.
#[test]
fn what_is_being_read_is_left_alone() {
    let _turn = alone();
    let scratch = scratch();
    let _emacs = AnotherEmacs::start(&scratch);
    let (outbox, entry, [text, metadata]) = one(&scratch, true);
    let open = || {
        let mut command = Command::new("sh");
        let mut reader = command
            .args(["-c", "exec <\"$0\"; echo; exec sleep 1000"])
            .arg(&text)
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut line = [0];
        let output = reader.stdout.as_mut().expect("piped");
        std::io::Read::read_exact(output, &mut line).expect("it has opened the text");
        reader
    };
    let mut reader = open();
    assert_eq!(obstacle(&outbox, &entry), None, "a person has it open");
    let end = |reader: &mut Child| {
        reader.kill().expect("ours");
        reader.wait().expect("ours");
    };
    end(&mut reader);
    cat(&[&metadata]);
    let mut reader = open();
    assert!(is_read_elsewhere(obstacle(&outbox, &entry)));
    end(&mut reader);
    assert_eq!(obstacle(&outbox, &entry), None);
}

#[test]
fn our_own_reading_leaves_no_trace() {
    let _turn = alone();
    let scratch = scratch();
    let _emacs = AnotherEmacs::start(&scratch);
    for ours in [true, false] {
        let (outbox, entry, [text, metadata]) = one(&scratch, ours);
        let before = [accessed(&text), accessed(&metadata)];
        outbox.entries().expect("readable");
        scratch.outbox().entries().expect("readable");
        let claim = claim(&outbox, &entry);
        assert!(!claim.text().expect("readable").is_empty());
        drop(claim);
        let (read, cut) = outbox
            .read_text(&entry, Some(9))
            .expect("readable")
            .expect("there");
        assert_eq!((&read[..], cut), (&b"From: me@"[..], true));
        assert_eq!([accessed(&text), accessed(&metadata)], before);
        assert_eq!(obstacle(&outbox, &entry), None);
    }
}

/// Read once, a file has its time of access, which later reads do not change: each look
/// makes it ready for the next one, and keeps the time.
#[test]
fn a_later_reader_is_seen_although_one_came_before() {
    let _turn = alone();
    let scratch = scratch();
    let (outbox, entry, [text, metadata]) = one(&scratch, true);
    let looks: [&dyn Fn(); 2] = [&|| drop(outbox.entries().expect("readable")), &|| {
        drop(claim(&outbox, &entry))
    }];
    for look in looks {
        cat(&[&metadata, &text]);
        let times = || [accessed(&metadata), accessed(&text)];
        let before = times();
        look();
        assert_eq!(times(), before);
        // Longer than a tick of the clock by which files are stamped.
        std::thread::sleep(Duration::from_millis(30));
        cat(&[&metadata, &text]);
        let after = times();
        assert!(
            after[0] > before[0] && after[1] > before[1],
            "{before:?} {after:?}"
        );
    }
}

/// What was read long ago, and by nobody since, goes at once.
#[test]
fn what_was_read_long_ago_goes_at_once() {
    let _turn = alone();
    let scratch = scratch();
    let (outbox, entry, files) = one(&scratch, true);
    age(&[&files[0], &files[1]], 7200);
    let mut claim = claim(&outbox, &entry);
    // The setting of the times has armed them a moment ago: an Emacs that has a connection
    // may have read them since, and one that has none has not.
    let unmarked = outbox.mark_sending([&mut claim]).expect("marked");
    let hours = Duration::from_secs(7200)..Duration::from_secs(7260);
    for unmarked in unmarked {
        let Obstacle::ReadElsewhere { ago } = unmarked.why else {
            panic!("{unmarked:?}");
        };
        assert!(hours.contains(&ago), "{ago:?}");
    }
}

/// Tells, as a hook, another program to read at a step.
fn reading_at(step: Step, suffix: &'static str, files: &Arc<Mutex<Vec<PathBuf>>>) -> Arc<StepHook> {
    let files = Arc::clone(files);
    Arc::new(move |now: Step, path: &Path| {
        if now == step && path.to_string_lossy().ends_with(suffix) {
            for file in std::mem::take(&mut *files.lock().expect("no panic")) {
                cat(&[&file]);
            }
        }
        Ok(())
    })
}

/// Between the first look and the hidden name: the entry is put back.
#[test]
fn who_reads_at_the_last_moment_has_it() {
    let _turn = alone();
    // When the window gets its name, and when the text is about to lose its own.
    for suffix in [".window", ".text"] {
        let scratch = scratch();
        let _emacs = AnotherEmacs::start(&scratch);
        let files = Arc::new(Mutex::new(Vec::new()));
        let hook = reading_at(Step::Rename, suffix, &files);
        let outbox = Outbox::open_with(&scratch.queue(), "index", Some(hook)).expect("good names");
        let names = ["one", "two", "three"].map(|id| {
            let added = add(&outbox, id, State::Waiting).expect("queued");
            added.name
        });
        let mut claims: Vec<Claim> = names.iter().map(|name| claim(&outbox, name)).collect();
        *files.lock().expect("no panic") = vec![
            scratch.file(&format!("{}.el", names[1])),
            scratch.file(names[1].as_str()),
        ];
        // With ".text" it is read when the first one is about to be hidden.
        let unmarked = outbox.mark_sending(&mut claims).expect("marked");
        assert_eq!(unmarked.len(), 1, "{suffix}: {unmarked:?}");
        assert_eq!(unmarked[0].name, names[1]);
        assert!(is_read_elsewhere(Some(unmarked[0].why)));
        let others = [0, 2].map(|place| format!(".smtpmail-{}.text", names[place]));
        for file in others {
            assert!(scratch.file(&file).exists(), "{file}");
        }
        assert!(scratch.file(names[1].as_str()).exists());
        assert_eq!(scratch.index(), [names[1].to_string()]);
        for place in [0, 2] {
            claims[place].settle(Outcome::Accepted).expect("settled");
        }
        drop(claims);
        outbox.sync().expect("durable");
        let listing = outbox.entries().expect("readable");
        assert_eq!(states(&listing), [("two".to_owned(), State::Waiting)]);
        assert_eq!(listing.problems, []);
    }
}

/// Read just when its text was about to be hidden, by a program that is done with it, by its
/// own lights, before we have put it back: it is gone.
#[test]
fn what_is_sent_while_it_is_hidden_is_gone() {
    let _turn = alone();
    let scratch = scratch();
    let _emacs = AnotherEmacs::start(&scratch);
    let target: Arc<Mutex<Option<[PathBuf; 2]>>> = Arc::default();
    let has_it: Arc<Mutex<Option<PathBuf>>> = Arc::default();
    let inside = (Arc::clone(&target), Arc::clone(&has_it));
    let hook = move |step: Step, path: &Path| {
        if step == Step::Rename && path.to_string_lossy().ends_with(".text") {
            if let Some([text, metadata]) = inside.0.lock().expect("no panic").take() {
                cat(&[&metadata, &text]);
                *inside.1.lock().expect("no panic") = Some(metadata);
            }
        } else if let Some(metadata) = inside.1.lock().expect("no panic").take() {
            // As the built-in: it does not miss the text, and the metadata goes.
            fs::remove_file(metadata).expect("there");
        }
        Ok(())
    };
    let hook: Arc<StepHook> = Arc::new(hook);
    let outbox = Outbox::open_with(&scratch.queue(), "index", Some(hook)).expect("good names");
    let entry = add(&outbox, "one", State::Waiting).expect("queued").name;
    let mut claim = claim(&outbox, &entry);
    *target.lock().expect("no panic") = Some([
        scratch.file(entry.as_str()),
        scratch.file(&format!("{entry}.el")),
    ]);
    let unmarked = outbox.mark_sending([&mut claim]).expect("marked");
    assert_eq!(unmarked[0].why, Obstacle::Gone, "{unmarked:?}");
    drop(claim);
    let listing = outbox.entries().expect("readable");
    assert_eq!((listing.entries, listing.problems), (vec![], vec![]));
    assert_eq!(scratch.files(), ["index".to_owned()].into());
}
