//! An observer of the dialogue, who believes only what goes in and comes out,
//! and walks that drive it: what a server, a user and the network do, most of
//! it sensible, some at the wrong moment. For properties and for fuzzing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath};
use smtpmail_core::smtp::command::Command;
use smtpmail_core::smtp::content::Framing;
use smtpmail_core::smtp::dialogue::{
    Dialogue, Input, LoginAnswer, MAX_COMMANDS_IN_FLIGHT, Message, MessageId, Output, Plan,
    Question, RefusedRecipients, SaslContext, Security, Verdict,
};
use smtpmail_core::smtp::failure::{Failure, FailureKind, Phase};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_core::smtp::reply::{Reply, ReplyClass};
use smtpmail_core::smtp::sasl::{Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;

const PASSWORD: &str = "tanstaaftanstaaf";

/// Codes that come when it is not the right one that comes.
const CODES: [u16; 22] = [
    220, 221, 235, 250, 251, 334, 354, 421, 450, 451, 452, 454, 500, 503, 504, 530, 535, 538, 550,
    552, 554, 559,
];

const EXTENSIONS: [&str; 10] = [
    "PIPELINING",
    "STARTTLS",
    "AUTH CRAM-MD5 PLAIN LOGIN",
    "AUTH PLAIN",
    "SIZE 500",
    "8BITMIME",
    "SMTPUTF8",
    "VERB",
    "XUSR",
    "CHUNKING",
];

fn login(required: bool) -> LoginAnswer {
    LoginAnswer {
        credentials: Arc::new(Credentials {
            user: "tim".into(),
            secret: Secret::from(PASSWORD),
            authzid: None,
        }),
        mechanisms: match required {
            true => vec![Mechanism::Plain],
            false => vec![Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login],
        },
        required,
    }
}

pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).expect("a mailbox")
}

/// A message whose addresses tell its number.
pub fn message(id: MessageId, recipients: usize, octets: u64) -> Message {
    Message {
        id,
        reverse_path: ReversePath::Mailbox(mailbox(&format!("m{id}@example.org"))),
        recipients: (0..recipients)
            .map(|index| mailbox(&format!("m{id}r{index}@example.net")))
            .collect(),
        octets,
        eight_bit: false,
        header_eight_bit: false,
        longest_line: 78,
        options: DeliveryOptions::default(),
    }
}

pub fn plan(seed: u16) -> Plan {
    let bit = |n: u16| seed >> n & 1 == 1;
    Plan {
        ehlo_name: EhloName::parse("client.example.org").expect("a name"),
        security: match seed & 3 {
            0 => Security::Implicit,
            1 => Security::Never,
            2 => Security::Opportunistic,
            _ => Security::Required,
        },
        clear_login_allowed: bit(2),
        login_required: bit(3) && bit(4),
        login: bit(5).then(|| login(bit(6))),
        sasl: SaslContext {
            nonce: "rOprNGfwEbeRWgbNEkqOFmSr".into(),
            host: "mx.example.org".into(),
            port: 587,
        },
        verb: bit(7),
        refused_recipients: match seed >> 8 & 3 {
            0 => RefusedRecipients::Abort,
            1 => RefusedRecipients::Ask,
            _ => RefusedRecipients::SendRest,
        },
        strict_content: false,
        without: Vec::new(),
    }
}

/// What a reply is due to, as seen on the wire.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Due {
    Greeting,
    Ehlo,
    Auth,
    Mail(MessageId),
    Recipient(MessageId),
    Data(MessageId),
    Final(MessageId),
    StartTls,
    Other,
}

#[derive(Default, Debug)]
pub struct Seen {
    recipients: usize,
    recipient_replies: usize,
    accepted: usize,
    /// Replies that count as refusals for the policy.
    refused: usize,
    invited: bool,
    mail_refused: bool,
    text_sent: bool,
    /// The reply to the end of the text.
    word: Option<ReplyClass>,
    finished: usize,
}

impl Seen {
    /// A message for so many recipients, of which nothing is known yet.
    pub fn of(recipients: usize) -> Self {
        Self {
            recipients,
            ..Self::default()
        }
    }
}

/// The observer: believes only inputs and outputs.
pub struct Observer {
    policy: RefusedRecipients,
    dialogue: Dialogue,
    pub due: VecDeque<Due>,
    pub messages: HashMap<MessageId, Seen>,
    current: MessageId,
    pub text: Option<MessageId>,
    question: Option<Question>,
    tls_wanted: bool,
    protected: bool,
    clear_allowed: bool,
    send_rest: bool,
    pipelining: bool,
    chunking: bool,
    /// The code of the last reply.
    code: u16,
    /// The text under way will not come to its end.
    lost: bool,
    /// What was said last of all in a transaction.
    said: Option<Due>,
    chunks: usize,
    riders: usize,
    rider_wanted: bool,
    done: bool,
    quit: bool,
    accepted: usize,
    texts: usize,
    next_id: MessageId,
}

