//! Reads a transcript: the lines of [`super`] into a plan and events.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath};
use smtpmail_core::smtp::dialogue::{
    LoginAnswer, Message, Plan, RefusedRecipients, SaslContext, Security, SpeedUp,
};
use smtpmail_core::smtp::failure::FailureKind;
use smtpmail_core::smtp::options::{DeliveryOptions, Dsn, EnvelopeId, Notify, Priority, Returned};
use smtpmail_core::smtp::sasl::{Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;

#[derive(Clone)]
pub enum Event {
    /// What the server sends at once, with its line ends.
    Server(Vec<u8>),
    /// A line that must come out.
    Expect(String),
    Message(Message),
    Login(Option<LoginAnswer>),
    /// A line of a login from outside, and its success.
    Say(String),
    LoggedInOutside,
    Yes(bool),
    TlsReady,
    TextSent,
    TextLost,
    NoMoreMessages,
    Closed(FailureKind),
    /// The state that must be seen from outside.
    Phase(String),
    NoClock,
    LoggedIn,
    Leftovers,
}

impl Event {
    /// `L:` lines that go in, or look: `sent`, `text lost`, `tls ready`, `no more`, `closed`, `timeout`,
    /// `answer USER SECRET [required]`, `answer none|yes|no`, `phase NAME`,
    /// `no clock`, `logged in`, `leftovers`. All others are expected to come out.
    fn parse(text: &str, mechanisms: &[Mechanism]) -> Self {
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["sent"] => Self::TextSent,
            ["text", "lost"] => Self::TextLost,
            ["tls", "ready"] => Self::TlsReady,
            ["no", "more"] => Self::NoMoreMessages,
            ["closed"] => Self::Closed(FailureKind::Closed),
            ["timeout"] => Self::Closed(FailureKind::Timeout),
            ["no", "clock"] => Self::NoClock,
            ["logged", "in"] => Self::LoggedIn,
            ["leftovers"] => Self::Leftovers,
            ["phase", name] => Self::Phase(name.into()),
            ["logged", "in", "outside"] => Self::LoggedInOutside,
            ["say", ..] => Self::Say(text["say ".len()..].into()),
            ["answer", "none"] => Self::Login(None),
            ["answer", "yes"] => Self::Yes(true),
            ["answer", "no"] => Self::Yes(false),
            ["answer", user, secret] => Self::Login(Some(login(user, secret, mechanisms, false))),
            ["answer", user, secret, "required"] => {
                Self::Login(Some(login(user, secret, mechanisms, true)))
            }
            ["answer", ..] => panic!("no such answer: {text}"),
            _ => Self::Expect(format!("L: {text}")),
        }
    }
}

pub struct Transcript {
    pub plan: Plan,
    pub events: Vec<Event>,
    /// What must not stand in a trace.
    pub secrets: Vec<String>,
}

fn login(user: &str, secret: &str, mechanisms: &[Mechanism], required: bool) -> LoginAnswer {
    LoginAnswer {
        credentials: Arc::new(Credentials {
            user: user.into(),
            secret: Secret::from(secret),
            authzid: None,
        }),
        mechanisms: mechanisms.to_vec(),
        required,
    }
}

/// `key=value` or `key`.
fn setting(word: &str) -> (&str, &str) {
    word.split_once('=').unwrap_or((word, ""))
}

/// `ehlo=NAME`, `security=implicit|never|opportunistic|required`,
/// `mechanisms=A,B`, `login=USER:SECRET`, `login-final` (that login is required
/// of the server), `login-required`, `clear-login-allowed`, `verb`, `strict-content`,
/// `refused=abort|ask|send-rest`, `without=chunking|pipelining|pipelined-login`.
fn plan(text: &str) -> (Plan, Vec<Mechanism>) {
    let mut plan = Plan {
        ehlo_name: EhloName::parse("client.example.org").expect("it is a name"),
        security: Security::Never,
        clear_login_allowed: false,
        login_required: false,
        login: None,
        sasl: SaslContext {
            nonce: "rOprNGfwEbeRWgbNEkqOFmSr".into(),
            host: "mx.example.org".into(),
            port: 587,
        },
        verb: false,
        refused_recipients: RefusedRecipients::Ask,
        strict_content: false,
        without: Vec::new(),
    };
    let mut mechanisms = vec![Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login];
    let mut known: Option<(String, String)> = None;
    let mut login_final = false;
    for (key, value) in text.split_whitespace().map(setting) {
        match (key, value) {
            ("ehlo", name) => plan.ehlo_name = EhloName::parse(name).expect("a name"),
            ("security", "implicit") => plan.security = Security::Implicit,
            ("security", "never") => plan.security = Security::Never,
            ("security", "opportunistic") => plan.security = Security::Opportunistic,
            ("security", "required") => plan.security = Security::Required,
            ("mechanisms", names) => {
                mechanisms = names
                    .split(',')
                    .map(|name| Mechanism::from_keyword(name).expect(name))
                    .collect();
            }
            ("login", pair) => {
                let (user, secret) = pair.split_once(':').expect("login=USER:SECRET");
                known = Some((user.into(), secret.into()));
            }
            ("login-final", "") => login_final = true,
            ("login-required", "") => plan.login_required = true,
            ("clear-login-allowed", "") => plan.clear_login_allowed = true,
            ("verb", "") => plan.verb = true,
            ("strict-content", "") => plan.strict_content = true,
            ("refused", "abort") => plan.refused_recipients = RefusedRecipients::Abort,
            ("refused", "ask") => plan.refused_recipients = RefusedRecipients::Ask,
            ("without", "chunking") => plan.without.push(SpeedUp::Chunking),
            ("without", "pipelining") => plan.without.push(SpeedUp::Pipelining),
            ("without", "pipelined-login") => plan.without.push(SpeedUp::PipelinedLogin),
            ("refused", "send-rest") => plan.refused_recipients = RefusedRecipients::SendRest,
            _ => panic!("no such setting of a plan: {key}={value}"),
        }
    }
    plan.login = known.map(|(user, secret)| login(&user, &secret, &mechanisms, login_final));
    (plan, mechanisms)
}

