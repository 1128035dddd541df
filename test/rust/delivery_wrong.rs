//! Servers that announce PIPELINING or CHUNKING and get it wrong: whatever they
//! do, each message is told as it is. Never lost, never twice, never false.

mod support;

use std::time::Duration;

use smtpmail_core::delivery::{Request, Text, Verdict};
use smtpmail_core::smtp::dialogue::{RefusedRecipients, Security};
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_test_server::{Options, Server};

use self::support::*;

/// How often a text arrived that holds this word.
fn copies(server: &Server, word: &str) -> usize {
    let texts = server.messages().into_iter().map(|stored| {
        let text = std::fs::read(&stored.path).expect("a stored message");
        String::from_utf8_lossy(&text).contains(word)
    });
    texts.filter(|holds| *holds).count()
}

/// A request for `messages` short texts without TLS: what is told apart here is
/// told apart on any channel.
fn several(server: &Server, messages: usize) -> Request {
    let mut all = request(server);
    all.plan.security = Security::Never;
    let mut objects = Vec::new();
    for number in 0..messages {
        let mut one = request(server).messages.remove(0);
        one.number = number;
        one.envelope.recipients = mailboxes(&[&format!("r{number}@example.net")]);
        one.text = Text::Bytes(format!("Subject: number-{number}.\n\n.hidden\n").into_bytes());
        objects.push(one);
    }
    all.messages = objects;
    all
}

/// Deliver, and hold what is told to what the server has.
fn deliver_several(options: Options, messages: usize) -> (Fixture, Ended) {
    let server = start(options);
    let ended = deliver(several(&server, messages));
    assert!(server.wait_until_quiet(WATCHDOG));
    assert_eq!(ended.reports.len(), messages, "{}", ended.trace());
    for (number, report) in &ended.reports {
        let copies = copies(&server, &format!("number-{number}."));
        let right = match report.verdict {
            Verdict::Accepted(_) => copies == 1,
            Verdict::Failed(_) => copies == 0,
            Verdict::Unknown(_) => copies <= 1,
        };
        let verdict = &report.verdict;
        assert!(
            right,
            "{number}: {copies} copies, told {verdict:?}\n{}",
            ended.trace()
        );
    }
    (server, ended)
}

fn all_accepted(options: Options, messages: usize) -> (Fixture, Ended) {
    let (server, ended) = deliver_several(options, messages);
    for (number, report) in &ended.reports {
        let accepted = matches!(report.verdict, Verdict::Accepted(_));
        assert!(
            accepted,
            "{number}: {:?}\n{}",
            report.verdict,
            ended.trace()
        );
    }
    (server, ended)
}

/// By BDAT and by DATA.
fn both(rules: &[&str]) -> [Options; 2] {
    [options_on(rules), without_chunking(options_on(rules))]
}

#[test]
fn replies_split_merged_dripped_and_late() {
    for rules in [
        &["mail=split 2 30", "rcpt=split 9 30", "bdat=split 3 30"][..],
        &["mail#1=delay 150", "rcpt#2=delay 150", "bdat#2=delay 150"],
        &["mail#1=drip 3", "rcpt#2=drip 3", "bdat#1=drip 3"],
        &["rset=split 1 20"],
    ] {
        for options in both(rules) {
            let (server, _) = all_accepted(options, 4);
            assert_eq!(server.sessions(), 1, "{rules:?}");
        }
    }
    for mut options in both(&[]) {
        options.delay_turn = Duration::from_millis(30);
        let (server, _) = all_accepted(options, 4);
        assert_eq!(server.sessions(), 1);
    }
}

#[test]
fn refused_in_the_middle_of_a_batch() {
    for options in both(&["rcpt#2=reply 550 5.1.1 no such user"]) {
        let (server, ended) = deliver_several(options, 4);
        for (number, report) in &ended.reports {
            match &report.verdict {
                Verdict::Failed(failure) if *number == 1 => {
                    assert_eq!(failure.phase, Phase::Recipient);
                    assert_eq!(failure.recipient.as_deref(), Some("r1@example.net"));
                    assert_eq!(failure.code, Some(550));
                }
                Verdict::Accepted(_) if *number != 1 => {}
                other => panic!("{number}: {other:?}\n{}", ended.trace()),
            }
        }
        assert_eq!(server.sessions(), 1, "the connection stays usable");
    }
}