impl Observer {
    pub fn new(plan: Plan) -> Self {
        Self {
            policy: plan.refused_recipients,
            protected: plan.security == Security::Implicit,
            clear_allowed: plan.clear_login_allowed,
            dialogue: Dialogue::new(plan),
            due: [Due::Greeting].into(),
            messages: HashMap::new(),
            current: 0,
            text: None,
            question: None,
            tls_wanted: false,
            send_rest: false,
            pipelining: false,
            chunking: false,
            code: 0,
            lost: false,
            said: None,
            chunks: 0,
            riders: 0,
            rider_wanted: false,
            done: false,
            quit: false,
            accepted: 0,
            texts: 0,
            next_id: 0,
        }
    }

    pub fn handle(&mut self, input: Input) {
        self.dialogue.handle(input);
        // None of these may panic at any moment.
        let _ = (self.dialogue.phase(), self.dialogue.is_waiting());
        while let Some(output) = self.dialogue.next_output() {
            assert!(!self.done, "after the end: {output:?}");
            self.observe(output);
        }
    }

    fn observe(&mut self, output: Output) {
        match output {
            Output::Note(_) | Output::LeftOut(_) => {}
            Output::Send(commands) => commands.iter().for_each(|command| self.sent(command)),
            Output::StartTls => self.tls_wanted = true,
            Output::SendText(id, framing) => {
                let seen = &self.messages[&id];
                assert!(
                    !self.due.contains(&Due::Auth),
                    "text before the word on AUTH"
                );
                let asked = seen.recipient_replies == seen.recipients;
                match framing {
                    Framing::Data => {
                        assert!(seen.invited, "text without 354: {seen:?}");
                        assert!(asked, "{seen:?}");
                        self.due.push_back(Due::Final(id));
                    }
                    Framing::Chunk => {
                        assert_eq!(self.said, Some(Due::Final(id)), "text without BDAT");
                        let only = seen.recipients == 1;
                        assert!(
                            asked || only || self.policy == RefusedRecipients::SendRest,
                            "{seen:?}"
                        );
                        self.chunks += 1;
                    }
                }
                assert!(seen.accepted > 0 || !asked, "text for nobody: {seen:?}");
                assert!(
                    seen.refused == 0
                        || self.policy == RefusedRecipients::SendRest
                        || self.policy == RefusedRecipients::Ask && self.send_rest,
                    "text against the policy: {seen:?}"
                );
                assert!(self.text.is_none(), "one text at a time");
                self.text = Some(id);
                self.texts += 1;
            }
            Output::Ask(question) => {
                if matches!(question, Question::RefusedRecipients(..)) {
                    self.send_rest = false;
                }
                self.question = Some(question);
            }
            Output::LoggingIn => self.rider_wanted = true,
            Output::Ready | Output::Heard(_) | Output::SwitchOff(..) => {}
            Output::Finished(id, outcome) => {
                let seen = self.messages.get_mut(&id).expect("a message that was fed");
                seen.finished += 1;
                assert_eq!(outcome.recipients.len(), seen.recipients);
                match outcome.verdict {
                    Verdict::Accepted(reply) => {
                        assert!(seen.text_sent && reply.class() == ReplyClass::Completed);
                        assert!(seen.accepted > 0, "for nobody: {seen:?}");
                        assert_eq!(seen.word, Some(ReplyClass::Completed));
                        self.accepted += 1;
                    }
                    Verdict::Unknown(_) => assert!(seen.text_sent),
                    Verdict::Failed(_) | Verdict::LoginDemanded(_) | Verdict::Untried(_) => {
                        // Told as not taken: the server has said so, or that it
                        // knows nothing of what came behind.
                        let asked = seen.recipient_replies == seen.recipients;
                        let for_nobody = seen.mail_refused || asked && seen.accepted == 0;
                        let told = match seen.word {
                            Some(word) => word != ReplyClass::Completed,
                            None => matches!(self.code, 421 | 500 | 502),
                        };
                        assert!(!seen.text_sent || for_nobody || told, "{seen:?}");
                    }
                }
            }
            Output::Done(failure) => {
                assert_eq!(failure.is_none(), self.quit);
                self.done = true;
            }
        }
    }