/// `from=PATH to=A,B octets=N eight-bit[=header] longest-line=N dsn=WORD,… priority=N
/// require-tls`.
fn message(text: &str, id: u64) -> Message {
    let mut message = Message {
        id,
        reverse_path: ReversePath::Null,
        recipients: Vec::new(),
        octets: 100,
        eight_bit: false,
        header_eight_bit: false,
        longest_line: 78,
        options: DeliveryOptions::default(),
    };
    for (key, value) in text.split_whitespace().map(setting) {
        match (key, value) {
            ("from", path) => message.reverse_path = ReversePath::parse(path).expect(path),
            ("to", list) => {
                let parse = |text| Mailbox::parse(text).expect(text);
                message.recipients = list.split(',').map(parse).collect();
            }
            ("octets", number) => message.octets = number.parse().expect(number),
            ("eight-bit", "") => message.eight_bit = true,
            ("eight-bit", "header") => {
                (message.eight_bit, message.header_eight_bit) = (true, true);
            }
            ("dsn", words) => message.options.dsn = Some(dsn(words)),
            ("priority", number) => {
                message.options.priority = Priority::new(number.parse().expect(number));
            }
            ("require-tls", "") => message.options.require_tls = true,
            ("longest-line", number) => message.longest_line = number.parse().expect(number),
            _ => panic!("no such setting of a message: {key}={value}"),
        }
    }
    message
}

/// `never`, `success`, `failure`, `delay`, `full`, `headers`, `demanded`, `id:TEXT`.
fn dsn(words: &str) -> Dsn {
    let mut dsn = Dsn::default();
    for word in words.split(',') {
        let (mut success, mut failure, mut delay) = match dsn.notify {
            Notify::When {
                success,
                failure,
                delay,
            } => (success, failure, delay),
            _ => (false, false, false),
        };
        match word {
            "full" => dsn.returned = Some(Returned::Full),
            "headers" => dsn.returned = Some(Returned::Headers),
            "demanded" => dsn.demanded = true,
            "never" => dsn.notify = Notify::Never,
            "success" => success = true,
            "failure" => failure = true,
            "delay" => delay = true,
            _ => {
                let id = word.strip_prefix("id:").expect(word);
                dsn.envelope_id = EnvelopeId::new(id);
            }
        }
        if success || failure || delay {
            dsn.notify = Notify::When {
                success,
                failure,
                delay,
            };
        }
    }
    dsn
}

/// Reads a transcript, or says by a panic what is wrong with it.
pub fn parse(text: &str) -> Transcript {
    let mut settled = None;
    let mut events: Vec<Event> = Vec::new();
    let mut secrets = Vec::new();
    let mut messages = 0;
    let mut lines = text.lines().enumerate();
    let mut continues = false;
    for (index, line) in &mut lines {
        let server_before = std::mem::replace(&mut continues, false);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (mark, rest) = line.split_once(':').unwrap_or((line, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        if mark == "plan" {
            assert!(settled.is_none() && events.is_empty(), "a plan comes first");
            settled = Some(plan(rest));
            continue;
        }
        let mechanisms = &settled.as_ref().expect("a plan comes first").1;
        match mark {
            "S" => {
                continues = true;
                let octets = format!("{rest}\r\n").into_bytes();
                match events.last_mut() {
                    Some(Event::Server(block)) if server_before => block.extend(octets),
                    _ => events.push(Event::Server(octets)),
                }
            }
            "C" => events.push(Event::Expect(format!("C: {rest}"))),
            "L" => events.push(Event::parse(rest, mechanisms)),
            "message" => {
                messages += 1;
                events.push(Event::Message(message(rest, messages)));
            }
            _ => panic!("line {}: {line}", index + 1),
        }
    }
    let (plan, _) = settled.expect("a plan comes first");
    let logins = events.iter().filter_map(|event| match event {
        Event::Login(Some(login)) => Some(login),
        _ => None,
    });
    for login in logins.chain(&plan.login) {
        let secret = login.credentials.secret.expose();
        secrets.push(String::from_utf8_lossy(secret).into_owned());
        secrets.push(STANDARD.encode(secret));
        let plain = format!(
            "\0{}\0{}",
            login.credentials.user,
            secrets[secrets.len() - 2]
        );
        secrets.push(STANDARD.encode(plain));
    }
    assert!(
        events.iter().any(|event| matches!(event, Event::Server(_)))
            && events.iter().any(|event| matches!(event, Event::Expect(_))),
        "a transcript has two sides"
    );
    Transcript {
        plan,
        events,
        secrets,
    }
}
