//! What a login says, and what becomes of it when it is refused.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtpmail_core::smtp::dialogue::{Dialogue, Input, LoginAnswer, Output, Question, SpeedUp};
use smtpmail_core::smtp::failure::FailureKind;
use smtpmail_core::smtp::reply::Reply;
use smtpmail_core::smtp::sasl::{Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;

use super::super::dialogue_support::plan;
use super::{Driven, said};

/// A login that begins, and what came out: under TLS, to a server that offers this,
/// bound to nothing or to what `end_point` says.
fn login_begins(
    credentials: [&str; 2],
    mechanism: Mechanism,
    offered: &str,
    end_point: Option<Vec<u8>>,
) -> (Driven, Vec<Output>) {
    login_of(credentials, vec![mechanism], offered, end_point)
}

fn login_of(
    [user, password]: [&str; 2],
    mechanisms: Vec<Mechanism>,
    offered: &str,
    end_point: Option<Vec<u8>>,
) -> (Driven, Vec<Output>) {
    let mut plan = plan(0);
    plan.login = Some(LoginAnswer {
        credentials: Arc::new(Credentials {
            user: user.into(),
            secret: Secret::from(password),
            authzid: None,
        }),
        mechanisms,
        required: true,
    });
    let mut driven = Driven(Dialogue::new(plan));
    if let Some(end_point) = end_point {
        driven.0.bind_channel(end_point);
    }
    driven.hear(220);
    let auth = format!("AUTH {offered}");
    let lines = ["mx", "PIPELINING", &auth].map(|line| line.as_bytes().to_vec());
    let outputs = driven.handle(Input::Reply(Reply::new(250, lines.to_vec())));
    (driven, outputs)
}

/// The first flight in `outputs`, as it stands on the wire.
fn wire(outputs: &[Output]) -> String {
    let flight = outputs.iter().find_map(|output| match output {
        Output::Send(commands) => Some(commands),
        _ => None,
    });
    let mut wire = Vec::new();
    let commands = flight.expect("something said").iter();
    commands.for_each(|command| command.write_to(&mut wire));
    String::from_utf8(wire).expect("ASCII")
}

#[test]
fn an_initial_response_goes_on_the_line_if_it_fits() {
    // "AUTH PLAIN " and 496 octets of base64 and CRLF are less than 512; 500 are one
    // too many. Only what was said whole may carry an envelope.
    let carries = |outputs: &[Output]| {
        outputs
            .iter()
            .any(|output| matches!(output, Output::LoggingIn))
    };
    for (octets, fits) in [(372, true), (373, false)] {
        let password = "p".repeat(octets - "\0tim\0".len());
        let (_, outputs) = login_begins(["tim", &password], Mechanism::Plain, "PLAIN", None);
        let length = if fits { 509 } else { "AUTH PLAIN\r\n".len() };
        assert_eq!(wire(&outputs).len(), length);
        assert_eq!(carries(&outputs), fits);
    }
    let (_, outputs) = login_begins(["tim", "token"], Mechanism::Xoauth2, "XOAUTH2", None);
    assert!(!carries(&outputs));
}

#[test]
fn what_a_login_says_of_the_channel() {
    let end_point = || Some(vec![7; 32]);
    let both = "SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    for (mechanism, offered, end_point, flag) in [
        (
            Mechanism::ScramSha256Plus,
            both,
            end_point(),
            "p=tls-server-end-point,",
        ),
        // It was announced, and is not used.
        (Mechanism::ScramSha256, both, end_point(), "n,"),
        // It would have been used.
        (Mechanism::ScramSha256, "SCRAM-SHA-256", end_point(), "y,"),
        (Mechanism::ScramSha256, "SCRAM-SHA-256", None, "n,"),
    ] {
        let (_, outputs) = login_begins(["tim", "tanstaaf"], mechanism, offered, end_point);
        let line = wire(&outputs);
        let said = line.trim_end().rsplit(' ').next().unwrap_or_default();
        let said = String::from_utf8(STANDARD.decode(said).expect("base64")).expect("ASCII");
        assert!(said.starts_with(flag), "{mechanism:?} {offered}: {said}");
    }
}

