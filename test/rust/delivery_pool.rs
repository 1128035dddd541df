//! Connections that are kept for the next delivery to the same account: used
//! again, ended when their time is over, replaced without a word when they died.

mod support;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use smtpmail_core::delivery::{Answer, Keep, Question, Request, TrustAnswer, close_kept};
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_test_server::Server;

use self::support::*;

/// As in `delivery::pool`.
const ONE_FLIGHT: Duration = Duration::from_secs(5);

/// The pool is one for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> impl Drop {
    struct Emptied(#[allow(dead_code)] std::sync::MutexGuard<'static, ()>);
    impl Drop for Emptied {
        fn drop(&mut self) {
            close_kept();
        }
    }
    let guard = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    Emptied(guard)
}

/// A request whose connection is kept for longer than any test.
fn kept(server: &Server, account: &str) -> Request {
    Request {
        keep: Keep {
            account: account.into(),
            time: Duration::from_secs(200),
        },
        ..request(server)
    }
}

fn deliver_kept(server: &Server, account: &str) -> Ended {
    Under::begin(kept(server, account)).finish(|_| Some(good_login()))
}

fn said(server: &Server, session: u64, line: &str) -> usize {
    let transcript = server.transcript(session).expect("a transcript");
    transcript
        .lines()
        .filter(|said| said.starts_with(line))
        .count()
}

#[test]
fn ten_messages_go_over_one_login() {
    let _alone = alone();
    let server = start(options().user(USER, PASSWORD));
    for number in 0..10 {
        let ended = deliver_kept(&server, "ada");
        ended.assert_accepted();
        assert!(ended.report.logged_in);
        assert_eq!(ended.questions().len(), usize::from(number == 0));
    }
    assert_eq!((server.sessions(), server.messages().len()), (1, 10));
    close_kept();
    assert!(server.wait_until_quiet(GONE_WITHIN));
    assert_eq!(said(&server, 1, "C: AUTH"), 1);
    assert_eq!(said(&server, 1, "C: QUIT"), 1);
    assert_no_threads();
}

#[test]
fn accounts_do_not_share_a_connection() {
    let _alone = alone();
    let server = start(options());
    for (account, sessions) in [("ada", 1), ("bob", 2), ("ada", 2)] {
        deliver_kept(&server, account).assert_accepted();
        assert_eq!(server.sessions(), sessions, "{account}");
    }
    let other_name = Request {
        plan: smtpmail_core::smtp::dialogue::Plan {
            login_required: true,
            ..kept(&server, "ada").plan
        },
        ..kept(&server, "ada")
    };
    drop(Under::begin(other_name).finish(|_| None));
    assert_eq!(server.sessions(), 3);
}

#[test]
fn a_connection_whose_time_is_over_ends_with_quit() {
    let _alone = alone();
    let server = start(options());
    let request = Request {
        keep: Keep {
            account: String::new(),
            time: Duration::from_millis(200),
        },
        ..request(&server)
    };
    deliver(request).assert_accepted();
    assert_no_threads();
    assert!(server.wait_until_quiet(GONE_WITHIN));
    assert_eq!(said(&server, 1, "C: QUIT"), 1);
}

#[test]
fn without_a_time_nothing_is_kept() {
    let _alone = alone();
    let server = start(options());
    for _ in 0..2 {
        deliver(request(&server)).assert_accepted();
    }
    assert_eq!(server.sessions(), 2);
    assert_no_threads();
}

#[test]
fn a_connection_that_died_meanwhile_is_replaced() {
    let _alone = alone();
    let server = start(options_on(&["dot#1=reply-close 250 2.0.0 Taken"]));
    deliver_kept(&server, "").assert_accepted();
    // It is thrown away when the server ends it, not when it is wanted.
    assert_no_threads();
    deliver_kept(&server, "").assert_accepted();
    assert_eq!((server.sessions(), server.messages().len()), (2, 2));
}

