//! One CONNECTION as a state machine: greeting, EHLO, STARTTLS, AUTH, then any
//! number of transactions, QUIT. Inputs in, outputs out; no clock, no socket.
//!
//! ```text
//!  ExpectGreeting ─220─▶ ExpectEhloReply ─5yz─▶ ExpectHeloReply ─┐
//!                          │  ▲      │                           │
//!            STARTTLS ◀────┘  │      │ (as much TLS as there will be)
//!               │             │      ▼                           ▼
//!        ExpectStartTlsReply  │   AUTH offered? ──no──▶ ExpectOldReplies ─▶ Transacting
//!               │220          │      │ yes                   ▲  ▲             │   │
//!            AwaitTls ────────┘      ▼                       │  │    message ◀┘   │ last one
//!                             AwaitCredentials ──none────────┘  │                 ▼
//!                                │     ▲                        │               Closed
//!                       ExpectAuthReply ─────────235────────────┘
//! ```
//!
//! | state | 2yz | 3yz | 4yz | 5yz |
//! |---|---|---|---|---|
//! | `ExpectGreeting` | 220: EHLO, else end | end | end | end |
//! | `ExpectEhloReply` | go on | end | end | HELO |
//! | `ExpectHeloReply` | go on | end | end | end |
//! | `ExpectStartTlsReply` | 220: TLS, else end | end | end | end |
//! | `ExpectAuthReply` | 235: go on, else end | 334: respond, else end | end | next mechanism, or ask again |
//! | `ExpectOldReplies` | go on | end | go on | go on |
//! | `Transacting` | as the command at the head of the queue says ([`transaction`]) ||||
//!
//! 421 ends the connection in every state (RFC 5321 §3.8). Commands queue up and
//! replies are matched in order; a server without PIPELINING is a window of one
//! (RFC 2920 §3.1).

pub mod transaction;

mod login;

use std::collections::VecDeque;

use self::login::Login;
pub use self::login::{CredentialsReason, LoginAnswer, SaslContext};
pub use self::transaction::{Message, MessageId, Outcome, RecipientVerdict, Verdict};
use self::transaction::{Step, Transaction};
use super::address::EhloName;
use super::capabilities::{Capabilities, SizeLimit};
use super::command::{Command, MailParameters};
use super::failure::{Failure, FailureKind, Phase};
use super::reply::{Reply, ReplyClass};

/// Most octets of commands sent and not yet answered: below the socket buffers
/// of every system, so that a server that reads only after it wrote goes on.
pub const MAX_COMMAND_OCTETS_IN_FLIGHT: usize = 64 * 1024;

/// Most commands sent and not yet answered: their replies, at the 64 octets
/// that they usually have, fit into the same buffers.
pub const MAX_COMMANDS_IN_FLIGHT: usize = 1024;

/// How the connection is to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first octet; the handshake is done before the dialogue begins.
    Implicit,
    /// No TLS.
    Never,
    /// STARTTLS where offered.
    Opportunistic,
    /// STARTTLS or nothing.
    Required,
}

/// What happens when the server refuses some recipients and accepts others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedRecipients {
    /// Nobody gets the message.
    Abort,
    /// The user is asked.
    Ask,
    /// The others get it.
    SendRest,
}

/// All that is settled before the connection begins.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The name in EHLO and HELO.
    pub ehlo_name: EhloName,
    /// TLS.
    pub security: Security,
    /// Whether a password may be shown to an unprotected connection unasked:
    /// the user chose `plain`, or the server is this machine.
    pub clear_login_allowed: bool,
    /// Whether unauthenticated mail is out of the question.
    pub login_required: bool,
    /// Credentials known from an earlier connection of the same send.
    pub login: Option<LoginAnswer>,
    /// For mechanisms.
    pub sasl: SaslContext,
    /// Whether VERB is said where offered.
    pub verb: bool,
    /// Some refused, some accepted.
    pub refused_recipients: RefusedRecipients,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// The server replied.
    Reply(Reply),
    /// The TLS handshake asked for by [`Output::StartTls`] succeeded.
    TlsReady,
    /// Credentials: the answer to [`Question::Credentials`], or given between
    /// messages after [`Verdict::LoginDemanded`]. `None`: there are none.
    Login(Option<LoginAnswer>),
    /// The answer to [`Question::ClearLogin`].
    ClearLogin(bool),
    /// The answer to [`Question::RefusedRecipients`]: send to the rest?
    SendRest(bool),
    /// A message to send; taken when its turn comes.
    NextMessage(Message),
    /// The last octet of the text asked for by [`Output::SendText`] is written.
    TextSent,
    /// No further message will come: QUIT after the last outcome.
    NoMoreMessages,
    /// The connection is gone, for this reason.
    Closed(Failure),
}

