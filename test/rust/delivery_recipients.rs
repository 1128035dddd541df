//! Recipients refused, postponed and split; tries repeated and given up.

mod support;

use std::time::Duration;

use smtpmail_core::delivery::{Answer, Question, Request};
use smtpmail_core::smtp::dialogue::RefusedRecipients;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_test_server::Server;

use self::support::*;

const THREE: [&str; 3] = ["bob@example.net", "carl@example.net", "dora@example.net"];

/// With and without pipelining, without TLS to keep it quick.
const CAPS: [&str; 2] = ["PIPELINING,8BITMIME", "8BITMIME"];

fn to(server: &Server, recipients: &[&str], policy: RefusedRecipients) -> Request {
    let mut request = request(server);
    request.messages[0].envelope.recipients = mailboxes(recipients);
    request.plan.refused_recipients = policy;
    request
}

#[test]
fn some_refused() {
    for caps in CAPS {
        for (policy, yes, sent) in [
            (RefusedRecipients::Abort, None, false),
            (RefusedRecipients::SendRest, None, true),
            (RefusedRecipients::Ask, Some(true), true),
            (RefusedRecipients::Ask, Some(false), false),
        ] {
            let server =
                start(options_on(&["rcpt:carl@example.net=reply 550 5.1.1 nobody"]).caps(caps));
            let ended = deliver_answering(to(&server, &THREE, policy), |question| {
                let Question::RefusedRecipients(reports) = question else {
                    panic!("{question:?}");
                };
                let told: Vec<_> = reports
                    .iter()
                    .map(|r| (r.address.as_str(), r.accepted))
                    .collect();
                assert_eq!(
                    told,
                    [(THREE[0], true), (THREE[1], false), (THREE[2], true)]
                );
                assert_eq!(reports[1].failure.as_ref().unwrap().code, Some(550));
                yes.map(Answer::Yes)
            });
            assert_eq!(ended.questions().len(), usize::from(yes.is_some()));
            let refusal = ended.report.recipients[1].failure.as_ref().unwrap();
            assert_eq!(refusal.recipient.as_deref(), Some(THREE[1]));
            if sent {
                ended.assert_accepted();
                assert_eq!(ended.accepted(), [true, false, true]);
                assert_eq!(server.messages()[0].to, [THREE[0], THREE[2]]);
            } else {
                ended.assert_failed(FailureKind::Refused, Phase::Recipient);
                assert_eq!(ended.accepted(), [false; 3]);
                assert!(server.messages().is_empty(), "not even an empty one");
            }
        }
    }
}

#[test]
fn all_refused_asks_nobody() {
    for caps in CAPS {
        let server = start(options_on(&["rcpt=reply 550 5.1.1 nobody"]).caps(caps));
        let ended = deliver(to(&server, &THREE, RefusedRecipients::Ask));
        ended.assert_failed(FailureKind::Refused, Phase::Recipient);
        assert!(ended.report.recipients.iter().all(|r| r.failure.is_some()));
    }
}

#[test]
fn the_server_leaves_while_it_is_asked_what_to_do() {
    for yes in [true, false] {
        let server = start(
            options_on(&[
                "rcpt:carl@example.net=reply 550 5.1.1 nobody",
                "rcpt:dora@example.net#1=reply-close 250 fine",
            ])
            .caps("8BITMIME"),
        );
        // Without pipelining DATA is not said before the answer, so the server
        // leaves behind its last reply.
        let mut asked = 0;
        let ended = deliver_answering(to(&server, &THREE, RefusedRecipients::Ask), |_| {
            asked += 1;
            assert!(server.wait_until_quiet(WATCHDOG));
            std::thread::sleep(Duration::from_millis(50));
            Some(Answer::Yes(yes))
        });
        assert_eq!((asked, server.sessions()), (1, 2));
        assert_eq!(ended.accepted(), [yes, false, yes]);
    }
}