#[test]
fn one_that_dies_before_any_reply_is_replaced_without_a_word() {
    let _alone = alone();
    for rule in [
        "mail#2=close",
        "mail#2=reset",
        "mail#2=reply-close 421 4.4.2 Idle for too long",
    ] {
        let server = start(without_chunking(options_on(&[rule])));
        deliver_kept(&server, "").assert_accepted();
        let ended = deliver_kept(&server, "");
        ended.assert_accepted();
        assert!(ended.pauses().is_empty(), "{rule}");
        assert_eq!(
            (server.sessions(), server.messages().len()),
            (2, 2),
            "{rule}"
        );
        close_kept();
    }
}

/// A text that goes in one flight with its envelope may have arrived whatever
/// happens to the connection; after a pause it is not risked.
#[test]
fn the_text_is_risked_only_while_the_server_was_just_heard() {
    let _alone = alone();
    let server = start(options_on(&["mail#2=close"]));
    deliver_kept(&server, "").assert_accepted();
    std::thread::sleep(ONE_FLIGHT + Duration::from_millis(200));
    deliver_kept(&server, "").assert_accepted();
    assert_eq!((server.sessions(), server.messages().len()), (2, 2));
    assert_eq!(said(&server, 2, "C: BDAT"), 1);
    close_kept();
    let server = start(options_on(&["mail#2=close"]));
    deliver_kept(&server, "").assert_accepted();
    deliver_kept(&server, "").unknown();
    assert_eq!((server.sessions(), server.messages().len()), (1, 1));
}

#[test]
fn a_connection_has_no_more_messages_than_the_server_takes() {
    let _alone = alone();
    let server = start(options().caps("PIPELINING,LIMITS MAILMAX=2"));
    for sessions in [1, 1, 2] {
        deliver_kept(&server, "").assert_accepted();
        assert_eq!(server.sessions(), sessions);
    }
}

#[test]
fn another_trust_is_another_connection() {
    let _alone = alone();
    let server = start(options());
    deliver_kept(&server, "").assert_accepted();
    let mut wary = kept(&server, "");
    wary.tls.ask_new = true;
    let trusting = |question: &Question| match question {
        Question::Certificate { .. } => Some(Answer::Trust(TrustAnswer::Once)),
        _ => None,
    };
    Under::begin(wary).finish(trusting).assert_accepted();
    // One for the look, which ended there.
    assert_eq!(server.sessions(), 3);
    deliver_kept(&server, "").assert_accepted();
    assert_eq!(server.sessions(), 3);
}

/// What it dies of is its age: the server keeps what it does well.
#[test]
fn one_that_died_says_nothing_of_speed_ups() {
    let _alone = alone();
    let server = start(without_chunking(options_on(&["mail#2=close"])));
    deliver_kept(&server, "").assert_accepted();
    let ended = deliver_kept(&server, "");
    ended.assert_accepted();
    assert!(
        !ended.trace().contains("without PIPELINING"),
        "{}",
        ended.trace()
    );
}

#[test]
fn one_that_dies_after_a_reply_is_a_failure_like_any_other() {
    let _alone = alone();
    let server = start(options_on(&["rcpt#2=close"]).caps("STARTTLS,8BITMIME"));
    deliver_kept(&server, "").assert_accepted();
    deliver_kept(&server, "").assert_failed(FailureKind::Closed, Phase::Recipient);
    assert_eq!(server.sessions(), 1);
}

#[test]
fn an_unknown_fate_stays_unknown_on_a_kept_connection() {
    let _alone = alone();
    let server = start(options_on(&["dot#2=accept-close"]));
    deliver_kept(&server, "").assert_accepted();
    deliver_kept(&server, "").unknown();
    assert_eq!((server.sessions(), server.messages().len()), (1, 2));
}

#[test]
fn a_kept_connection_can_be_stopped() {
    let _alone = alone();
    let server = start(without_chunking(options_on(&["mail#2=silence"])));
    deliver_kept(&server, "").assert_accepted();
    let mut under = Under::begin(kept(&server, ""));
    under.until(|event| matches!(event, smtpmail_core::delivery::Event::Phase(Phase::Mail)));
    let began = Instant::now();
    assert!(!under.delivery.cancel());
    under
        .finish(|_| None)
        .assert_failed(FailureKind::Cancelled, Phase::Mail);
    assert!(began.elapsed() < GONE_WITHIN);
    assert_eq!(server.sessions(), 1);
}