#[test]
fn a_refused_chunk_leaves_the_others_alone() {
    let (server, ended) = deliver_several(options_on(&["bdat#2=reply 554 5.7.1 spam"]), 4);
    let refused = ended.reports.iter().filter(|(_, report)| {
        matches!(&report.verdict, Verdict::Failed(f) if f.phase == Phase::Final && f.code == Some(554))
    });
    assert_eq!(refused.count(), 1, "{}", ended.trace());
    assert_eq!((server.messages().len(), server.sessions()), (3, 1));
}

#[test]
fn closed_in_the_middle_of_a_batch() {
    for rule in [
        "mail#1=close",
        "rcpt#1=close",
        "mail#1=reset",
        "mail#1=reply-close 250 ok",
    ] {
        let (server, ended) = all_accepted(without_chunking(options_on(&[rule])), 3);
        assert!(server.sessions() >= 2);
        let trace = ended.trace();
        assert!(trace.contains("without PIPELINING: "), "a reason: {trace}");
    }
    for rule in [
        "mail#1=close",
        "rcpt#1=close",
        "bdat#1=close",
        "bdat#2=accept-close",
    ] {
        let (_, ended) = deliver_several(options_on(&[rule]), 3);
        let unknown = ended.reports.iter().filter(|(_, report)| {
            matches!(&report.verdict, Verdict::Unknown(failure) if failure.phase == Phase::Final)
        });
        assert!(unknown.count() >= 1, "{rule}: {}", ended.trace());
    }
}

#[test]
fn commands_dropped_behind_the_first() {
    let mut options = without_chunking(options_on(&["rcpt#1=silence"]));
    options.delay_turn = Duration::ZERO;
    let server = start(options);
    let mut request = several(&server, 1);
    request.limits = hasty();
    let ended = deliver(request);
    ended.assert_accepted();
    assert_eq!(server.messages().len(), 1);
    assert!(
        ended.trace().contains("without PIPELINING: no answer"),
        "{}",
        ended.trace()
    );
}

#[test]
fn data_invited_without_recipients() {
    let rules = ["rcpt=reply 550 5.1.1 no such user", "data=reply 354 go"];
    let (server, ended) = deliver_several(options_on(&rules), 1);
    assert_eq!(ended.failure().recipient.as_deref(), Some("r0@example.net"));
    assert!(server.messages().is_empty());
}

#[test]
fn bdat_unknown() {
    for rule in [
        "bdat=reply 500 5.5.2 what?",
        "bdat=reply 502 5.5.1 not here",
        "bdat#1=reply 502 5.5.1 not here",
        "bdat#2=reply 500 what?",
    ] {
        for messages in [1, 5] {
            let (server, ended) = all_accepted(options_on(&[rule]), messages);
            assert_eq!(server.messages().len(), messages);
            if !rule.contains("#2") {
                let trace = ended.trace();
                assert!(trace.contains("without CHUNKING: 50"), "{trace}");
            }
        }
    }
}

#[test]
fn bdat_unknown_to_a_server_that_reads_the_text_as_commands() {
    // CHUNKING is announced by a reply that the server itself knows nothing of.
    let announce = "ehlo=reply 250-mx\\r\\n250-PIPELINING\\r\\n250-SIZE 1000000\\r\\n250 CHUNKING";
    let mut options = options_on(&[announce]);
    options.caps = Some(vec!["PIPELINING".into(), "SIZE 1000000".into()]);
    all_accepted(options, 5);
}

#[test]
fn complaints_of_a_sequence_that_was_right() {
    for rule in [
        "rcpt#1=reply 503 5.5.1 one by one",
        "data#1=reply 503 5.5.1 one by one",
    ] {
        let (server, ended) = all_accepted(without_chunking(options_on(&[rule])), 2);
        assert_eq!(server.sessions(), 2);
        assert!(
            ended.trace().contains("without PIPELINING: "),
            "{}",
            ended.trace()
        );
    }
    let (server, _) = all_accepted(options_on(&["rcpt#1=reply 503 5.5.1 one by one"]), 1);
    assert_eq!(server.sessions(), 2);
}