#[test]
fn too_many_recipients_are_split() {
    let many: Vec<String> = (0..7).map(|n| format!("r{n}@example.net")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for caps in [
        CAPS[0],
        CAPS[1],
        "PIPELINING,8BITMIME,LIMITS RCPTMAX=3 MAILMAX=100",
    ] {
        let mut options = options().caps(caps);
        options.max_rcpts = Some(3);
        let server = start(options);
        let ended = deliver(to(&server, &many, RefusedRecipients::Abort));
        ended.assert_accepted();
        assert_eq!(ended.accepted(), [true; 7]);
        let sent: Vec<_> = server.messages().iter().map(|m| m.to.clone()).collect();
        assert_eq!(sent.concat(), many);
        assert_eq!(
            sent.iter().map(Vec::len).collect::<Vec<_>>(),
            [3, 3, 1],
            "{caps}"
        );
        assert_eq!((ended.pauses(), server.sessions()), (vec![], 1));
        for message in server.messages() {
            assert_eq!(message.bytes().unwrap(), TEXT_ARRIVED);
        }
    }
}

#[test]
fn a_split_that_ends_half_way_tells_who_has_got_it() {
    let mut options = options_on(&["dot#2=close"]).caps(CAPS[0]);
    options.max_rcpts = Some(1);
    let server = start(options);
    let ended = deliver(to(&server, &THREE, RefusedRecipients::Abort));
    assert_eq!(ended.unknown().kind, FailureKind::Closed);
    assert_eq!(ended.accepted(), [true, false, false]);
}

#[test]
fn who_was_refused_for_now_keeps_nobody_out() {
    // Room for two; the first two are always refused for now.
    let mut options = options_on(&[
        "rcpt:bob@example.net=reply 450 4.2.1 later",
        "rcpt:carl@example.net=reply 450 4.2.1 later",
    ])
    .caps("8BITMIME,LIMITS RCPTMAX=2");
    options.max_rcpts = Some(2);
    let server = start(options);
    let four = [
        "dora@example.net",
        "bob@example.net",
        "carl@example.net",
        "eve@example.net",
    ];
    let ended = deliver(to(&server, &four, RefusedRecipients::SendRest));
    assert_eq!(
        ended.accepted(),
        [true, false, false, true],
        "{}",
        ended.trace()
    );
}

#[test]
fn not_now_is_tried_again_at_each_step() {
    // Of all places that may say it; a pause of a second each, at once.
    let places = [
        "greeting", "ehlo-tls", "auth", "mail", "rcpt", "data", "dot",
    ];
    in_parallel(&places, places.len(), |place| {
        let server = start(
            options_on(&[&format!("{place}#1=reply 451 4.3.0 not now")]).user(USER, PASSWORD),
        );
        let mut request = to(&server, &THREE, RefusedRecipients::Abort);
        request.attempts = 2;
        let ended = deliver_answering(request, |_| Some(good_login()));
        ended.assert_accepted();
        assert_eq!(ended.pauses(), [1], "{place}");
        assert!(ended.took >= Duration::from_secs(1), "{place}");
        assert_eq!(server.messages().len(), 1, "{place}");
        assert_eq!(server.messages()[0].to, THREE, "{place}");
        assert!(
            ended.report.recipients.iter().all(|r| r.failure.is_none()),
            "{place}"
        );
    });
}

#[test]
fn tries_end() {
    let cases = [
        // The attempts that were asked for, and no pause behind the last.
        ("mail=reply 421 4.3.2 closing", 2, vec![1], 2, Phase::Mail),
        ("mail=reply 451 4.3.0 not now", 1, vec![], 1, Phase::Mail),
        // The whole text goes out twice at most.
        ("dot=reply 451 4.3.0 not now", 9, vec![1], 2, Phase::Final),
    ];
    in_parallel(
        &cases,
        cases.len(),
        |(rule, attempts, pauses, sessions, phase)| {
            let server = start(options_on(&[rule]));
            let mut request = request(&server);
            request.attempts = *attempts;
            let ended = deliver(request);
            ended.assert_failed(FailureKind::Transient, *phase);
            assert_eq!(&ended.pauses(), pauses, "{rule}");
            assert_eq!(server.sessions(), *sessions, "{rule}");
            assert!(server.messages().is_empty(), "{rule}");
        },
    );
}

#[test]
fn the_rest_is_tried_again_and_nobody_gets_it_twice() {
    let server = start(options_on(&[
        "rcpt:carl@example.net#1=reply 450 4.2.1 later",
    ]));
    let mut request = to(&server, &THREE, RefusedRecipients::SendRest);
    request.attempts = 2;
    let ended = deliver(request);
    ended.assert_accepted();
    assert_eq!(ended.accepted(), [true; 3]);
    let sent: Vec<_> = server.messages().iter().map(|m| m.to.clone()).collect();
    assert_eq!(sent, [vec![THREE[0], THREE[2]], vec![THREE[1]]]);
}

#[test]
fn a_stop_ends_the_pause() {
    let server = start(options_on(&["mail=reply 451 4.3.0 not now"]));
    let mut request = request(&server);
    request.attempts = 9;
    let mut under = Under::begin(request);
    assert!(under.until(|event| matches!(event, smtpmail_core::delivery::Event::Retry(_, 2))));
    let began = std::time::Instant::now();
    assert!(!under.delivery.cancel());
    let ended = under.finish(|_| None);
    assert_eq!(ended.failure().kind, FailureKind::Cancelled);
    assert!(began.elapsed() < Duration::from_millis(1000));
}

#[test]
fn no_for_good_is_not_tried_again() {
    for (rule, phase) in [
        ("greeting=reply 554 go away", Phase::Greeting),
        ("mail=reply 550 no", Phase::Mail),
        ("data=reply 554 no", Phase::Data),
        ("dot=reply 554 no", Phase::Final),
    ] {
        let server = start(options_on(&[rule]));
        let mut request = request(&server);
        request.attempts = 9;
        let ended = deliver(request);
        ended.assert_failed(FailureKind::Refused, phase);
        assert_eq!((ended.pauses(), server.sessions()), (vec![], 1), "{rule}");
    }
}
