//! A probe tells every step, tries an envelope, and never sends anything.

mod support;

use smtpmail_core::delivery::{Answer, Delivery, Envelope, Event, Probe, Question, Request};
use smtpmail_core::smtp::address::ReversePath;
use smtpmail_core::smtp::failure::{Failure, FailureKind, Phase};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::Server;

use self::support::*;

fn probe(server: &Server, recipients: &[&str]) -> Request {
    let mut all = request(server);
    all.messages.clear();
    let envelope = Envelope {
        reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
        recipients: mailboxes(recipients),
        options: DeliveryOptions::default(),
    };
    all.probe = Some(Probe {
        envelope: (!recipients.is_empty()).then_some(envelope),
    });
    all
}

/// Run to the end; all events.
fn look(request: Request, mut answer: impl FnMut(&Question) -> Answer) -> Vec<Event> {
    let mut under = Under::begin(request);
    let mut seen = 0;
    while under.until(|event| matches!(event, Event::Question(..))) {
        for event in &under.events[seen..] {
            if let Event::Question(id, question) = event {
                let delivery: &Delivery = &under.delivery;
                delivery.answer(*id, answer(question));
            }
        }
        seen = under.events.len();
    }
    under.events
}

/// Why the probe did not come to its end.
fn failure(events: &[Event]) -> Option<Failure> {
    let ends: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Probed(failure) => Some(failure.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "{events:#?}");
    ends.into_iter().next().expect("there is one")
}

fn tried(events: &[Event]) -> Vec<(String, u16)> {
    let tried = events.iter().filter_map(|event| match event {
        Event::Tried(command, reply) => Some((command.clone(), reply.code())),
        _ => None,
    });
    tried.collect()
}

fn assert_nothing_sent(server: &Server) {
    assert!(server.wait_until_quiet(WATCHDOG));
    assert!(server.messages().is_empty());
}

#[test]
fn every_step_is_told_and_nothing_is_sent() {
    let rules = ["rcpt:no@example.net=reply 550 5.1.1 no"];
    let server = start(options_on(&rules).user(USER, PASSWORD));
    let recipients = ["bob@example.net", "no@example.net", "eve@example.net"];
    let events = look(probe(&server, &recipients), |_| good_login());
    assert_eq!(failure(&events), None);
    let addresses = events
        .iter()
        .filter(|e| matches!(e, Event::Address(_, None)));
    assert_eq!(addresses.count(), 1);
    assert!(events.iter().any(|e| matches!(e, Event::Secured(_))));
    assert!(events.iter().any(|e| matches!(e, Event::LoggedIn)));
    let expected = [
        ("MAIL FROM:<ada@example.org>", 250),
        ("RCPT TO:<bob@example.net>", 250),
        ("RCPT TO:<no@example.net>", 550),
        ("RCPT TO:<eve@example.net>", 250),
    ];
    let tried = tried(&events);
    let tried: Vec<_> = tried.iter().map(|(c, code)| (c.as_str(), *code)).collect();
    assert_eq!(tried, expected);
    assert_nothing_sent(&server);
}

#[test]
fn a_refused_login_is_the_end() {
    let server = start(options().user(USER, PASSWORD));
    let events = look(
        probe(&server, &["bob@example.net"]),
        |question| match question {
            Question::Credentials { refused: None, .. } => {
                Answer::Login(Some(login("wrong", &[Mechanism::Plain])))
            }
            _ => Answer::Login(None),
        },
    );
    let failure = failure(&events).expect("the login is refused");
    assert_eq!((failure.code, failure.phase), (Some(535), Phase::Auth));
    assert_eq!(tried(&events), []);
    assert_nothing_sent(&server);
}

#[test]
fn no_recipient_is_tried_without_a_sender() {
    let server = start(options_on(&["mail=reply 550 5.7.1 no"]));
    let events = look(probe(&server, &["bob@example.net"]), |_| {
        Answer::Login(None)
    });
    assert_eq!(failure(&events), None);
    let tried = tried(&events);
    assert_eq!(tried, [("MAIL FROM:<ada@example.org>".to_owned(), 550)]);
    assert_nothing_sent(&server);
}

#[test]
fn without_an_envelope_nothing_is_tried() {
    let server = start(options());
    let events = look(probe(&server, &[]), |_| Answer::Login(None));
    assert_eq!(failure(&events), None);
    assert_eq!(tried(&events), []);
    assert_nothing_sent(&server);
}

#[test]
fn a_server_that_leaves_at_an_envelope_is_told() {
    let server = start(options_on(&["rcpt=close"]));
    let events = look(probe(&server, &["bob@example.net"]), |_| {
        Answer::Login(None)
    });
    let failure = failure(&events).expect("the server left");
    assert_eq!(failure.kind, FailureKind::Closed);
    let tried = tried(&events);
    assert_eq!(tried, [("MAIL FROM:<ada@example.org>".to_owned(), 250)]);
    assert_nothing_sent(&server);
}

#[test]
fn where_nobody_listens_the_address_is_told() {
    let server = start(options());
    let mut request = probe(&server, &[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    request.port = taken.local_addr().expect("it is bound").port();
    drop(taken);
    let events = look(request, |question| panic!("{question:?}"));
    let told = failure(&events).expect("nobody listens");
    assert_eq!(told.kind, FailureKind::Connect);
    let addresses = events.iter().filter(|event| match event {
        Event::Address(_, failure) => failure.is_some(),
        _ => false,
    });
    assert!(addresses.count() >= 1, "{events:#?}");
}