#[test]
fn a_reply_too_many() {
    for rule in [
        "mail#1=inject 250 2.1.0 again",
        "rcpt#1=inject 250 2.1.5 again",
    ] {
        all_accepted(without_chunking(options_on(&[rule])), 2);
        // Seen too late to be sure.
        let (_, ended) = deliver_several(options_on(&[rule, "bdat#1=reply 554 5.7.1 no"]), 1);
        let unknown = matches!(ended.report.verdict, Verdict::Unknown(_));
        assert!(unknown, "{rule}: {:?}\n{}", ended.report, ended.trace());
    }
}

#[test]
fn a_reply_too_many_without_enhanced_status_codes() {
    let caps = ["PIPELINING", "CHUNKING"].map(String::from).to_vec();
    for (behind, known) in [("554 no", false), ("250 yes", false), ("421 going", true)] {
        // What is due to BDAT comes at once with one too many before it.
        let rule = format!(r"rcpt#1=reply 250 ok\r\n250 again\r\n{behind}");
        let mut options = options_on(&[&rule]);
        options.caps = Some(caps.clone());
        let server = start(options);
        let ended = deliver(several(&server, 1));
        let verdict = &ended.report.verdict;
        let right = match known {
            true => matches!(verdict, Verdict::Accepted(_)),
            false => matches!(verdict, Verdict::Unknown(_)),
        };
        assert!(right, "{behind}: {verdict:?}\n{}", ended.trace());
    }
}

#[test]
fn extensions_that_tls_takes_away() {
    let mut options = options();
    options.caps_tls = Some(vec!["SIZE 1000000".into()]);
    let server = start(options);
    let ended = deliver(request(&server));
    ended.assert_accepted();
    assert_eq!(server.messages().len(), 1);
    let trace = ended.trace();
    let (_, under_tls) = trace.rsplit_once("C: EHLO").expect("a second EHLO");
    assert!(
        under_tls.contains("C: DATA") && !under_tls.contains("C: BDAT"),
        "{trace}"
    );
    let reply = under_tls.find("Sender ok").expect("the reply to MAIL");
    assert!(
        reply < under_tls.find("C: RCPT").expect("RCPT"),
        "one by one: {trace}"
    );
}

#[test]
fn a_limit_of_messages_renews_the_connection() {
    let mut options = options();
    options.caps = Some(
        ["PIPELINING", "CHUNKING", "LIMITS MAILMAX=2 RCPTMAX=5"]
            .map(String::from)
            .to_vec(),
    );
    let (server, _) = all_accepted(options, 7);
    assert_eq!(server.sessions(), 4);
    assert!(server.messages().iter().all(|one| one.via == "bdat"));
}

#[test]
fn some_refused_and_the_rest_sent_in_one_flight() {
    let server = start(options_on(&["rcpt:b@example.net=reply 550 5.1.1 no"]));
    let mut request = several(&server, 1);
    request.plan.refused_recipients = RefusedRecipients::SendRest;
    request.messages[0].envelope.recipients =
        mailboxes(&["a@example.net", "b@example.net", "c@example.net"]);
    let ended = deliver(request);
    ended.assert_accepted();
    let stored = server.messages();
    assert_eq!(stored[0].to, ["a@example.net", "c@example.net"]);
    let accepted: Vec<bool> = ended.report.recipients.iter().map(|r| r.accepted).collect();
    assert_eq!(accepted, [true, false, true]);
}

#[test]
fn a_failed_login_delivers_nothing_that_rode_behind_it() {
    use smtpmail_core::delivery::Answer;
    use smtpmail_core::smtp::sasl::Mechanism;
    // It takes mail without a login, too.
    for no_chunking in [false, true] {
        let mut options = options().user(USER, PASSWORD);
        options.no_chunking = no_chunking;
        let server = start(options);
        let mut asked = 0;
        let ended = deliver_answering(request(&server), |_| {
            asked += 1;
            Some(Answer::Login(
                (asked == 1).then(|| login(WRONG, &[Mechanism::Plain])),
            ))
        });
        assert_eq!(ended.failure().kind, FailureKind::Authentication);
        assert!(server.wait_until_quiet(WATCHDOG));
        assert!(server.messages().is_empty());
        let first = server.transcript(1).unwrap();
        assert!(first.contains("MAIL FROM"), "nothing rode: {first}");
        assert!(!first.contains("bytes of message>"), "{first}");
    }
}
