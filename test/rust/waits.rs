//! How often a session waits for the server: counted, not timed. The dialogue is
//! driven in memory against a server that does all right and answers only when
//! the client has nothing more to say. Connection, greeting and TLS handshake do
//! not count; nor does QUIT, which nobody waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath};
use smtpmail_core::smtp::command::Command;
use smtpmail_core::smtp::dialogue::{
    Dialogue, FIRST_MESSAGES_IN_FLIGHT, Input, LoginAnswer, MAX_MESSAGES_IN_FLIGHT, Message,
    Output, Plan, RefusedRecipients, SaslContext, Security, SpeedUp, Verdict,
};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_core::smtp::reply::Reply;
use smtpmail_core::smtp::sasl::{Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;

/// One way to send.
#[derive(Clone)]
struct Case {
    chunking: bool,
    pipelining: bool,
    security: Security,
    login: Option<Mechanism>,
    recipients: usize,
    refused: RefusedRecipients,
    without: Vec<SpeedUp>,
}

/// A message by DATA or by BDAT, to one, without a login.
fn case(chunking: bool) -> Case {
    Case {
        chunking,
        pipelining: true,
        security: Security::Never,
        login: None,
        recipients: 1,
        refused: RefusedRecipients::Abort,
        without: Vec::new(),
    }
}

struct Connection {
    case: Case,
    dialogue: Dialogue,
    /// Replies that the server has not sent yet.
    replies: VecDeque<Reply>,
    waits: usize,
    protected: bool,
    /// Messages not yet given to the dialogue, and those under way.
    line: VecDeque<Message>,
    aboard: usize,
    most_aboard: usize,
    ready: bool,
    accepted: usize,
    over: bool,
}

fn reply(code: u16, text: &str) -> Reply {
    Reply::new(code, text.lines().map(|line| line.into()).collect())
}

impl Connection {
    fn new(case: Case, messages: usize) -> Self {
        let login = case.login.map(|mechanism| LoginAnswer {
            credentials: Arc::new(Credentials {
                user: "tim".into(),
                secret: Secret::from("tanstaaftanstaaf"),
                authzid: None,
            }),
            mechanisms: vec![mechanism],
            required: true,
        });
        let plan = Plan {
            ehlo_name: EhloName::parse("client.example.org").expect("a name"),
            security: case.security,
            clear_login_allowed: true,
            login_required: login.is_some(),
            login,
            sasl: SaslContext {
                nonce: "rOprNGfwEbeRWgbNEkqOFmSr".into(),
                host: "mx.example.org".into(),
                port: 587,
            },
            verb: false,
            refused_recipients: case.refused,
            strict_content: false,
            without: case.without.clone(),
        };
        let mut connection = Self {
            dialogue: Dialogue::new(plan),
            replies: VecDeque::new(),
            waits: 0,
            protected: false,
            line: VecDeque::new(),
            aboard: 0,
            most_aboard: 0,
            ready: false,
            accepted: 0,
            over: false,
            case,
        };
        connection.add(messages);
        connection.handle(Input::Reply(reply(220, "mx.example.org")));
        connection
    }

    fn add(&mut self, messages: usize) {
        let recipients: Vec<Mailbox> = (0..self.case.recipients)
            .map(|n| Mailbox::parse(&format!("r{n}@example.net")).expect("a mailbox"))
            .collect();
        for id in 0..messages as u64 {
            self.line.push_back(Message {
                id,
                reverse_path: ReversePath::parse("a@example.org").expect("a path"),
                recipients: recipients.clone(),
                octets: 1000,
                eight_bit: false,
                header_eight_bit: false,
                longest_line: 78,
                options: DeliveryOptions::default(),
            });
        }
    }

    /// As the courier does.
    fn feed(&mut self) {
        while self.aboard < self.dialogue.message_window() {
            let Some(message) = self.line.pop_front() else {
                return;
            };
            self.aboard += 1;
            self.most_aboard = self.most_aboard.max(self.aboard);
            self.handle(Input::NextMessage(message));
        }
    }

    fn handle(&mut self, input: Input) {
        self.dialogue.handle(input);
        while let Some(output) = self.dialogue.next_output() {
            match output {
                Output::Send(commands) => commands.iter().for_each(|c| self.serve(c)),
                Output::StartTls => {
                    self.protected = true;
                    self.dialogue.handle(Input::TlsReady);
                }
                Output::SendText(..) => {
                    if !self.case.chunking {
                        self.replies.push_back(reply(250, "2.0.0 stored"));
                    }
                    self.dialogue.handle(Input::TextSent);
                }
                Output::LoggingIn => self.feed(),
                Output::Ready => {
                    self.ready = true;
                    self.feed();
                }
                Output::Finished(_, outcome) => {
                    assert!(
                        matches!(outcome.verdict, Verdict::Accepted(_)),
                        "{outcome:?}"
                    );
                    self.accepted += 1;
                    self.aboard -= 1;
                    self.feed();
                }
                Output::Done(failure) => {
                    assert!(failure.is_none(), "{failure:?}");
                    self.over = true;
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn serve(&mut self, command: &Command) {
        let mut offers = String::from("mx.example.org");
        for (offered, keyword) in [
            (self.case.pipelining, "PIPELINING"),
            (self.case.chunking, "CHUNKING"),
            (!self.protected, "STARTTLS"),
            (self.case.login.is_some(), "AUTH CRAM-MD5 PLAIN LOGIN"),
        ] {
            if offered {
                offers += &format!("\n{keyword}");
            }
        }
        self.replies.push_back(match command {
            Command::Ehlo(_) => reply(250, &offers),
            Command::StartTls => reply(220, "go"),
            Command::Auth("PLAIN", Some(_)) => reply(235, "welcome"),
            Command::Auth(..) => reply(334, "PDE4OTYuNjk3MTcwOTUyQG14PgA="),
            Command::AuthResponse(_) => reply(235, "welcome"),
            Command::Data => reply(354, "go"),
            Command::Quit => return,
            _ => reply(250, "ok"),
        });
    }

    /// All messages given to it are delivered; how often it waited since the last
    /// time.
    fn run(&mut self) -> usize {
        self.feed();
        let before = self.waits;
        while !self.replies.is_empty() {
            self.waits += 1;
            for reply in std::mem::take(&mut self.replies) {
                self.handle(Input::Reply(reply));
            }
        }
        assert!(self.line.is_empty() && self.aboard == 0);
        self.waits - before
    }
}

/// Waits with DATA and with BDAT.
fn waits(messages: usize, change: impl Fn(&mut Case)) -> (usize, usize) {
    let [data, bdat] = [false, true].map(|chunking| {
        let mut case = case(chunking);
        change(&mut case);
        let mut connection = Connection::new(case, messages);
        let waits = connection.run();
        assert_eq!(connection.accepted, messages);
        connection.handle(Input::NoMoreMessages);
        assert!(connection.over, "QUIT is waited for");
        waits
    });
    (data, bdat)
}

#[test]
fn one_message() {
    assert_eq!(waits(1, |_| ()), (3, 2));
}

#[test]
fn one_message_by_starttls() {
    assert_eq!(waits(1, |case| case.security = Security::Required), (5, 4));
}

#[test]
fn a_queue() {
    for messages in [2, 5, FIRST_MESSAGES_IN_FLIGHT] {
        assert_eq!(waits(messages, |_| ()), (messages + 2, 2));
    }
    // The window slides by what a flight of replies has settled, and each message
    // that was accepted makes it wider by one, up to a limit.
    let behind_first = 100 - FIRST_MESSAGES_IN_FLIGHT;
    let windows = 1 + behind_first.div_ceil(MAX_MESSAGES_IN_FLIGHT);
    assert_eq!(waits(100, |_| ()), (102, 1 + windows));
}

#[test]
fn a_queue_fills_its_window_and_no_more() {
    for (messages, most) in [
        (FIRST_MESSAGES_IN_FLIGHT + 1, FIRST_MESSAGES_IN_FLIGHT),
        (200, MAX_MESSAGES_IN_FLIGHT),
    ] {
        let mut connection = Connection::new(case(true), messages);
        connection.run();
        assert_eq!(connection.most_aboard, most);
    }
    let mut connection = Connection::new(case(false), 100);
    connection.run();
    assert_eq!(connection.most_aboard, 2);
}

#[test]
fn a_hundred_recipients() {
    let hundred = |refused| {
        waits(1, |case| {
            (case.recipients, case.refused) = (100, refused);
        })
    };
    assert_eq!(hundred(RefusedRecipients::Abort), (3, 3));
    assert_eq!(hundred(RefusedRecipients::Ask), (3, 3));
    assert_eq!(hundred(RefusedRecipients::SendRest), (3, 2));
}

#[test]
fn a_kept_connection() {
    for (chunking, expected) in [(false, 2), (true, 1)] {
        let mut connection = Connection::new(case(chunking), 1);
        connection.run();
        for _ in 0..3 {
            connection.add(1);
            assert_eq!(connection.run(), expected);
        }
        assert_eq!(connection.accepted, 4);
    }
}

#[test]
fn logins() {
    let login = |mechanism| waits(1, |case| case.login = Some(mechanism));
    assert_eq!(login(Mechanism::Plain), (3, 2 + 1));
    assert_eq!(login(Mechanism::CramMd5), (3 + 2, 2 + 2));
    let queue = waits(10, |case| case.login = Some(Mechanism::Plain));
    // Behind the envelope that rode, all others follow in the next flight.
    assert_eq!(queue, (12, 3));
}

#[test]
fn without_pipelining_each_command_waits() {
    for recipients in [1, 2, 7] {
        let waits = waits(1, |case| {
            (case.pipelining, case.recipients) = (false, recipients);
        });
        assert_eq!(waits, (4 + recipients, 3 + recipients));
    }
}

#[test]
fn what_is_switched_off_waits() {
    let without = |speed_up| waits(1, |case| case.without = vec![speed_up]);
    assert_eq!(without(SpeedUp::Pipelining), (5, 4));
    let login = waits(1, |case| {
        case.login = Some(Mechanism::Plain);
        case.without = vec![SpeedUp::PipelinedLogin];
    });
    assert_eq!(login, (4, 3));
}
