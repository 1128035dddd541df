//! Every way to end a connection at every step: the verdict, the phase, the
//! time it takes, and nothing left running.

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smtpmail_core::delivery::{Answer, Delivery, Event, Question, Request, Text, Verdict};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::{Options, Server};

use self::support::*;

/// The tests here count the threads of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Enough that neither side's buffers take it whole.
const LARGE: usize = 24 << 20;

/// What is known of the message when the connection ends at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Accepted,
    Failed(Phase),
    Unknown,
}

/// A step of a session and how to get there.
#[derive(Clone, Copy, Debug)]
struct Step {
    place: &'static str,
    fate: Fate,
    /// Rules that lead there.
    others: &'static [&'static str],
    large: bool,
}

const fn step(place: &'static str, fate: Fate) -> Step {
    Step {
        place,
        fate,
        others: &[],
        large: false,
    }
}

/// Every place of the server that a delivery passes.
const STEPS: [Step; 17] = [
    step("greeting", Fate::Failed(Phase::Greeting)),
    step("ehlo", Fate::Failed(Phase::Ehlo)),
    Step {
        others: &["ehlo=reply 502 what?"],
        ..step("helo", Fate::Failed(Phase::Ehlo))
    },
    step("starttls", Fate::Failed(Phase::StartTls)),
    step("handshake", Fate::Failed(Phase::Handshake)),
    step("ehlo-tls", Fate::Failed(Phase::Ehlo)),
    step("auth", Fate::Failed(Phase::Auth)),
    step("auth-response", Fate::Failed(Phase::Auth)),
    step("verb", Fate::Failed(Phase::Idle)),
    step("mail", Fate::Failed(Phase::Mail)),
    step("rcpt", Fate::Failed(Phase::Recipient)),
    step("rcpt:bob@example.net", Fate::Failed(Phase::Recipient)),
    Step {
        others: &["rcpt#1=reply 550 log in first"],
        ..step("rset", Fate::Failed(Phase::Idle))
    },
    step("data", Fate::Failed(Phase::Data)),
    Step {
        large: true,
        ..step("text", Fate::Failed(Phase::Text))
    },
    step("dot", Fate::Unknown),
    step("quit", Fate::Accepted),
];

impl Step {
    fn options(&self, action: &str) -> Options {
        let mut options = options_on(self.others)
            .on(&format!("{}={action}", self.place))
            .user(USER, PASSWORD);
        let caps = ["PIPELINING", "8BITMIME", "AUTH LOGIN", "VERB"].map(String::from);
        options.caps_tls = Some(caps.to_vec());
        options.caps = Some([&["STARTTLS".to_owned()], caps.as_slice()].concat());
        options
    }

    fn request(&self, server: &Server) -> Request {
        let mut request = request(server);
        request.plan.verb = true;
        if self.place == "helo" {
            request.plan.security = Security::Never;
        }
        if self.large {
            request.messages[0].text = Text::Bytes(large_text(LARGE));
        }
        request
    }