/// What is to be done outside, in this order.
#[derive(Debug)]
pub enum Output {
    /// Write these commands.
    Send(Vec<Command>),
    /// Do the TLS handshake; then [`Input::TlsReady`].
    StartTls,
    /// Write the text of this message with its final dot; then [`Input::TextSent`].
    SendText(MessageId),
    /// Ask; then the input that the question names.
    Ask(Question),
    /// The connection is ready for its first message; what it can do is known.
    Ready,
    /// A message came to its end.
    Finished(MessageId, Outcome),
    /// Close the connection, after writing what was sent; a failure where it
    /// was not done on purpose. Nothing comes after this.
    Done(Option<Failure>),
}

/// What only the user, or what speaks for the user, can answer.
#[derive(Debug)]
pub enum Question {
    /// User name and secret; answered by [`Input::Login`].
    Credentials {
        /// Mechanism keywords that the server offers.
        offered: Vec<String>,
        /// Why they are wanted.
        reason: CredentialsReason,
    },
    /// Whether a password may go over an unprotected connection; answered by
    /// [`Input::ClearLogin`].
    ClearLogin,
    /// Whether the rest shall get a message; answered by [`Input::SendRest`].
    RefusedRecipients(MessageId, Vec<RecipientVerdict>),
}

/// The moment of a connection.
enum State {
    ExpectGreeting,
    ExpectEhloReply,
    ExpectHeloReply,
    ExpectStartTlsReply,
    AwaitTls,
    /// The user is asked for credentials; the reply that refused the last ones.
    AwaitCredentials(Option<Reply>),
    AwaitClearLogin(LoginAnswer),
    ExpectResetBeforeLogin(LoginAnswer),
    ExpectAuthReply(Box<Login>),
    /// The words still to be said; their replies do not matter.
    ExpectOldReplies(Vec<&'static str>),
    Transacting,
    Closed,
}

/// The command, sent within [`State::Transacting`], whose reply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Mail(MessageId),
    Recipient(MessageId, usize),
    Data(MessageId),
    Final(MessageId),
    Rset,
}

impl Due {
    fn belongs_to(self, id: MessageId) -> bool {
        match self {
            Self::Mail(of) | Self::Recipient(of, _) | Self::Data(of) | Self::Final(of) => of == id,
            Self::Rset => false,
        }
    }
}

/// The state of one connection.
pub struct Dialogue {
    plan: Plan,
    state: State,
    /// Whether the octets travel under TLS.
    protected: bool,
    logged_in: bool,
    clear_login_allowed: bool,
    capabilities: Capabilities,
    /// Whether a transaction may be half open at the server.
    reset_needed: bool,
    ready: bool,
    last_message_in: bool,
    waiting: VecDeque<Message>,
    transactions: VecDeque<Transaction>,
    /// Commands not yet sent, for want of room in the window.
    backlog: VecDeque<(Command, Due)>,
    /// Replies due, in order, with the octets of their commands.
    due: VecDeque<(Due, usize)>,
    octets_in_flight: usize,
    outputs: VecDeque<Output>,
}

