//! A flush that is to end after the messages that the server has in hand: these get their
//! outcomes, nothing further is begun, all others wait as before.

mod outbox_support;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use smtpmail_core::delivery::{
    Envelope, Event, MailObject, QueuePlace, Report, Request, Text, Verdict,
};
use smtpmail_core::outbox::State;
use smtpmail_core::smtp::address::ReversePath;
use smtpmail_core::smtp::failure::FailureKind;
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_test_server::{Options, Server};

use self::outbox_support::{Scratch, add, id_of, states};
use self::support::*;

const COUNT: usize = 40;

fn flush_of(scratch: &Scratch, server: &Server) -> Request {
    let outbox = scratch.outbox();
    let message = |number: usize| MailObject {
        number,
        envelope: Envelope {
            reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
            recipients: mailboxes(&["you@example.org"]),
            options: DeliveryOptions::default(),
        },
        text: Text::Entry(
            add(&outbox, &number.to_string(), State::Waiting)
                .expect("queued")
                .name,
        ),
    };
    Request {
        messages: (0..COUNT).map(message).collect(),
        queue: Some(QueuePlace {
            directory: scratch.queue(),
            index: "index".into(),
        }),
        ..request(server)
    }
}

fn arrived(server: &Server) -> Vec<usize> {
    let stored = server.messages();
    let texts = stored.iter().map(|m| fs::read(&m.path).expect("stored"));
    texts
        .map(|text| id_of(&text).parse().expect("a number"))
        .collect()
}

fn left(scratch: &Scratch) -> BTreeMap<usize, State> {
    let listing = scratch.outbox().entries().expect("readable");
    assert_eq!(listing.problems, []);
    let number = |(id, state): (String, State)| (id.parse().expect("a number"), state);
    states(&listing).into_iter().map(number).collect()
}

fn verdicts(reports: &[(usize, Report)]) -> BTreeMap<usize, &Verdict> {
    assert_eq!(reports.len(), COUNT);
    reports.iter().map(|(n, r)| (*n, &r.verdict)).collect()
}

/// Begins a flush; goes on when five are accepted and the server has all of the sixth.
fn begin(scratch: &Scratch, server: &Server) -> Under {
    let mut under = Under::begin(flush_of(scratch, server));
    let mut finished = 0;
    assert!(under.until(|event| {
        finished += usize::from(matches!(event, Event::Finished(..)));
        finished == 5
    }));
    let is_there = || {
        let log = server.transcript(1).expect("a session");
        log.matches("bytes of message>").count() >= 6
    };
    while !is_there() {
        std::thread::sleep(Duration::from_millis(5));
    }
    under
}

fn slow_servers() -> [(&'static str, Options); 2] {
    [
        ("DATA", without_chunking(options_on(&["dot#6=delay 2500"]))),
        ("BDAT", options_on(&["bdat#6=delay 2500"])),
    ]
}

#[test]
fn what_the_server_has_in_hand_gets_its_outcome_and_nothing_else_begins() {
    for (how, options) in slow_servers() {
        let server = start(options);
        let scratch = Scratch::new();
        let under = begin(&scratch, &server);
        assert!(under.delivery.finish_current(), "{how}");
        let ended = under.finish(|_| None);
        let context = ended.trace();
        let accepted: Vec<usize> = verdicts(&ended.reports)
            .into_iter()
            .filter_map(|(number, verdict)| match verdict {
                Verdict::Accepted(_) => Some(number),
                Verdict::Failed(failure) if failure.kind == FailureKind::Cancelled => None,
                other => panic!("{how}: {number}: {other:?}\n{context}"),
            })
            .collect();
        assert!(
            accepted.len() >= 6 && accepted.len() < COUNT,
            "{how}: {accepted:?}"
        );
        assert_eq!(arrived(&server), accepted, "{how}\n{context}");
        let left = left(&scratch);
        let expected: Vec<usize> = (accepted.len()..COUNT).collect();
        assert_eq!(left.keys().copied().collect::<Vec<_>>(), expected, "{how}");
        assert!(
            left.values().all(|state| *state == State::Waiting),
            "{how}: {left:?}"
        );
        assert_eq!(scratch.index().len(), expected.len());
        assert_eq!(server.sessions(), 1, "{how}: no further connection");
    }
}

#[test]
fn a_second_stop_is_at_once() {
    for (how, _) in slow_servers() {
        let rule = if how == "DATA" {
            "dot#6-=silence"
        } else {
            "bdat#6-=silence"
        };
        let mut options = options_on(&[rule]);
        if how == "DATA" {
            options = without_chunking(options);
        }
        let server = start(options);
        let scratch = Scratch::new();
        let under = begin(&scratch, &server);
        assert!(under.delivery.finish_current(), "{how}");
        assert!(under.delivery.cancel(), "{how}");
        let ended = under.finish(|_| None);
        let left = left(&scratch);
        assert_eq!(left[&5], State::Unknown, "{how}\n{}", ended.trace());
        assert_eq!(left[&(COUNT - 1)], State::Waiting, "{how}");
        assert!(matches!(verdicts(&ended.reports)[&5], Verdict::Unknown(_)));
    }
}

#[test]
fn without_a_message_in_hand_it_stops_at_once() {
    for rule in ["greeting=silence", "rcpt#1=silence", "data#1=silence"] {
        let server = start(without_chunking(options_on(&[rule])));
        let scratch = Scratch::new();
        let under = Under::begin(flush_of(&scratch, &server));
        assert!(!under.delivery.finish_current(), "{rule}");
        let ended = under.finish(|_| None);
        for (number, verdict) in verdicts(&ended.reports) {
            assert!(
                matches!(verdict, Verdict::Failed(failure) if failure.kind == FailureKind::Cancelled),
                "{rule}: {number}: {verdict:?}"
            );
        }
        assert_eq!(left(&scratch).len(), COUNT);
        assert!(
            left(&scratch)
                .values()
                .all(|state| *state == State::Waiting)
        );
    }
}

/// The server leaves while its word is awaited.
#[test]
fn without_its_word_a_message_is_unknown_and_the_others_wait() {
    let server = start(without_chunking(options_on(&["dot#6=silence"])));
    let scratch = Scratch::new();
    let under = begin(&scratch, &server);
    assert!(under.delivery.finish_current());
    drop(server);
    let ended = under.finish(|_| None);
    let left = left(&scratch);
    assert_eq!(left.len(), COUNT - 5, "{}", ended.trace());
    for (number, state) in left {
        match number {
            5 => assert_eq!(state, State::Unknown),
            _ => assert_eq!(state, State::Waiting, "{number}"),
        }
    }
}
