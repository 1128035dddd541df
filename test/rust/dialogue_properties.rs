//! What the dialogue keeps whatever a server, a user and the network do:
//! random replies and inputs, most of them sensible, some at the wrong moment.

mod dialogue_moments;
mod dialogue_support;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use smtpmail_core::smtp::address::Mailbox;
use smtpmail_core::smtp::dialogue::{
    Input, MAX_COMMAND_OCTETS_IN_FLIGHT, MAX_COMMANDS_IN_FLIGHT, RefusedRecipients,
};

use self::dialogue_support::*;

/// Cases: each takes well under a millisecond.
const CASES: u32 = 4000;

#[test]
fn whatever_happens() {
    let total: RefCell<BTreeMap<&str, usize>> = RefCell::default();
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (any::<u16>(), any::<u16>(), vec(any::<u16>(), 0..120));
    runner
        .run(&strategy, |(seed, extensions, choices)| {
            for (what, count) in walk(seed, extensions, choices.into_iter()) {
                *total.borrow_mut().entry(what).or_default() += count;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    // A walk that never gets anywhere would prove nothing.
    for (what, count) in total.into_inner() {
        assert!(count > 100, "only {count} {what}");
    }
}

/// A connection that is ready and offers PIPELINING.
fn pipelining() -> Observer {
    let mut plan = plan(1);
    plan.refused_recipients = RefusedRecipients::SendRest;
    let mut observer = Observer::new(plan);
    for _ in 0..2 {
        observer.reply(observer.good_reply(1));
    }
    observer
}

#[test]
fn the_window_is_bounded_in_commands() {
    let mut observer = pipelining();
    observer.feed_message(3000, 100);
    assert_eq!(observer.due.len(), MAX_COMMANDS_IN_FLIGHT);
    // Every reply makes room for one command more, until all are out.
    for replies in 1..=3002 {
        observer.reply(observer.good_reply(1));
        let unsent = 3002_usize.saturating_sub(MAX_COMMANDS_IN_FLIGHT + replies);
        if replies < 3002 {
            assert_eq!(observer.due.len(), 3002 - replies - unsent, "{replies}");
        }
    }
    assert_eq!(observer.text, Some(0));
}

#[test]
fn the_window_is_bounded_in_octets() {
    let mut observer = pipelining();
    let local = "u".repeat(60);
    let domain = ["d"; 3].map(|d| d.repeat(60)).join(".");
    let recipients: Vec<Mailbox> = (0..900)
        .map(|n| mailbox(&format!("m0r{n}{}@{domain}.org", &local[..50])))
        .collect();
    let lines: Vec<usize> = recipients.iter().map(|r| r.as_str().len() + 12).collect();
    assert!(lines.iter().sum::<usize>() > 2 * MAX_COMMAND_OCTETS_IN_FLIGHT);
    let mut long = message(0, 1, 100);
    long.recipients = recipients;
    observer.messages.insert(0, Seen::of(900));
    observer.handle(Input::NextMessage(long));
    let sent: usize = lines[..observer.due.len() - 1].iter().sum();
    assert!(
        sent <= MAX_COMMAND_OCTETS_IN_FLIGHT,
        "{sent} octets in flight"
    );
    assert!(
        sent > MAX_COMMAND_OCTETS_IN_FLIGHT - 1024,
        "{sent} octets in flight"
    );
    for _ in 0..902 {
        observer.reply(observer.good_reply(1));
    }
    assert_eq!(observer.text, Some(0));
}