#[test]
fn a_refused_login_with_an_envelope_behind_it_is_the_password_s_from_510_on() {
    for (code, blames_password) in [(509, false), (510, true)] {
        let (mut driven, _) = login_begins(["tim", "tanstaaf"], Mechanism::Plain, "PLAIN", None);
        assert_eq!(driven.send(0), ["MAIL", "RCPT", "DATA"]);
        let outputs = driven.hear(code);
        let asks = matches!(outputs[..], [Output::Ask(Question::Credentials { .. }), ..]);
        let blames = matches!(
            outputs[..],
            [Output::SwitchOff(SpeedUp::PipelinedLogin, _), ..]
        );
        assert_eq!(
            (asks, blames),
            (blames_password, !blames_password),
            "{outputs:?}"
        );
    }
}

#[test]
fn a_refused_mechanism_with_nothing_behind_it_is_no_fault_of_a_speed_up() {
    let (mut driven, outputs) = login_begins(["tim", "x"], Mechanism::Plain, "PLAIN", None);
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::LoggingIn))
    );
    let outputs = driven.hear(504);
    assert!(
        matches!(outputs[..], [Output::Done(Some(_))]),
        "{outputs:?}"
    );
}

#[test]
fn a_refused_type_of_binding_is_done_without_once() {
    let mechanisms = vec![Mechanism::ScramSha256Plus, Mechanism::ScramSha256];
    let offered = "SCRAM-SHA-256 SCRAM-SHA-256-PLUS";
    let (mut driven, _) = login_of(["tim", "tanstaaf"], mechanisms, offered, Some(vec![7; 32]));
    let refusal = STANDARD.encode("e=unsupported-channel-binding-type");
    let refuse = Reply::new(334, vec![refusal.into_bytes()]);
    assert_eq!(said(&driven.handle(Input::Reply(refuse.clone()))), ["*"]);
    let outputs = driven.hear(501);
    assert!(
        matches!(outputs[..], [Output::Note(_), Output::Send(_)]),
        "{outputs:?}"
    );
    let line = wire(&outputs);
    let response = line.trim_end().strip_prefix("AUTH SCRAM-SHA-256 ");
    let response = STANDARD.decode(response.expect("another mechanism"));
    assert!(response.expect("base64").starts_with(b"n,,"), "{line}");
    // The other one binds nothing, so that this is another refusal.
    driven.handle(Input::Reply(refuse));
    let outputs = driven.hear(501);
    assert!(matches!(
        outputs[..],
        [Output::Ask(Question::Credentials { .. })]
    ));
}

#[test]
fn what_the_last_mechanism_cannot_say_is_told() {
    let (_, outputs) = login_begins(["t\0m", "tanstaaf"], Mechanism::Plain, "PLAIN", None);
    let Some(Output::Done(Some(failure))) = outputs.last() else {
        panic!("{outputs:?}");
    };
    assert_eq!(failure.kind, FailureKind::Authentication);
    assert!(failure.text.contains("user name"), "{}", failure.text);
}

#[test]
fn what_is_known_of_the_server_and_of_the_login() {
    let (mut driven, _) = login_begins(["tim", "x"], Mechanism::Plain, "PLAIN LOGIN", None);
    assert!(driven.0.capabilities().pipelining);
    assert_eq!(driven.0.capabilities().auth, ["PLAIN", "LOGIN"]);
    assert_eq!(driven.0.login(), Some(("tim", Mechanism::Plain)));
    assert!(!driven.0.is_logged_in());
    driven.hear(235);
    assert!(driven.0.is_logged_in());
    assert_eq!(driven.0.login(), Some(("tim", Mechanism::Plain)));
}
