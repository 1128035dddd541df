//! Logins: every mechanism, questions and answers, demands, servers that leave
//! while the user thinks.

mod support;

use std::time::Duration;

use smtpmail_core::delivery::{Answer, Event, Question, Request};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::{Options, Server};

use self::support::*;

fn users() -> Options {
    options().user(USER, PASSWORD)
}

fn clear(server: &Server) -> Request {
    let mut request = request(server);
    request.plan.security = Security::Never;
    request
}

fn answer_with(password: &str, mechanism: Mechanism) -> Option<Answer> {
    Some(Answer::Login(Some(login(password, &[mechanism]))))
}

#[test]
fn every_mechanism_logs_in() {
    for mechanism in [Mechanism::Plain, Mechanism::Login, Mechanism::CramMd5] {
        let server = start(users());
        let ended = deliver_answering(request(&server), |question| match question {
            Question::Credentials {
                offered,
                refused: None,
                demanded: None,
                protected: true,
            } => {
                assert_eq!(offered, &["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"]);
                answer_with(PASSWORD, mechanism)
            }
            other => panic!("{other:?}"),
        });
        ended.assert_accepted();
        assert!(ended.report.logged_in);
        assert!(
            ended
                .events
                .iter()
                .any(|event| matches!(event, Event::LoggedIn))
        );
        assert_eq!(server.messages()[0].auth_user.as_deref(), Some(USER));
        let trace = ended.trace();
        assert!(
            trace.contains(&format!("C: AUTH {}", mechanism.keyword())),
            "{trace}"
        );
        assert!(trace.contains("S: 235 "), "{trace}");
        assert!(trace.contains("<omitted>"), "{trace}");
    }
}

#[test]
fn the_credentials_of_the_plan_need_no_question() {
    let server = start(users());
    let mut request = request(&server);
    request.plan.login = Some(login(PASSWORD, &[Mechanism::Plain]));
    deliver(request).assert_accepted();
}

#[test]
fn without_credentials_the_message_goes_all_the_same() {
    let server = start(users());
    let ended = deliver_answering(request(&server), |_| Some(Answer::Login(None)));
    ended.assert_accepted();
    assert!(!ended.report.logged_in);
    assert_eq!(server.report().auth_attempts, 0);
}

#[test]
fn a_wrong_password_is_asked_again() {
    let server = start(users());
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |question| {
        asked += 1;
        match (asked, question) {
            (1, Question::Credentials { refused: None, .. }) => {
                answer_with(WRONG, Mechanism::Plain)
            }
            (
                2,
                Question::Credentials {
                    refused: Some(failure),
                    ..
                },
            ) => {
                assert_eq!(failure.code, Some(535));
                answer_with(PASSWORD, Mechanism::Login)
            }
            other => panic!("{other:?}"),
        }
    });
    ended.assert_accepted();
    assert_eq!(server.report().auth_attempts, 2);
    // An envelope rode behind the first AUTH.
    assert_eq!(server.sessions(), 2);
}

#[test]
fn a_wrong_password_without_a_rider_is_asked_again_on_the_same_connection() {
    let mut options = users();
    options.caps_tls = Some(vec!["AUTH PLAIN LOGIN".into()]);
    let server = start(options);
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |_| {
        asked += 1;
        let password = if asked == 1 { WRONG } else { PASSWORD };
        answer_with(password, Mechanism::Plain)
    });
    ended.assert_accepted();
    assert_eq!((asked, server.report().auth_attempts), (2, 2));
    assert_eq!(server.sessions(), 1);
}

#[test]
fn a_wrong_password_and_no_other_fails() {
    let server = start(users());
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |_| {
        asked += 1;
        if asked == 1 {
            answer_with(WRONG, Mechanism::Plain)
        } else {
            Some(Answer::Login(None))
        }
    });
    ended.assert_failed(FailureKind::Authentication, Phase::Auth);
    assert!(
        ended.failure().text.starts_with("535 5.7.8 "),
        "{:?}",
        ended.failure()
    );
    assert_eq!(server.report().auth_attempts, 1);
    assert!(server.messages().is_empty());
}

