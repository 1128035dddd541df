//! The outbox and the smtpmail that comes with Emacs, in one directory.
//!
//! The built-in is the real one, in `emacs -Q --batch`; only its
//! `smtpmail-via-smtp` is replaced by one that writes down what it was given.

mod outbox_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use outbox_support::{Scratch, add, entry, id_of, states, text};
use smtpmail_core::outbox::{Claim, Obstacle, Outcome, ProblemKind, State, Text, Unmarked, Value};

/// Runs the built-in with our queue, recording what it sends in the file `sent`:
/// recipients and the account's variables, then the text's Message-ID; the text goes to `sent-text`.
const PRELUDE: &str = r#"
(require 'smtpmail)
(require 'message)
(setq smtpmail-queue-dir (file-name-as-directory (getenv "OUTBOX_TEST_QUEUE"))
      user-mail-address "me@example.org" mail-specify-envelope-from nil
      make-backup-files nil)
(defvar test-while-sending nil)
(fset 'smtpmail-via-smtp
      (lambda (recipients buffer &rest _)
        (with-current-buffer buffer
          (goto-char (point-min))
          (re-search-forward "^Message-ID: <\\(.*\\)>")
          (let ((line (format "%S %S %S %S %S %s\n" recipients smtpmail-smtp-server
                              smtpmail-stream-type smtpmail-smtp-service smtpmail-smtp-user
                              (match-string 1)))
                (coding-system-for-write 'no-conversion)
                (out (getenv "OUTBOX_TEST_OUT")))
            (write-region (point-min) (point-max) (concat out "/sent-text") nil 'silent)
            (let ((coding-system-for-write 'utf-8))
              (write-region line nil (concat out "/sent") t 'silent))))
        (when test-while-sending (funcall test-while-sending))
        nil))
"#;

fn emacs(scratch: &Scratch, code: &str) -> Output {
    let file = scratch.path().join("test.el");
    fs::write(&file, format!("{PRELUDE}\n{code}\n")).expect("writable");
    let emacs = std::env::var_os("EMACS").unwrap_or_else(|| "emacs".into());
    Command::new(emacs)
        .args(["-Q", "--batch", "-l"])
        .arg(&file)
        .env("OUTBOX_TEST_QUEUE", scratch.queue())
        .env("OUTBOX_TEST_OUT", scratch.path())
        .env("HOME", scratch.path())
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("these tests need Emacs: set EMACS to its program")
}

fn run(scratch: &Scratch, code: &str) {
    let output = emacs(scratch, code);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn sent(scratch: &Scratch) -> Vec<String> {
    let text = fs::read_to_string(scratch.path().join("sent")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Queues a mail with the built-in's own code.
const QUEUE_ONE: &str = r#"
(setq smtpmail-queue-mail t)
(defun test-queue (id to body)
  (with-temp-buffer
    (insert "From: me@example.org\nTo: " to "\nBcc: hidden@example.org\nSubject: grüße\n"
            "Message-ID: <" id ">\n" mail-header-separator "\n" body "\n")
    (smtpmail-send-it)))
"#;

#[test]
fn what_the_built_in_queues_we_read() {
    let scratch = Scratch::new();
    run(
        &scratch,
        &format!(
            r#"{QUEUE_ONE}
            (setq smtpmail-code-conv-from 'utf-8)
            (test-queue "one" "Ann <ann@example.org>, bob@example.org" "text é")
            (let ((smtpmail-store-queue-variables t) (smtpmail-smtp-server "mail.example.org")
                  (smtpmail-smtp-service 587) (smtpmail-stream-type 'starttls))
              (test-queue "two" "eve@example.org" "."))"#
        ),
    );
    let outbox = scratch.outbox();
    let listing = outbox.entries().expect("readable");
    assert_eq!(
        listing
            .problems
            .iter()
            .filter(|odd| odd.kind != ProblemKind::DirectoryWritableByOthers)
            .count(),
        0,
        "{:?}",
        listing.problems
    );
    let expected = ["one", "two"].map(|id| (id.to_owned(), State::Waiting));
    assert_eq!(states(&listing), expected);
    let [one, two] = &listing.entries[..] else {
        panic!("two entries")
    };
    let mut recipients = one.recipients.clone();
    recipients.sort();
    assert_eq!(
        recipients,
        ["ann@example.org", "bob@example.org", "hidden@example.org"]
    );
    assert_eq!(one.stored_variables.server, None);
    assert_eq!(
        two.stored_variables.server,
        Some(Value::Text("mail.example.org".into()))
    );
    assert_eq!(two.stored_variables.service, Some(Value::Integer(587)));
    assert_eq!(
        two.stored_variables.stream_type,
        Some(Value::Symbol("starttls".into()))
    );
    assert_eq!(two.stored_variables.user, Some(Value::Nil));
    assert_eq!(scratch.index().len(), 2);

    let claim = outbox.claim(&one.name).expect("lockable").expect("free");
    let text = String::from_utf8(claim.text().expect("readable")).expect("UTF-8");
    assert!(
        text.contains("\n\ntext é\n") && !text.contains("hidden"),
        "{text}"
    );
}

#[test]
fn what_we_queue_the_built_in_sends() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let body = b"From: me@example.org\nMessage-ID: <one>\n\n.\n\xe9\xff 8 bit\n";
    let mut new = entry("\u{fc}\"\\x@example.org", State::Waiting, body);
    new.recipients.push("bob@example.org".into());
    new.stored_variables.server = Some(Value::Text("mail.example.org".into()));
    new.stored_variables.stream_type = Some(Value::Symbol("ssl".into()));
    new.stored_variables.service = Some(Value::Text("submissions".into()));
    new.stored_variables.user = Some(Value::Nil);
    new.facts.subject = Some("a\n(error \"evaluated\")\n".into());
    outbox.add(new, &AtomicBool::new(false)).expect("queued");
    run(&scratch, "(smtpmail-send-queued-mail)");
    assert_eq!(
        sent(&scratch),
        [
            r#"("ü\"\\x@example.org" "bob@example.org") "mail.example.org" ssl "submissions" nil one"#
        ]
    );
    assert_eq!(
        fs::read(scratch.path().join("sent-text")).expect("recorded"),
        body
    );
    let listing = outbox.entries().expect("readable");
    assert_eq!((listing.entries, listing.problems), (vec![], vec![]));
    assert_eq!(scratch.files(), ["index".to_owned()].into());
    assert!(scratch.index().is_empty());
}

#[test]
fn the_built_in_sends_what_may_be_sent_and_nothing_else() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let later = SystemTime::now() + Duration::from_secs(3600);
    add(&outbox, "waiting", State::Waiting).expect("queued");
    add(&outbox, "held", State::Held).expect("queued");
    add(&outbox, "scheduled", State::Scheduled { until: later }).expect("queued");
    let deferred = add(&outbox, "deferred", State::Waiting)
        .expect("queued")
        .name;
    let refused = add(&outbox, "refused", State::Waiting)
        .expect("queued")
        .name;
    let unknown = add(&outbox, "unknown", State::Waiting)
        .expect("queued")
        .name;
    let reply = || "said so".to_owned();
    outbox
        .change(
            &deferred,
            Outcome::Deferred {
                reply: reply(),
                next_try: later,
            },
        )
        .expect("changed");
    outbox
        .change(&refused, Outcome::Refused { reply: reply() })
        .expect("changed");
    outbox
        .change(&unknown, Outcome::Unknown { reply: reply() })
        .expect("changed");
    run(
        &scratch,
        &format!(
            "{QUEUE_ONE} (test-queue \"stock\" \"ann@example.org\" \"x\") (smtpmail-send-queued-mail)"
        ),
    );
    let sent: Vec<_> = sent(&scratch)
        .iter()
        .map(|line| line.rsplit(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(
        sent,
        ["waiting", "deferred", "stock"].map(|id| Some(id.to_owned()))
    );
    let listing = outbox.entries().expect("readable");
    let left: Vec<_> = states(&listing).into_iter().map(|(id, _)| id).collect();
    assert_eq!(left, ["held", "scheduled", "refused", "unknown"]);
    assert_eq!(listing.problems, []);
    assert!(scratch.index().is_empty());
}

/// The quoted form of Emacs 27 and older, which 28 sends to `<quote>`.
#[test]
fn our_rewriting_makes_old_entries_sendable_by_the_built_in() {
    let scratch = Scratch::new();
    scratch.add_as_built_in("2019-01-01_00:00:00_1", "unused", &text("old"));
    let quoted = "(setq smtpmail-recipient-address-list '(\"a@x\"))\n";
    fs::write(scratch.file("2019-01-01_00:00:00_1.el"), quoted).expect("writable");
    let outbox = scratch.outbox();
    let name = outbox.entries().expect("readable").entries[0].name.clone();
    let outcome = Outcome::Deferred {
        reply: "451 later".into(),
        next_try: SystemTime::now(),
    };
    outbox.change(&name, outcome).expect("changed");
    run(&scratch, "(smtpmail-send-queued-mail)");
    assert_eq!(sent(&scratch), [r#"("a@x") nil nil 25 nil old"#]);
}

/// The built-in has read the index and is sending the first message when we would
/// mark it and the others: it keeps the first, and finds none of the others.
#[test]
fn a_flush_of_the_built_in_beside_ours_sends_nothing_twice() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    for id in ["one", "two", "three", "four"] {
        add(&outbox, id, State::Waiting).expect("queued");
    }
    let emacs = std::thread::scope(|threads| {
        let code = r#"
            (setq test-while-sending
                  (lambda ()
                    (let ((out (getenv "OUTBOX_TEST_OUT")))
                      (write-region "" nil (concat out "/is-sending") nil 'silent)
                      (while (not (file-exists-p (concat out "/go-on"))) (sleep-for 0.01)))))
            (smtpmail-send-queued-mail)"#;
        let built_in = threads.spawn(|| emacs(&scratch, code));
        wait_for(&scratch.path().join("is-sending"));
        let listing = outbox.entries().expect("readable");
        if cfg!(target_os = "linux") {
            let first = outbox.claim(&listing.entries[0].name);
            let mut first = first.expect("lockable").expect("it locks nothing");
            let unmarked = outbox.mark_sending([&mut first]).expect("readable");
            assert!(
                matches!(
                    unmarked[..],
                    [Unmarked {
                        why: Obstacle::ReadElsewhere { .. },
                        ..
                    }]
                ),
                "{unmarked:?}"
            );
        }
        let mut claims: Vec<Claim> = listing.entries[1..]
            .iter()
            .map(|entry| outbox.claim(&entry.name).expect("lockable").expect("free"))
            .collect();
        assert_eq!(outbox.mark_sending(&mut claims).expect("marked"), []);
        fs::write(scratch.path().join("go-on"), "").expect("writable");
        let output = built_in.join().expect("no panic");
        for claim in &mut claims {
            let id = id_of(&claim.text().expect("ours"));
            claim
                .settle(if id == "four" {
                    Outcome::Waiting
                } else {
                    Outcome::Accepted
                })
                .expect("settled");
        }
        drop(claims);
        outbox.sync().expect("durable");
        output
    });
    assert!(
        !emacs.status.success(),
        "it stops at the first text that it cannot find"
    );
    let sent = sent(&scratch);
    assert!(sent.len() == 1 && sent[0].ends_with(" one"), "{sent:?}");
    let listing = outbox.entries().expect("readable");
    assert_eq!(states(&listing), [("four".to_owned(), State::Waiting)]);
    assert_eq!(listing.problems, []);
    fs::remove_file(scratch.path().join("sent")).expect("recorded");
    run(&scratch, "(smtpmail-send-queued-mail)");
    assert_eq!(
        self::sent(&scratch).len(),
        1,
        "the next flush of the built-in works"
    );
}

fn wait_for(path: &Path) {
    let start = SystemTime::now();
    while !path.exists() {
        assert!(
            start
                .elapsed()
                .is_ok_and(|time| time < Duration::from_secs(60)),
            "{}",
            path.display()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `write-region` writes the prepared file in place, whatever the text.
#[test]
fn emacs_writes_a_prepared_text_in_place() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    let prepared = outbox.prepare_text().expect("a file");
    run(
        &scratch,
        &format!(
            r#"(with-temp-buffer (insert "From: me@example.org\nMessage-ID: <big>\n\n" (make-string 3000000 ?x) "\n")
                 (let ((coding-system-for-write 'no-conversion))
                   (write-region (point-min) (point-max) "{}" nil 'silent)))"#,
            prepared.path().display()
        ),
    );
    let mut new = entry("ann@example.org", State::Waiting, b"");
    new.text = Text::Prepared(prepared);
    let name = outbox
        .add(new, &AtomicBool::new(false))
        .expect("queued")
        .name;
    assert!(
        fs::metadata(scratch.file(name.as_str()))
            .expect("text")
            .len()
            > 3_000_000
    );
    run(&scratch, "(smtpmail-send-queued-mail)");
    assert!(sent(&scratch)[0].ends_with(" big"));
}