    /// The first offer is declined where only a demand leads to the step.
    fn answer(&self) -> impl FnMut(&Question) -> Option<Answer> + use<> {
        let mut decline = self.place == "rset";
        move |question| match question {
            Question::Credentials { .. } if std::mem::take(&mut decline) => {
                Some(Answer::Login(None))
            }
            Question::Credentials { .. } => Some(good_login()),
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn check(&self, ending: &str, ended: &Ended) {
        let context = format!(
            "{} {ending}: {:?}\n{}",
            self.place,
            ended.report,
            ended.trace()
        );
        let fate = match &ended.report.verdict {
            Verdict::Accepted(_) => Fate::Accepted,
            Verdict::Failed(failure) => Fate::Failed(failure.phase),
            Verdict::Unknown(failure) => {
                assert_eq!(failure.phase, Phase::Final, "{context}");
                Fate::Unknown
            }
        };
        // A reset may be faster than the word that the connection stands.
        if (self.place, ending) == ("greeting", "reset") && fate == Fate::Failed(Phase::Connect) {
            return;
        }
        assert_eq!(fate, self.fate, "{context}");
        let (Verdict::Failed(failure) | Verdict::Unknown(failure)) = &ended.report.verdict else {
            return;
        };
        // What people read: no library's file names and numbers.
        assert!(!failure.text.contains("error:"), "{context}");
        assert!(!failure.text.contains(".c:"), "{context}");
        assert!(!failure.text.contains("os error"), "{context}");
        let kinds: &[FailureKind] = match ending {
            "silence" | "deaf" => &[FailureKind::Timeout],
            // It had refused EHLO before: that is its reason.
            _ if self.place == "helo" => &[FailureKind::Refused],
            _ if self.place == "handshake" => &[FailureKind::Tls, FailureKind::Closed],
            _ => &[FailureKind::Closed],
        };
        assert!(kinds.contains(&failure.kind), "{context}");
    }
}

#[test]
fn the_server_goes_away_at_every_step() {
    let _alone = alone();
    let cases: Vec<_> = ["close", "cut", "reset"]
        .into_iter()
        .flat_map(|ending| STEPS.map(|step| (step, ending)))
        .collect();
    in_parallel(&cases, 4, |(step, ending)| {
        let server = start(step.options(ending));
        let ended = deliver_answering(step.request(&server), step.answer());
        step.check(ending, &ended);
        assert!(
            ended.took < Duration::from_secs(15),
            "{} {ending}: {:?}",
            step.place,
            ended.took
        );
    });
    assert_no_threads();
}

#[test]
fn the_server_accepts_and_goes_away() {
    let _alone = alone();
    // What was accepted but not said is not known to be accepted.
    let cases: Vec<_> = ["accept-close", "accept-cut", "accept-reset"]
        .into_iter()
        .flat_map(|ending| {
            let replies = |step: &Step| !matches!(step.place, "handshake" | "text");
            STEPS
                .into_iter()
                .filter(replies)
                .map(move |step| (step, ending))
        })
        .collect();
    in_parallel(&cases, 4, |(step, ending)| {
        let server = start(step.options(ending));
        let ended = deliver_answering(step.request(&server), step.answer());
        step.check(ending, &ended);
    });
    assert_no_threads();
}

#[test]
fn the_server_falls_silent_at_every_step() {
    let _alone = alone();
    let cases: Vec<_> = ["silence", "deaf"]
        .into_iter()
        .flat_map(|ending| STEPS.map(|step| (step, ending)))
        .collect();
    in_parallel(&cases, 8, |(step, ending)| {
        let step = match (step.place, *ending) {
            // It takes the whole text, and then never says a word.
            ("text", "silence") => Step {
                fate: Fate::Unknown,
                ..*step
            },
            _ => *step,
        };
        let server = start(step.options(ending));
        let mut request = step.request(&server);
        request.limits = hasty();
        let began = Instant::now();
        let ended = deliver_answering(request, step.answer());
        step.check(ending, &ended);
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(15),
            "{} {ending}: {took:?}",
            step.place
        );
        if step.fate != Fate::Accepted {
            assert!(took >= hasty().reply, "{} {ending}: {took:?}", step.place);
        } else {
            // QUIT is best effort: nobody waits for its reply.
            let trace = ended.trace();
            assert!(
                !trace.contains("no answer"),
                "{} {ending}: {trace}",
                step.place
            );
        }
    });
    assert_no_threads();
}

#[test]
fn cancel_at_every_step() {
    let _alone = alone();
    in_parallel(&STEPS, 4, |step| {
        if step.place == "quit" {
            return;
        }
        let server = start(step.options(if step.large { "deaf" } else { "silence" }));
        let request = step.request(&server);
        let wanted = match step.fate {
            Fate::Failed(phase) => phase,
            _ => Phase::Final,
        };
        let mut under = Under::begin(request);
        let mut answer = step.answer();
        let phase = Cell::new(None);
        let there = || phase.get() == Some(wanted) && reached(&server, step);
        // Up to the step: its phase is told, and all that was asked is answered.
        while !there() {
            let mut asked = None;
            let found = under.until_either(
                |event| match event {
                    Event::Phase(now) => {
                        phase.set(Some(*now));
                        *now == wanted
                    }
                    Event::Question(id, question) => {
                        asked = answer(question).map(|answer| (*id, answer));
                        true
                    }
                    _ => false,
                },
                there,
            );
            assert!(found, "{}: over before", step.place);
            if let Some((id, answer)) = asked {
                under.delivery.answer(id, answer);
            }
        }
        let began = Instant::now();
        let may_have_gone = under.delivery.cancel();
        let back = began.elapsed();
        assert!(
            back < Duration::from_millis(100),
            "{}: {back:?}",
            step.place
        );
        assert_eq!(may_have_gone, step.fate == Fate::Unknown, "{}", step.place);
        let ended = under.finish(|_| None);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{}: {took:?}", step.place);
        let (Verdict::Failed(failure) | Verdict::Unknown(failure)) = &ended.report.verdict else {
            panic!("{}: {:?}", step.place, ended.report);
        };
        assert_eq!(
            failure.kind,
            FailureKind::Cancelled,
            "{}: {failure:?}",
            step.place
        );
        assert_eq!(failure.phase, wanted, "{}: {failure:?}", step.place);
        let unknown = matches!(ended.report.verdict, Verdict::Unknown(_));
        assert_eq!(unknown, step.fate == Fate::Unknown, "{}", step.place);
    });
    assert_no_threads();
}

/// Whether the server has come to its misbehaviour.
fn reached(server: &Server, step: &Step) -> bool {
    let ending = if step.large { "*: deaf" } else { "*: silence" };
    (1..=server.sessions()).any(|session| {
        let transcript = server.transcript(session).unwrap_or_default();
        transcript.lines().any(|line| line == ending)
    })
}

#[test]
fn a_panic_ends_the_delivery_with_a_word_of_it_and_none_of_its_own() {
    let _alone = alone();
    let server = start(options().user(USER, PASSWORD));
    // It asks for credentials, and rings for that.
    let rings = Arc::new(AtomicUsize::new(0));
    let counted = rings.clone();
    let bell = move || {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            panic!("with {PASSWORD}");
        }
    };
    let delivery = Delivery::open(request(&server), Box::new(bell)).unwrap();
    let (mut seen, mut ended) = (Vec::new(), false);
    while !ended {
        std::thread::yield_now();
        let events = delivery.events();
        ended = events.iter().any(|event| matches!(event, Event::Done(_)));
        seen.extend(events);
    }
    assert!(rings.load(Ordering::SeqCst) > 0);
    let finished: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            Event::Finished(0, report) => Some(&report.verdict),
            _ => None,
        })
        .collect();
    assert!(
        matches!(finished[..], [Verdict::Failed(failure)] if failure.text.contains("internal error")),
        "{seen:?}"
    );
    assert_no_secret(&format!("{seen:?}"));
    // The next one is none the worse for it.
    deliver_answering(request(&server), |_| {
        Some(Answer::Login(Some(login(PASSWORD, &[Mechanism::Plain]))))
    })
    .assert_accepted();
}