impl Dialogue {
    /// A connection just made (and protected, with [`Security::Implicit`]).
    pub fn new(mut plan: Plan) -> Self {
        let protected = plan.security == Security::Implicit;
        plan.clear_login_allowed |= protected;
        Self {
            state: State::ExpectGreeting,
            protected,
            logged_in: false,
            clear_login_allowed: plan.clear_login_allowed,
            capabilities: Capabilities::default(),
            reset_needed: false,
            ready: false,
            last_message_in: false,
            waiting: VecDeque::new(),
            transactions: VecDeque::new(),
            backlog: VecDeque::new(),
            due: VecDeque::new(),
            octets_in_flight: 0,
            outputs: VecDeque::new(),
            plan,
        }
    }

    /// What this connection's last EHLO announced.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the server accepted a login.
    pub fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    /// What is being waited for.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::ExpectGreeting => Phase::Greeting,
            State::ExpectEhloReply | State::ExpectHeloReply => Phase::Ehlo,
            State::ExpectStartTlsReply => Phase::StartTls,
            State::AwaitTls => Phase::Handshake,
            State::ExpectAuthReply(_) => Phase::Auth,
            State::Transacting => match self.due.front() {
                Some((Due::Mail(_), _)) => Phase::Mail,
                Some((Due::Recipient(..), _)) => Phase::Recipient,
                Some((Due::Data(_), _)) => Phase::Data,
                Some((Due::Final(id), _)) if self.text_sent(*id) => Phase::Final,
                Some((Due::Final(_), _)) => Phase::Text,
                Some((Due::Rset, _)) | None => Phase::Idle,
            },
            _ => Phase::Idle,
        }
    }

    /// Whether a reply or the writing of a text is being waited for: a clock runs.
    pub fn is_waiting(&self) -> bool {
        match self.state {
            State::Transacting => !self.due.is_empty(),
            State::AwaitCredentials(_) | State::AwaitClearLogin(_) | State::Closed => false,
            _ => true,
        }
    }

    /// Take one input in.
    pub fn handle(&mut self, input: Input) {
        match input {
            _ if matches!(self.state, State::Closed) => {}
            Input::Reply(reply) => self.on_reply(reply),
            Input::TlsReady => self.on_tls_ready(),
            Input::Login(answer) => self.on_login(answer),
            Input::ClearLogin(allowed) => self.on_clear_login(allowed),
            Input::SendRest(send_rest) => {
                if let Some(transaction) = self.transactions.front_mut() {
                    transaction.recipients_answer(send_rest);
                    self.advance();
                }
            }
            Input::NextMessage(message) => {
                self.waiting.push_back(message);
                self.advance();
            }
            Input::TextSent => {
                if let Some(transaction) = self
                    .transactions
                    .iter_mut()
                    .find(|t| t.text_started && !t.text_sent)
                {
                    transaction.text_sent = true;
                }
                self.advance();
            }
            Input::NoMoreMessages => {
                self.last_message_in = true;
                self.advance();
            }
            Input::Closed(failure) => self.end(failure),
        }
    }

    /// The next thing to do outside, oldest first.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn on_reply(&mut self, reply: Reply) {
        if reply.code() == 421 && !matches!(self.state, State::ExpectGreeting) {
            return self.on_closing(&reply);
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::ExpectGreeting => match reply.code() {
                220 => self.say_ehlo(),
                _ => self.end(Failure::from_reply(Phase::Greeting, &reply)),
            },
            State::ExpectEhloReply => match reply.class() {
                ReplyClass::Completed => {
                    self.capabilities = Capabilities::from_ehlo(&reply);
                    self.greeted();
                }
                // Servers older than RFC 1869 know HELO only (RFC 5321 §3.2).
                ReplyClass::Permanent => {
                    self.send(Command::Helo(self.plan.ehlo_name.clone()));
                    self.state = State::ExpectHeloReply;
                }
                _ => self.end(Failure::from_reply(Phase::Ehlo, &reply)),
            },
            State::ExpectHeloReply => match reply.class() {
                ReplyClass::Completed => self.greeted(),
                _ => self.end(Failure::from_reply(Phase::Ehlo, &reply)),
            },
            State::ExpectStartTlsReply => match reply.code() {
                220 => {
                    self.outputs.push_back(Output::StartTls);
                    self.state = State::AwaitTls;
                }
                // Offered and refused is no reason to go on without it.
                _ => self.end(Failure::from_reply(Phase::StartTls, &reply)),
            },
            State::ExpectResetBeforeLogin(login) => match reply.class() {
                ReplyClass::Completed => self.start_login(login),
                _ => self.end(Failure::from_reply(Phase::Idle, &reply)),
            },
            State::ExpectAuthReply(login) => self.on_auth_reply(*login, reply),
            State::ExpectOldReplies(words) => match reply.class() {
                ReplyClass::Intermediate => self.end(Failure::from_reply(Phase::Idle, &reply)),
                _ => self.say_old_words(words),
            },
            State::Transacting => {
                self.state = State::Transacting;
                self.on_transaction_reply(&reply);
            }
            State::AwaitTls | State::AwaitCredentials(_) | State::AwaitClearLogin(_) => {
                self.unexpected(&reply)
            }
            State::Closed => {}
        }
    }

    /// A reply that answers nothing.
    fn unexpected(&mut self, reply: &Reply) {
        let phase = self.phase();
        self.end(Failure::from_reply(phase, reply).of_kind(FailureKind::Protocol));
    }

    /// 421: the server closes the connection (RFC 5321 §3.8).
    fn on_closing(&mut self, reply: &Reply) {
        // It answers the command due, so a message whose end was sent failed.
        if let (State::Transacting, Some((Due::Final(id), _))) = (&self.state, self.due.front()) {
            let id = *id;
            self.finish(
                id,
                Verdict::Failed(Failure::from_reply(Phase::Final, reply)),
            );
        }
        let phase = self.phase();
        self.end(Failure::from_reply(phase, reply));
    }

    fn say_ehlo(&mut self) {
        self.capabilities = Capabilities::default();
        self.send(Command::Ehlo(self.plan.ehlo_name.clone()));
        self.state = State::ExpectEhloReply;
    }

    /// EHLO or HELO succeeded: TLS next, if it is still to come.
    fn greeted(&mut self) {
        let wanted = match self.plan.security {
            _ if self.protected => false,
            Security::Required => true,
            Security::Opportunistic => self.capabilities.starttls,
            Security::Implicit | Security::Never => false,
        };
        if wanted && !self.capabilities.starttls {
            let text = "Server does not support TLS";
            self.end(Failure::new(FailureKind::Insecure, Phase::StartTls, text));
        } else if wanted {
            self.send(Command::StartTls);
            self.state = State::ExpectStartTlsReply;
        } else {
            self.begin_login();
        }
    }

    fn on_tls_ready(&mut self) {
        if matches!(self.state, State::AwaitTls) {
            self.protected = true;
            self.clear_login_allowed = true;
            // What was said before TLS is forgotten (RFC 3207 §4.2).
            self.say_ehlo();
        }
    }

    /// The old words of the stock client, one after the other, then messages.
    fn open_for_messages(&mut self) {
        let mut words = Vec::new();
        if !self.ready {
            let offered = &self.capabilities;
            // Taken from the end.
            words.extend(offered.xusr.then_some("XUSR"));
            words.extend((self.plan.verb && offered.verb).then_some("VERB"));
            words.extend(offered.onex.then_some("ONEX"));
        }
        self.say_old_words(words);
    }

    fn say_old_words(&mut self, mut words: Vec<&'static str>) {
        match words.pop() {
            Some(word) => {
                self.send(Command::Old(word));
                self.state = State::ExpectOldReplies(words);
            }
            None => {
                self.state = State::Transacting;
                if !std::mem::replace(&mut self.ready, true) {
                    self.outputs.push_back(Output::Ready);
                }
                self.advance();
            }
        }
    }

    fn send(&mut self, command: Command) {
        self.outputs.push_back(Output::Send(vec![command]));
    }

    // Transactions.

    fn on_transaction_reply(&mut self, reply: &Reply) {
        let Some((due, octets)) = self.due.pop_front() else {
            return self.unexpected(reply);
        };
        self.octets_in_flight -= octets;
        let transaction =
            |this: &mut Self, id| this.transactions.iter().position(|t| t.message.id == id);
        match due {
            Due::Rset => match reply.class() {
                ReplyClass::Completed => {}
                _ => return self.end(Failure::from_reply(Phase::Idle, reply)),
            },
            Due::Final(id) => return self.on_final_reply(id, reply),
            Due::Mail(id) | Due::Recipient(id, _) | Due::Data(id) => {
                // The transaction may be over: its other replies still come.
                if let Some(index) = transaction(self, id) {
                    let transaction = &mut self.transactions[index];
                    match due {
                        Due::Recipient(_, recipient) => {
                            transaction.recipient_reply(recipient, reply)
                        }
                        Due::Data(_) => transaction.data_reply(reply),
                        _ => transaction.mail_reply(reply),
                    }
                }
            }
        }
        self.advance();
    }

    fn on_final_reply(&mut self, id: MessageId, reply: &Reply) {
        let complete = self.text_sent(id);
        let verdict = match reply.class() {
            ReplyClass::Completed if complete => Verdict::Accepted(reply.clone()),
            _ => Verdict::Failed(Failure::from_reply(
                if complete { Phase::Final } else { Phase::Text },
                reply,
            )),
        };
        self.finish(id, verdict);
        if complete && reply.class() != ReplyClass::Intermediate {
            self.advance();
        } else {
            // There is no way to stop in the middle of a text but this one.
            self.end(Failure::from_reply(Phase::Text, reply));
        }
    }

    /// Do whatever can be done now.
    fn advance(&mut self) {
        if !matches!(self.state, State::Transacting) {
            return;
        }
        self.begin_transactions();
        for index in 0..self.transactions.len() {
            let Some(transaction) = self.transactions.get_mut(index) else {
                break;
            };
            let id = transaction.message.id;
            match transaction.step() {
                Step::Wait => {}
                Step::Ask => {
                    transaction.asked = true;
                    let verdicts = transaction.verdicts().to_vec();
                    self.outputs
                        .push_back(Output::Ask(Question::RefusedRecipients(id, verdicts)));
                }
                Step::SayData => {
                    transaction.data_said();
                    self.backlog.push_back((Command::Data, Due::Data(id)));
                }
                Step::SendText => {
                    transaction.text_started = true;
                    self.due.push_back((Due::Final(id), 0));
                    self.outputs.push_back(Output::SendText(id));
                }
                Step::Finish(verdict) => {
                    self.reset_needed |= transaction.open_at_server;
                    // What was not said yet need not be said any more.
                    self.backlog.retain(|(_, due)| !due.belongs_to(id));
                    self.finish(id, verdict);
                    return self.advance();
                }
                Step::FinishByClosing(verdict) => {
                    let failure = match &verdict {
                        Verdict::Failed(f) | Verdict::LoginDemanded(f) | Verdict::Unknown(f) => {
                            f.clone()
                        }
                        Verdict::Accepted(reply) => Failure::from_reply(Phase::Data, reply),
                    };
                    self.finish(id, verdict);
                    return self.end(failure);
                }
            }
        }
        self.send_backlog();
        if self.last_message_in
            && self.transactions.is_empty()
            && self.waiting.is_empty()
            && self.due.is_empty()
        {
            self.send(Command::Quit);
            self.state = State::Closed;
            self.outputs.push_back(Output::Done(None));
        }
    }

    /// Open transactions for the messages that wait: the first at once, the next
    /// one behind the final dot of the one before (RFC 2920 §3.1).
    fn begin_transactions(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            let room = match self.transactions.back() {
                None => self.due.is_empty() || self.capabilities.pipelining,
                Some(last) => {
                    self.capabilities.pipelining && last.text_sent && self.transactions.len() < 2
                }
            };
            if !room {
                self.waiting.push_front(message);
                return;
            }
            if let Err(failure) = self.expressible(&message) {
                let login_may_help = false;
                let transaction =
                    Transaction::new(message, self.plan.refused_recipients, login_may_help);
                let (id, outcome) = transaction.outcome(Verdict::Failed(failure));
                self.outputs.push_back(Output::Finished(id, outcome));
                continue;
            }
            self.begin_transaction(message);
        }
    }

    fn begin_transaction(&mut self, message: Message) {
        let id = message.id;
        if std::mem::take(&mut self.reset_needed) {
            self.backlog.push_back((Command::Rset, Due::Rset));
        }
        let parameters = MailParameters {
            size: self.capabilities.size.map(|_| message.octets),
            eight_bit: message.eight_bit && self.capabilities.eight_bit_mime,
            smtputf8: message.needs_smtputf8(),
        };
        self.backlog.push_back((
            Command::Mail(message.reverse_path.clone(), parameters),
            Due::Mail(id),
        ));
        for (index, recipient) in message.recipients.iter().enumerate() {
            self.backlog
                .push_back((Command::Rcpt(recipient.clone()), Due::Recipient(id, index)));
        }
        let login_may_help = !self.logged_in && !self.capabilities.auth.is_empty();
        let mut transaction =
            Transaction::new(message, self.plan.refused_recipients, login_may_help);
        if self.capabilities.pipelining {
            transaction.data_said();
            self.backlog.push_back((Command::Data, Due::Data(id)));
        }
        self.transactions.push_back(transaction);
    }

    /// Whether this server can be told of the message at all.
    fn expressible(&self, message: &Message) -> Result<(), Failure> {
        let refuse = |text: String| Err(Failure::new(FailureKind::Content, Phase::Mail, text));
        if message.needs_smtputf8() && !self.capabilities.smtputf8 {
            return refuse(
                "the server does not take addresses that are not ASCII (no SMTPUTF8)".into(),
            );
        }
        match self.capabilities.size {
            Some(SizeLimit::Octets(limit)) if message.octets > limit => refuse(format!(
                "the message has {} octets, the server takes at most {limit}",
                message.octets
            )),
            _ => Ok(()),
        }
    }

    /// Send what the window has room for, in one flight.
    fn send_backlog(&mut self) {
        let (commands, octets) = match self.capabilities.pipelining {
            true => (MAX_COMMANDS_IN_FLIGHT, MAX_COMMAND_OCTETS_IN_FLIGHT),
            false => (1, usize::MAX),
        };
        let mut flight = Vec::new();
        while self.due.len() < commands && self.octets_in_flight < octets {
            let Some((command, due)) = self.backlog.pop_front() else {
                break;
            };
            let length = command.trace_line().len() + 2;
            self.octets_in_flight += length;
            self.due.push_back((due, length));
            flight.push(command);
        }
        if !flight.is_empty() {
            self.outputs.push_back(Output::Send(flight));
        }
    }

    fn finish(&mut self, id: MessageId, verdict: Verdict) {
        if let Some(index) = self.transactions.iter().position(|t| t.message.id == id) {
            let transaction = self
                .transactions
                .remove(index)
                .expect("the index was just found");
            let (id, outcome) = transaction.outcome(verdict);
            self.outputs.push_back(Output::Finished(id, outcome));
        }
    }

    fn text_sent(&self, id: MessageId) -> bool {
        self.transactions
            .iter()
            .any(|t| t.message.id == id && t.text_sent)
    }

    /// The connection is over: every message not finished gets its verdict.
    fn end(&mut self, failure: Failure) {
        for transaction in std::mem::take(&mut self.transactions) {
            let verdict = match transaction.text_sent {
                true => Verdict::Unknown(Failure {
                    phase: Phase::Final,
                    ..failure.clone()
                }),
                // A server that refuses and leaves has said why.
                false => transaction
                    .settled()
                    .unwrap_or_else(|| Verdict::Failed(failure.clone())),
            };
            let (id, outcome) = transaction.outcome(verdict);
            self.outputs.push_back(Output::Finished(id, outcome));
        }
        for message in std::mem::take(&mut self.waiting) {
            let transaction = Transaction::new(message, self.plan.refused_recipients, false);
            let (id, outcome) = transaction.outcome(Verdict::Failed(failure.clone()));
            self.outputs.push_back(Output::Finished(id, outcome));
        }
        self.state = State::Closed;
        self.outputs.push_back(Output::Done(Some(failure)));
    }
}
