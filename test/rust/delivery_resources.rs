//! What deliveries cost and leave behind: descriptors, threads, processor time.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use smtpmail_core::delivery::{Delivery, Event, Text};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::Phase;

use self::support::*;

/// The tests here count for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

#[test]
fn three_hundred_deliveries_leave_no_descriptor_and_no_thread() {
    let _alone = alone();
    let good = start(options().user(USER, PASSWORD));
    let bad = start(options_on(&["mail=close"]));
    let mut before = None;
    for number in 0..300 {
        let server = if number % 3 == 0 { &bad } else { &good };
        let mut request = request(server);
        if number % 2 == 0 {
            request.plan.security = Security::Never;
        }
        let under = Under::begin(request);
        if number % 5 == 0 {
            under.delivery.cancel();
        }
        under.finish(|_| Some(smtpmail_core::delivery::Answer::Login(None)));
        // The first ones load what stays: the resolver's and the TLS library's.
        if number == 19 {
            assert!(good.wait_until_quiet(WATCHDOG) && bad.wait_until_quiet(WATCHDOG));
            assert_no_threads();
            before = Some(descriptors());
        }
    }
    assert!(good.wait_until_quiet(WATCHDOG) && bad.wait_until_quiet(WATCHDOG));
    assert_no_threads();
    assert_eq!(Some(descriptors()), before);
}

#[test]
fn a_dropped_delivery_ends_by_itself() {
    let _alone = alone();
    let server = start(options_on(&["mail=silence"]));
    for _ in 0..5 {
        let mut under = Under::begin(request(&server));
        assert!(under.until(|event| matches!(event, Event::Phase(Phase::Mail))));
        drop(under.delivery);
        assert_no_threads();
    }
    // Also one whose bell nobody ever heard.
    drop(Delivery::open(request(&server), Box::new(|| {})).unwrap());
    assert_no_threads();
}

/// Clock ticks, of which there are 100 a second, that the courier has used.
fn courier_ticks() -> u64 {
    our_threads()
        .iter()
        .filter(|(_, name)| name.starts_with("smtpmail-couri"))
        .map(|(id, _)| {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap();
            let fields: Vec<_> = stat
                .rsplit_once(')')
                .unwrap()
                .1
                .split_whitespace()
                .collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        })
        .sum()
}

#[test]
fn waiting_costs_no_processor_time() {
    let _alone = alone();
    for security in [Security::Never, Security::Required] {
        for (rule, phase, octets) in [
            ("greeting=silence", Phase::Greeting, 100),
            ("mail=silence", Phase::Mail, 100),
            ("dot=silence", Phase::Final, 100),
            // Room for writing is what is waited for here.
            ("text:1=deaf", Phase::Text, 16 << 20),
            // Half a reply, then nothing.
            (r"mail=reply-silence 250-half\c", Phase::Mail, 100),
        ] {
            let server = start(options_on(&[rule]));
            let mut request = request(&server);
            request.plan.security = security;
            request.messages[0].text = Text::Bytes(large_text(octets));
            let mut under = Under::begin(request);
            assert!(under.until(|event| matches!(event, Event::Phase(now) if *now == phase)));
            std::thread::sleep(Duration::from_millis(300));
            let before = courier_ticks();
            std::thread::sleep(Duration::from_millis(500));
            let used = courier_ticks() - before;
            // A busy loop takes 50 of them, or 25 beside another one.
            assert!(used <= 3, "{security:?} {rule}: {used} ticks");
            under.delivery.cancel();
            under.finish(|_| None);
        }
    }
    // Open questions wait too, with the server there and gone.
    for rule in [
        "noop=close",
        "ehlo-tls=reply-close 250-mx\\r\\n250 AUTH PLAIN",
    ] {
        let server = start(options_on(&[rule]).user(USER, PASSWORD));
        let mut under = Under::begin(request(&server));
        assert!(under.until(|event| matches!(event, Event::Question(..))));
        std::thread::sleep(Duration::from_millis(300));
        let before = courier_ticks();
        std::thread::sleep(Duration::from_millis(500));
        assert!(courier_ticks() - before <= 3, "{rule}");
        under.delivery.cancel();
        under.finish(|_| None);
    }
    assert_no_threads();
}
