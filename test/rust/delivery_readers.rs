//! Entries that another program, which locks nothing, takes or reads while they are being
//! delivered: they are left to it, and the others go.

#![cfg(target_os = "linux")]

mod outbox_support;
mod support;

use std::fs;
use std::path::PathBuf;

use smtpmail_core::delivery::{
    Envelope, Event, MailObject, QueuePlace, Report, Request, Text, Verdict,
};
use smtpmail_core::outbox::{EntryName, State};
use smtpmail_core::smtp::address::ReversePath;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_test_server::Server;

use self::outbox_support::{AnotherEmacs, Scratch, add, alone, cat, id_of, states};
use self::support::*;

const IDS: [&str; 5] = ["one", "two", "three", "four", "five"];

fn queue(scratch: &Scratch) -> Vec<EntryName> {
    let outbox = scratch.outbox();
    let add = |id| add(&outbox, id, State::Waiting).expect("queued").name;
    IDS.into_iter().map(add).collect()
}

fn flush_of(scratch: &Scratch, names: &[EntryName], server: &Server) -> Request {
    let messages = names.iter().enumerate().map(|(number, name)| MailObject {
        number,
        envelope: Envelope {
            reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
            recipients: mailboxes(&["you@example.org"]),
            options: DeliveryOptions::default(),
        },
        text: Text::Entry(name.clone()),
    });
    Request {
        messages: messages.collect(),
        queue: Some(QueuePlace {
            directory: scratch.queue(),
            index: "index".into(),
        }),
        ..request(server)
    }
}

fn files(scratch: &Scratch, name: &EntryName) -> [PathBuf; 2] {
    [
        scratch.file(&format!("{name}.el")),
        scratch.file(name.as_str()),
    ]
}

fn arrived(server: &Server) -> Vec<String> {
    let messages = server.messages();
    let texts = messages.iter().map(|m| fs::read(&m.path).expect("stored"));
    texts.map(|text| id_of(&text)).collect()
}

fn left(scratch: &Scratch) -> Vec<(String, State)> {
    let listing = scratch.outbox().entries().expect("readable");
    assert_eq!(listing.problems, []);
    states(&listing)
}

fn kind(report: &Report) -> FailureKind {
    match &report.verdict {
        Verdict::Failed(failure) => failure.kind,
        other => panic!("{other:?}"),
    }
}

/// Delivers all; once the server has been asked for the text of the first one, and takes its time,
/// `meanwhile` happens.
fn deliver_while(
    scratch: &Scratch,
    names: &[EntryName],
    meanwhile: impl FnOnce(),
) -> (Vec<String>, Ended) {
    let server = start(without_chunking(options_on(&["data#1=delay 4000"])));
    let mut under = Under::begin(flush_of(scratch, names, &server));
    assert!(under.until(|event| matches!(event, Event::Phase(Phase::Data))));
    meanwhile();
    let ended = under.finish(|_| None);
    (arrived(&server), ended)
}

#[test]
fn what_is_read_under_way_is_left_to_its_reader() {
    let _turn = alone();
    let scratch = Scratch::new();
    let _emacs = AnotherEmacs::start(&scratch);
    let names = queue(&scratch);
    let [metadata, text] = files(&scratch, &names[0]);
    let (arrived, ended) = deliver_while(&scratch, &names, || cat(&[&metadata, &text]));
    assert_eq!(arrived, IDS[1..], "{}", ended.trace());
    assert_eq!(left(&scratch), [("one".to_owned(), State::Waiting)]);
    assert_eq!(scratch.index(), [names[0].to_string()]);
    let (_, report) = ended.reports.iter().find(|(n, _)| *n == 0).expect("one");
    assert_eq!(kind(report), FailureKind::ReadElsewhere);
}

#[test]
fn what_is_removed_under_way_is_not_sent() {
    let _turn = alone();
    let scratch = Scratch::new();
    let names = queue(&scratch);
    let gone = files(&scratch, &names[0]);
    let (arrived, ended) = deliver_while(&scratch, &names, || {
        for file in &gone {
            fs::remove_file(file).expect("there");
        }
    });
    assert_eq!(arrived, IDS[1..], "{}", ended.trace());
    assert_eq!(left(&scratch), []);
    let (_, report) = ended.reports.iter().find(|(n, _)| *n == 0).expect("one");
    assert_eq!(kind(report), FailureKind::Busy);
}

#[test]
fn what_was_read_before_waits_unless_the_user_knows_better() {
    let _turn = alone();
    let scratch = Scratch::new();
    let _emacs = AnotherEmacs::start(&scratch);
    let names = queue(&scratch);
    for name in [&names[1], &names[3]] {
        let [metadata, text] = files(&scratch, name);
        cat(&[&metadata, &text]);
    }
    let server = start(options());
    let ended = deliver(flush_of(&scratch, &names, &server));
    assert_eq!(
        arrived(&server),
        ["one", "three", "five"],
        "{}",
        ended.trace()
    );
    let waiting = |id: &str| (id.to_owned(), State::Waiting);
    assert_eq!(left(&scratch), ["two", "four"].map(waiting));
    let again = [names[1].clone(), names[3].clone()];
    let ended = deliver(Request {
        despite_readers: true,
        ..flush_of(&scratch, &again, &server)
    });
    assert_eq!(arrived(&server).len(), 5, "{}", ended.trace());
    assert_eq!(left(&scratch), []);
}