#[test]
fn an_answer_to_another_question_changes_nothing() {
    let server = start(users());
    let mut under = Under::begin(request(&server));
    assert!(under.until(|event| matches!(event, Event::Question(..))));
    let id = under.question();
    // A ring without an answer to this question: it stays open.
    under.delivery.answer(id + 7, Answer::Yes(false));
    std::thread::sleep(Duration::from_millis(200));
    under.delivery.answer(id, good_login());
    under.finish(|_| None).assert_accepted();
    assert_eq!(server.messages()[0].auth_user.as_deref(), Some(USER));
}

#[test]
fn a_login_demanded_at_mail_or_rcpt_is_asked_for() {
    let demands: [(&str, bool, u16); 4] = [
        ("mail#9=close", true, 530),
        ("rcpt#1=reply 550 5.7.1 relaying denied", false, 550),
        ("rcpt#1=reply 554 5.7.1 relaying denied", false, 554),
        ("mail#1=reply 503 log in first", false, 503),
    ];
    for caps in [
        "PIPELINING,8BITMIME,STARTTLS,AUTH PLAIN",
        "8BITMIME,STARTTLS,AUTH PLAIN",
    ] {
        for (rule, require_auth, code) in demands {
            let mut options = users().on(rule).caps(caps);
            options.require_auth = require_auth;
            let server = start(options);
            let mut asked = 0;
            let ended = deliver_answering(request(&server), |question| {
                asked += 1;
                match (asked, question) {
                    (1, Question::Credentials { demanded: None, .. }) => Some(Answer::Login(None)),
                    (
                        2,
                        Question::Credentials {
                            demanded: Some(failure),
                            ..
                        },
                    ) => {
                        assert_eq!(failure.code, Some(code));
                        Some(good_login())
                    }
                    other => panic!("{other:?}"),
                }
            });
            ended.assert_accepted();
            assert_eq!(server.messages().len(), 1, "{rule}");
            assert_eq!(
                server.messages()[0].auth_user.as_deref(),
                Some(USER),
                "{rule}"
            );
            assert!(ended.report.recipients[0].failure.is_none());
        }
    }
}

#[test]
fn a_demand_without_an_answer_is_the_failure() {
    let mut options = users();
    options.require_auth = true;
    let server = start(options);
    let ended = deliver_answering(request(&server), |_| Some(Answer::Login(None)));
    let failure = ended.failure();
    assert_eq!(
        (failure.code, failure.phase),
        (Some(530), Phase::Mail),
        "{failure:?}"
    );
    assert_eq!(ended.questions().len(), 2);
}

#[test]
fn a_password_in_clear_needs_a_yes() {
    for yes in [true, false] {
        let server = start(users());
        let ended = deliver_answering(clear(&server), |question| match question {
            Question::Credentials { protected, .. } => {
                assert!(!protected);
                Some(good_login())
            }
            Question::ClearLogin => Some(Answer::Yes(yes)),
            other => panic!("{other:?}"),
        });
        assert_eq!(ended.questions().len(), 2);
        if yes {
            ended.assert_accepted();
            assert!(ended.report.logged_in);
        } else {
            ended.assert_failed(FailureKind::Insecure, Phase::Auth);
            assert_eq!(server.report().auth_attempts, 0);
        }
    }
    // CRAM-MD5 does not show it.
    let server = start(users());
    let ended = deliver_answering(clear(&server), |_| {
        answer_with(PASSWORD, Mechanism::CramMd5)
    });
    ended.assert_accepted();
    assert_eq!(ended.questions().len(), 1);
}

/// Wait until the server has left, then some more, so that we have seen it.
fn server_left(server: &Server) {
    // It waits two seconds for our FIN, and shall get it: no dead socket is held
    // while somebody thinks.
    assert!(server.wait_until_quiet(Duration::from_millis(1500)));
    std::thread::sleep(Duration::from_millis(50));
}

#[test]
fn the_server_leaves_while_the_question_is_open() {
    // It leaves behind the reply that makes us ask; the second time it stays.
    let server = start(users().on("ehlo-tls#1=reply-close 250-mx\\r\\n250 AUTH PLAIN"));
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |_| {
        asked += 1;
        server_left(&server);
        Some(good_login())
    });
    ended.assert_accepted();
    assert_eq!((asked, server.sessions()), (1, 2));
    assert_eq!(server.messages()[0].auth_user.as_deref(), Some(USER));
}