    fn sent(&mut self, command: &Command) {
        let line = command.to_string();
        for secret in [
            PASSWORD.to_owned(),
            STANDARD.encode(PASSWORD),
            STANDARD.encode(format!("\0tim\0{PASSWORD}")),
        ] {
            assert!(!line.contains(&secret), "traced: {line}");
        }
        assert!(!self.quit, "after QUIT: {line}");
        assert!(
            !self.tls_wanted,
            "in clear, in the middle of STARTTLS: {line}"
        );
        assert!(self.text.is_none(), "in the middle of a text: {line}");
        let may_show = self.protected || self.clear_allowed;
        let due = match command {
            Command::Ehlo(_) | Command::Helo(_) => Due::Ehlo,
            Command::StartTls => Due::StartTls,
            Command::Auth(mechanism, _) => {
                assert!(may_show || *mechanism == "CRAM-MD5", "a password in clear");
                Due::Auth
            }
            Command::AuthResponse(_) | Command::AuthCancel => Due::Auth,
            Command::Mail(path, _) => {
                let id = path.as_str()[1..].split('@').next().expect("a local part");
                self.current = id.parse().expect("a number");
                let rides = matches!(self.due.back(), Some(Due::Final(_)));
                assert!(!rides || !self.chunking, "no RSET behind BDAT");
                self.riders += usize::from(self.due.contains(&Due::Auth));
                Due::Mail(self.current)
            }
            Command::Rcpt(mailbox, _) => {
                assert!(mailbox.as_str().starts_with(&format!("m{}r", self.current)));
                Due::Recipient(self.current)
            }
            Command::Data => Due::Data(self.current),
            Command::Bdat(_) => {
                assert!(self.chunking, "BDAT without CHUNKING");
                Due::Final(self.current)
            }
            Command::Quit => {
                self.quit = true;
                return;
            }
            Command::Rset | Command::Old(_) | Command::Line(_) => Due::Other,
        };
        self.said = Some(due);
        self.due.push_back(due);
        let room = match self.pipelining {
            true => MAX_COMMANDS_IN_FLIGHT,
            false => 1,
        };
        assert!(
            self.due.len() <= room,
            "{} commands in flight",
            self.due.len()
        );
    }

    pub fn reply(&mut self, reply: Reply) {
        let class = reply.class();
        self.code = reply.code();
        match self.due.pop_front() {
            Some(Due::Mail(id)) if class != ReplyClass::Completed => {
                let seen = self.messages.get_mut(&id).expect("a message that was fed");
                seen.mail_refused = true;
            }
            Some(Due::Final(id)) => {
                let seen = self.messages.get_mut(&id).expect("a message that was fed");
                seen.word = Some(class);
            }
            Some(Due::Recipient(id)) => {
                let seen = self.messages.get_mut(&id).expect("a message that was fed");
                seen.recipient_replies += 1;
                let postponed = seen.accepted > 0 && matches!(reply.code(), 452 | 552);
                seen.accepted += usize::from(class == ReplyClass::Completed);
                seen.refused += usize::from(class != ReplyClass::Completed && !postponed);
            }
            Some(Due::Data(id)) if class == ReplyClass::Intermediate => {
                self.messages
                    .get_mut(&id)
                    .expect("a message that was fed")
                    .invited = true;
            }
            Some(Due::Ehlo) => {
                let offers = |keyword: &[u8]| {
                    class == ReplyClass::Completed
                        && reply.lines().skip(1).any(|line| line == keyword)
                };
                (self.pipelining, self.chunking) = (offers(b"PIPELINING"), offers(b"CHUNKING"));
            }
            _ => {}
        }
        self.handle(Input::Reply(reply));
    }

    pub fn feed_message(&mut self, recipients: usize, octets: u64) {
        let id = self.next_id;
        self.next_id += 1;
        if !self.done {
            self.messages.insert(id, Seen::of(recipients));
        }
        self.handle(Input::NextMessage(message(id, recipients, octets)));
    }

    fn tls_ready(&mut self) {
        self.protected |= std::mem::take(&mut self.tls_wanted);
        self.handle(Input::TlsReady);
    }

    fn text_sent(&mut self) {
        if let Some(id) = self.text.take() {
            self.messages
                .get_mut(&id)
                .expect("a message that was fed")
                .text_sent = true;
        }
        self.handle(Input::TextSent);
    }

    fn text_lost(&mut self) {
        if self.text.is_some() && !self.lost {
            self.lost = true;
            let failure = Failure::new(FailureKind::Disk, Phase::Text, "no disk");
            self.handle(Input::TextLost(failure));
        }
    }

