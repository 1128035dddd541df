//! Marks that are written before anything goes out, and taken back if nothing does.

mod outbox_support;
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use smtpmail_core::delivery::{
    Envelope, Event, MailObject, Question, QueuePlace, Request, Text, Verdict,
};
use smtpmail_core::outbox::State;
use smtpmail_core::smtp::address::ReversePath;
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_test_server::Server;

use self::outbox_support::{Scratch, add, states};
use self::support::*;

/// More than two windows.
const COUNT: usize = 40;

/// A queue of [`COUNT`] messages.
fn queue() -> Scratch {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    for number in 0..COUNT {
        add(&outbox, &number.to_string(), State::Waiting).expect("durable");
    }
    scratch
}

/// A request for all entries that any program may send.
fn flush_of(scratch: &Scratch, base: Request) -> Request {
    let listing = scratch.outbox().entries().expect("readable");
    let messages = listing.entries.iter().enumerate();
    let messages = messages.map(|(number, entry)| MailObject {
        number,
        envelope: Envelope {
            options: DeliveryOptions::default(),
            reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
            recipients: mailboxes(&["you@example.org"]),
        },
        text: Text::Entry(entry.name.clone()),
    });
    Request {
        messages: messages.collect(),
        queue: Some(QueuePlace {
            directory: scratch.queue(),
            index: "index".into(),
        }),
        ..base
    }
}

fn windows(scratch: &Scratch) -> usize {
    let files = scratch.files();
    files
        .iter()
        .filter(|file| file.ends_with(".window"))
        .count()
}

/// Waits until `is_so`; a watchdog of the test program ends what hangs.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

/// The contents of all files that make up the queue.
fn contents(scratch: &Scratch) -> BTreeMap<String, Vec<u8>> {
    let files = scratch.files().into_iter();
    let read = |file: &String| std::fs::read(scratch.file(file)).expect("readable");
    files.map(|file| (file.clone(), read(&file))).collect()
}

fn assert_all_arrived_once(scratch: &Scratch, server: &Server) {
    let texts = server.messages().into_iter();
    let read = |path: &PathBuf| std::fs::read(path).expect("stored");
    let mut arrived: Vec<usize> = texts
        .map(|stored| outbox_support::id_of(&read(&stored.path)))
        .map(|id| id.parse().expect("a number"))
        .collect();
    arrived.sort_unstable();
    assert_eq!(arrived, (0..COUNT).collect::<Vec<_>>());
    assert!(states(&scratch.outbox().entries().expect("readable")).is_empty());
}

#[test]
fn marked_before_the_server_speaks_and_taken_back_if_it_does_not() {
    let server = start(options_on(&["greeting=silence"]));
    let scratch = queue();
    let before = contents(&scratch);
    let under = Under::begin(flush_of(&scratch, request(&server)));
    wait_until("the first window is marked", || windows(&scratch) == 1);
    wait_until("its marks are taken back", || {
        windows(&scratch) == 0 && scratch.index().len() == COUNT
    });
    assert!(!under.delivery.cancel(), "nothing is on its way");
    let ended = under.finish(|_| None);
    assert!(
        ended
            .reports
            .iter()
            .all(|(_, report)| matches!(report.verdict, Verdict::Failed(_)))
    );
    assert_eq!(contents(&scratch), before);
}

#[test]
fn stopped_before_anything_went_out_all_lies_there_as_it_did() {
    let server = start(options_on(&["ehlo=silence"]));
    let scratch = queue();
    let before = contents(&scratch);
    let under = Under::begin(flush_of(&scratch, request(&server)));
    wait_until("the first window is marked", || windows(&scratch) == 1);
    assert!(!under.delivery.cancel(), "nothing is on its way");
    under.finish(|_| None);
    assert_eq!(contents(&scratch), before);
}

#[test]
fn while_the_user_thinks_nothing_is_marked() {
    let server = start(options().user(USER, PASSWORD));
    let scratch = queue();
    let mut under = Under::begin(flush_of(&scratch, request(&server)));
    assert!(under.until(|event| matches!(event, Event::Question(_, Question::Credentials { .. }))));
    wait_until("no marks are left", || {
        windows(&scratch) == 0 && scratch.index().len() == COUNT
    });
    let ended = under.finish(|_| Some(good_login()));
    assert!(ended.reports.iter().all(|(_, report)| report.logged_in));
    assert_all_arrived_once(&scratch, &server);
    assert_eq!(server.sessions(), 1);
}

#[test]
fn a_refusal_before_the_first_message_leaves_none_unknown() {
    for rule in [
        "greeting=reply 554 no",
        "greeting=close",
        "ehlo=reply 421 not now",
        "mail=reset",
        "rcpt=reply 451 later",
    ] {
        // With CHUNKING the first text would be out before the reply to its MAIL.
        let server = start(without_chunking(options_on(&[rule])));
        let scratch = queue();
        let ended = deliver(Request {
            attempts: 1,
            ..flush_of(&scratch, request(&server))
        });
        assert_eq!(ended.reports.len(), COUNT, "{rule}");
        assert_eq!(windows(&scratch), 0, "{rule}");
        let left = states(&scratch.outbox().entries().expect("readable"));
        assert_eq!(left.len(), COUNT, "{rule}");
        assert!(
            left.iter()
                .all(|(_, state)| matches!(state, State::Waiting | State::Deferred { .. })),
            "{rule}: {left:?}"
        );
        let good = start(options());
        deliver(flush_of(&scratch, request(&good)));
        assert_all_arrived_once(&scratch, &good);
    }
}

#[test]
fn a_server_that_greets_late_gets_each_message_once() {
    let server = start(options_on(&["greeting=delay 1300"]));
    let scratch = queue();
    deliver(flush_of(&scratch, request(&server)));
    assert_all_arrived_once(&scratch, &server);
}