#[test]
fn the_server_leaves_and_there_are_no_credentials() {
    let server = start(users().on("ehlo-tls#1=reply-close 250-mx\\r\\n250 AUTH PLAIN"));
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |_| {
        asked += 1;
        server_left(&server);
        Some(Answer::Login(None))
    });
    ended.assert_accepted();
    assert_eq!((asked, server.sessions()), (1, 2), "one no is enough");
}

#[test]
fn a_server_that_always_leaves_is_not_called_for_ever() {
    let server = start(users().on("ehlo-tls=reply-close 250-mx\\r\\n250 AUTH PLAIN"));
    let ended = deliver_answering(request(&server), |_| Some(Answer::Login(None)));
    assert_eq!(ended.failure().kind, FailureKind::Closed);
    assert!(server.sessions() <= 3, "{} sessions", server.sessions());
}

#[test]
fn the_server_leaves_behind_its_refusal_of_the_password() {
    for (second, accepted) in [(Some(PASSWORD), true), (None, false)] {
        let server = start(users().on("auth#1=reply-close 535 5.7.8 wrong"));
        let mut asked = 0;
        let ended = deliver_answering(request(&server), |question| {
            asked += 1;
            let Question::Credentials { refused, .. } = question else {
                panic!("{question:?}");
            };
            assert_eq!(refused.is_some(), asked > 1);
            if asked == 1 {
                return answer_with(WRONG, Mechanism::Plain);
            }
            server_left(&server);
            Some(Answer::Login(
                second.map(|password| login(password, &[Mechanism::Plain])),
            ))
        });
        assert_eq!(asked, 2);
        if accepted {
            ended.assert_accepted();
        } else {
            ended.assert_failed(FailureKind::Authentication, Phase::Auth);
            assert_eq!(ended.failure().code, Some(535));
        }
    }
}

#[test]
fn the_server_leaves_behind_its_demand() {
    let server = start(users().on("mail#1=reply-close 530 5.7.0 log in"));
    let mut asked = 0;
    let ended = deliver_answering(request(&server), |_| {
        asked += 1;
        if asked == 1 {
            return Some(Answer::Login(None));
        }
        server_left(&server);
        Some(good_login())
    });
    ended.assert_accepted();
    assert_eq!((asked, server.sessions()), (2, 2));
}

#[test]
fn the_server_leaves_the_moment_the_answer_comes() {
    // It falls over at the first AUTH: the connection had died unseen.
    let server = start(users().on("auth#1=reset"));
    let ended = deliver_answering(request(&server), |_| {
        answer_with(PASSWORD, Mechanism::Login)
    });
    // A reply that never came is no word on the password.
    assert_eq!(ended.failure().phase, Phase::Auth);
    assert_eq!(server.report().auth_attempts, 1);
}

#[test]
fn the_server_leaves_since_something_rides_behind_auth() {
    let server = start(users().on("auth#1=reset"));
    let ended = deliver_answering(request(&server), |_| {
        answer_with(PASSWORD, Mechanism::Plain)
    });
    ended.assert_accepted();
    assert_eq!(server.report().auth_attempts, 2);
    let trace = ended.trace();
    let (first, second) = trace.split_once("does not work").expect("a reason");
    assert!(first.contains("PIPELINING behind AUTH"), "{trace}");
    let waited = second.find("S: 235").expect("a login");
    assert!(
        waited < second.find("C: MAIL").expect("a message"),
        "{trace}"
    );
}

#[test]
fn stopped_while_a_question_is_open() {
    let server = start(users());
    let mut under = Under::begin(request(&server));
    assert!(under.until(|event| matches!(event, Event::Question(..))));
    assert!(!under.delivery.cancel());
    let ended = under.finish(|_| None);
    assert_eq!(ended.failure().kind, FailureKind::Cancelled);
}

#[test]
fn stopped_while_a_question_is_open_and_the_server_has_left() {
    let server = start(users().on("ehlo-tls=reply-close 250-mx\\r\\n250 AUTH PLAIN"));
    let mut under = Under::begin(request(&server));
    assert!(under.until(|event| matches!(event, Event::Question(..))));
    server_left(&server);
    assert!(!under.delivery.cancel());
    assert_eq!(
        under.finish(|_| None).failure().kind,
        FailureKind::Cancelled
    );
}