    fn clear_login(&mut self, yes: bool) {
        self.clear_allowed |= yes && matches!(self.question, Some(Question::ClearLogin));
        self.handle(Input::ClearLogin(yes));
    }

    fn send_rest(&mut self, yes: bool) {
        self.send_rest |= yes;
        self.handle(Input::SendRest(yes));
    }

    fn close(&mut self) {
        let failure = Failure::new(FailureKind::Closed, self.dialogue.phase(), "gone");
        self.handle(Input::Closed(failure));
    }

    /// The reply that a well-meaning server would send.
    pub fn good_reply(&self, extensions: u16) -> Reply {
        let code = match self.due.front() {
            Some(Due::Greeting | Due::StartTls) => 220,
            Some(Due::Auth) => 235,
            Some(Due::Data(_)) => 354,
            _ => 250,
        };
        let mut lines = vec![b"ok".to_vec()];
        if self.due.front() == Some(&Due::Ehlo) {
            let offered = EXTENSIONS.iter().enumerate();
            lines.extend(
                offered
                    .filter(|(bit, _)| extensions >> bit & 1 == 1)
                    .map(|(_, keyword)| keyword.as_bytes().to_vec()),
            );
        }
        Reply::new(code, lines)
    }

    /// One step, mostly a sensible one.
    fn step(&mut self, choice: u16, extensions: u16) {
        let (sensible, which) = (choice & 15 > 1, usize::from(choice >> 4));
        let bad = Reply::new(CODES[which % CODES.len()], vec![b"PDFAbXg+".to_vec()]);
        if sensible && std::mem::take(&mut self.rider_wanted) {
            self.feed_message(1 + which % 3, 100);
        } else if sensible && self.tls_wanted {
            self.tls_ready();
        } else if sensible && self.question.is_some() {
            let yes = which % 4 > 0;
            match self.question.take() {
                Some(Question::Credentials { .. }) => {
                    self.handle(Input::Login(yes.then(|| login(which & 8 > 0))));
                }
                Some(Question::ClearLogin) => {
                    self.question = Some(Question::ClearLogin);
                    self.clear_login(yes);
                    self.question.take_if(|q| matches!(q, Question::ClearLogin));
                }
                _ => self.send_rest(yes),
            }
        } else if sensible && self.text.is_some() && !self.lost {
            self.text_sent();
        } else if sensible && !self.due.is_empty() && which % 8 > 0 {
            self.reply(self.good_reply(extensions));
        } else {
            match which % 11 {
                0..3 => self.feed_message(which / 11 % 4, 100 + (which as u64 * 7) % 450),
                3..7 => self.reply(bad),
                7 => match which / 11 % 4 {
                    0 => self.handle(Input::NoMoreMessages),
                    1 => self.handle(Input::Login(None)),
                    2 => self.handle(Input::Login(Some(login(false)))),
                    _ => self.close(),
                },
                8 => self.send_rest(which & 16 > 0),
                9 if self.tls_wanted || which & 16 > 0 => self.tls_ready(),
                9 => self.clear_login(which & 32 > 0),
                _ if which & 16 > 0 => self.text_lost(),
                _ if !self.lost => self.text_sent(),
                _ => {}
            }
        }
    }
}

/// How far walks came: what happened, and how often.
pub type Reached = [(&'static str, usize); 6];

/// A walk of a step a choice, to the end of the connection and beyond.
///
/// Panics when a message has not exactly one outcome, and wherever
/// [`Observer`] sees something that must not be.
pub fn walk(seed: u16, extensions: u16, choices: impl Iterator<Item = u16>) -> Reached {
    let mut observer = Observer::new(plan(seed));
    for choice in choices {
        observer.step(choice, extensions);
    }
    // Few choices say that no more comes, and a walk should often end as most
    // connections do.
    if seed >> 15 == 1 {
        observer.handle(Input::NoMoreMessages);
    }
    let quit = usize::from(observer.quit);
    let logged_in = usize::from(observer.dialogue.is_logged_in());
    observer.close();
    assert!(observer.done);
    for (id, seen) in &observer.messages {
        assert_eq!(seen.finished, 1, "message {id}: {seen:?}");
    }
    observer.feed_message(1, 100);
    observer.reply(Reply::new(250, vec![]));
    [
        ("texts", observer.texts),
        ("texts as chunks", observer.chunks),
        ("envelopes behind AUTH", observer.riders),
        ("acceptances", observer.accepted),
        ("logins", logged_in),
        ("ends by QUIT", quit),
    ]
}
