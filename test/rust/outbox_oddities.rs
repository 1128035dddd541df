//! What others left in the directory: entries of other programs, oddities, hostile files.

mod outbox_support;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use outbox_support::{Scratch, add, states, text};
use smtpmail_core::outbox::{ErrorKind, Outbox, ProblemKind, State, Step};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
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

/// Each name of the queue's own files, as a link, a FIFO, a directory, and
/// larger than any disk: what stands there is neither followed, nor waited for,
/// nor replaced.
#[test]
fn hostile_files_in_the_place_of_ours_are_not_followed() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 4] = [
        ("link", |path, secret| symlink(secret, path).expect("free")),
        ("fifo", |path, _| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.expect("mkfifo runs").success());
        }),
        ("directory", |path, _| fs::create_dir(path).expect("free")),
        ("huge", |path, _| {
            let file = fs::File::create(path).expect("free");
            file.set_len(1 << 40).expect("a sparse file");
        }),
    ];
    for (plant, make) in plants {
        for name in [
            "index",
            ".smtpmail-lock",
            ".smtpmail-set-aside",
            ".smtpmail-1.window",
            ".smtpmail-1.new",
        ] {
            let scratch = Scratch::new();
            let secret = scratch.path().join("secret");
            fs::write(&secret, "keep me").expect("writable");
            fs::create_dir(scratch.queue()).expect("free");
            let path = scratch.file(name);
            make(&path, &secret);
            let kind = fs::symlink_metadata(&path).expect("made").file_type();
            let outbox = scratch.outbox();
            // Whether it is queued depends on the file; that it ends does not.
            let added = add(&outbox, "one", State::Waiting);
            let listed = outbox.entries();
            if let (Ok(_), Ok(listing)) = (&added, &listed) {
                assert_eq!(listing.entries.len(), 1, "{plant} as {name}");
            }
            if name == "index" {
                assert!(added.is_err(), "{plant} as {name}");
            }
            if let Ok(now) = fs::symlink_metadata(&path) {
                assert_eq!(now.file_type(), kind, "{plant} as {name}");
            } else {
                // A temporary file of nobody goes, whatever it is.
                assert!(name.ends_with(".new"), "{plant} as {name} is gone");
            }
            let kept = fs::read_to_string(&secret).expect("untouched");
            assert_eq!(kept, "keep me", "{plant} as {name}");
        }
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
