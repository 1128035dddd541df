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
//! | `ExpectResetBeforeLogin` | AUTH | end | end | end |
//! | `ExpectResetBeforeLine` | the line | end | end | end |
//! | `ExpectHeardReply` | tell | tell | tell | tell |
//! | `ExpectAuthReply` | 235: go on, else end | 334: respond, else end | end | next mechanism, ask again, or end |
//! | `ExpectOldReplies` | go on | end | go on | go on |
//! | `Await…` | end | end | end | end |
//! | `Transacting`, due: nothing | end | end | end | end |
//! | MAIL | go on | end | message failed | message failed |
//! | RCPT | recipient accepted | end | recipient refused | recipient refused |
//! | DATA | end | text, once nobody objects | message failed | message failed |
//! | the final dot | message accepted | message unknown, end | message failed | message failed |
//! | the final dot, before the text is out | end | end | end | end |
//! | BDAT LAST | as the final dot, unless every recipient was refused: then failed | | | |
//! | BDAT LAST, before the text is out | end | end | message failed, end | message failed, end |
//! | RSET | go on | end | end | end |
//!
//! `AwaitClearLogin` stands before `ExpectAuthReply` where a password would go
//! in clear, and `ExpectResetBeforeLogin` where `Transacting` is left for a login
//! that the server demanded. After "*" every reply to AUTH is the end. Behind an
//! AUTH PLAIN the envelope of the first message may ride; if that AUTH is not
//! accepted, the connection ends (`login.rs`).
//!
//! 421 ends the connection in every state (RFC 5321 §3.8). Commands queue up and
//! replies are matched in order; a server without PIPELINING is a window of one
//! (RFC 2920 §3.1).

pub mod transaction;

mod content;
mod ending;
mod flight;
mod login;
mod plan;
mod speed;

use std::collections::VecDeque;

use self::content::Lack;
use self::ending::Closing;
use self::flight::Due;
pub use self::flight::{
    FIRST_MESSAGES_IN_FLIGHT, MAX_COMMAND_OCTETS_IN_FLIGHT, MAX_COMMANDS_IN_FLIGHT,
    MAX_MESSAGES_IN_FLIGHT,
};
use self::login::Login;
pub use self::login::{CredentialsReason, LoginAnswer, SaslContext};
pub use self::plan::{Plan, RefusedRecipients, Security};
pub use self::speed::SpeedUp;
use self::transaction::Transaction;
pub use self::transaction::{Message, MessageId, Outcome, RecipientVerdict, Verdict};
use super::capabilities::Capabilities;
use super::command::{Command, Line};
use super::content::Framing;
use super::failure::{Failure, FailureKind, Phase};
use super::reply::{Reply, ReplyClass};
use super::sasl::Mechanism;

/// What happened outside.
#[derive(Debug)]
pub enum Input {
    /// The server replied.
    Reply(Reply),
    /// The server replied, and more of its words are in already.
    ReplyAndMore(Reply),
    /// The TLS handshake asked for by [`Output::StartTls`] succeeded.
    TlsReady,
    /// Credentials: the answer to [`Question::Credentials`], or given between
    /// messages after [`Verdict::LoginDemanded`]. `None`: there are none.
    Login(Option<LoginAnswer>),
    /// A line that a login from outside says while credentials are asked for or
    /// between messages; [`Output::Heard`] brings the reply.
    Say(Line),
    /// A command to say between messages, of which only the reply matters:
    /// [`Output::Heard`] brings it.
    Try(Command),
    /// A login from outside succeeded, by lines said with [`Input::Say`].
    LoggedIn,
    /// The answer to [`Question::ClearLogin`].
    ClearLogin(bool),
    /// The answer to [`Question::RefusedRecipients`]: send to the rest?
    SendRest(bool),
    /// A message to send; taken when its turn comes.
    NextMessage(Message),
    /// The last octet of the text asked for by [`Output::SendText`] is written.
    TextSent,
    /// That text cannot be written to its end, for this reason.
    TextLost(Failure),
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
    /// Write the text of this message, framed like this, with its final dot where
    /// that has one; then [`Input::TextSent`].
    SendText(MessageId, Framing),
    /// Ask; then the input that the question names.
    Ask(Question),
    /// The reply to a line of [`Input::Say`], or to a command of [`Input::Try`].
    Heard(Reply),
    /// A login is on its way; the envelope of a message given now rides behind it.
    LoggingIn,
    /// Write this into the trace.
    Note(&'static str),
    /// Tell the user that this wish is left out; once for a connection.
    LeftOut(&'static str),
    /// The connection is ready for its first message; what it can do is known.
    Ready,
    /// The server gets this wrong, as the failure tells: it is to be spared it on
    /// further connections. The end of this one follows.
    SwitchOff(SpeedUp, Failure),
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
    /// EHLO was refused by this reply.
    ExpectHeloReply(Reply),
    ExpectStartTlsReply,
    AwaitTls,
    /// The user is asked for credentials; why the last ones were refused.
    AwaitCredentials(Option<Failure>),
    AwaitClearLogin(LoginAnswer),
    ExpectResetBeforeLogin(LoginAnswer),
    ExpectResetBeforeLine(Line),
    /// A line from outside was said; where to go back to.
    ExpectHeardReply(Box<State>),
    ExpectAuthReply(Box<Login>),
    /// The words still to be said; their replies do not matter.
    ExpectOldReplies(Vec<&'static str>),
    Transacting,
    Closed,
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
    /// SASL exchanges begun.
    exchanges: u32,
    /// Whether the AUTH under way may have a transaction riding behind it.
    login_carries: bool,
    /// What a login can be bound to: the `tls-server-end-point` (RFC 5929 §4.1).
    end_point: Option<Vec<u8>>,
    /// The server announced channel binding and refused that type of it.
    binding_refused: bool,
    /// Who logs in or has logged in, and how.
    login: Option<(String, Mechanism)>,
    /// Whether a transaction may be half open at the server.
    reset_needed: bool,
    ready: bool,
    last_message_in: bool,
    waiting: VecDeque<Message>,
    transactions: VecDeque<Transaction>,
    /// Nothing more is said; what is still due decides what became of the texts
    /// that are out.
    closing: Option<Closing>,
    /// Why the text under way does not come to its end.
    text_lost: Option<Failure>,
    /// Whether the server accepted a message on this connection.
    proven: bool,
    /// How many messages may be under way where the server offers all it takes.
    message_room: usize,
    /// Whether the connection lay idle, and nothing was heard on it since.
    resumed: bool,
    /// Whether it did so for long: the text waits for the envelope's replies.
    doubted: bool,
    /// Commands not yet sent, for want of room in the window.
    backlog: VecDeque<(Command, Due)>,
    /// Wishes left out of which the user knows.
    told: Vec<Lack>,
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
            exchanges: 0,
            login_carries: false,
            end_point: None,
            binding_refused: false,
            login: None,
            reset_needed: false,
            ready: false,
            last_message_in: false,
            waiting: VecDeque::new(),
            transactions: VecDeque::new(),
            closing: None,
            text_lost: None,
            proven: false,
            message_room: FIRST_MESSAGES_IN_FLIGHT,
            resumed: false,
            doubted: false,
            backlog: VecDeque::new(),
            told: Vec::new(),
            due: VecDeque::new(),
            octets_in_flight: 0,
            outputs: VecDeque::new(),
            plan,
        }
    }

    /// What this connection's last EHLO announced, less what the server has shown
    /// not to handle ([`Plan::without`]).
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether the server accepted a login.
    pub fn is_logged_in(&self) -> bool {
        self.logged_in
    }

    /// The user and the mechanism of the login under way, or of the one accepted.
    pub fn login(&self) -> Option<(&str, Mechanism)> {
        let login = self.login.as_ref();
        login.map(|(user, mechanism)| (user.as_str(), *mechanism))
    }

    /// TLS stands: logins can be bound to this hash of the server's certificate.
    pub fn bind_channel(&mut self, end_point: Vec<u8>) {
        self.end_point = Some(end_point);
    }

    /// The connection lay idle between messages, `long` enough to be dead: then no
    /// text goes out before the server has answered the envelope. That it ends
    /// before it says anything is no fault of a speed-up.
    pub fn resume(&mut self, long: bool) {
        self.resumed = true;
        self.doubted = long;
    }

    /// What is being waited for.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::ExpectGreeting => Phase::Greeting,
            State::ExpectEhloReply | State::ExpectHeloReply(_) => Phase::Ehlo,
            State::ExpectStartTlsReply => Phase::StartTls,
            State::AwaitTls => Phase::Handshake,
            State::ExpectAuthReply(_) | State::ExpectHeardReply(_) => Phase::Auth,
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
            Input::ReplyAndMore(reply) if self.is_one_too_many(&reply) => {
                self.on_chunk_unanswered(Failure::from_reply(Phase::Final, &reply));
            }
            Input::Reply(reply) | Input::ReplyAndMore(reply) => {
                // Who only says goodbye (421) was as good as gone.
                self.resumed &= reply.code() == 421;
                self.doubted &= self.resumed;
                self.on_reply(reply);
            }
            Input::TlsReady => self.on_tls_ready(),
            Input::Login(answer) => self.on_login(answer),
            Input::Say(line) => self.on_say(line),
            Input::Try(command) => self.on_try(command),
            Input::LoggedIn => self.on_logged_in(),
            Input::ClearLogin(allowed) => self.on_clear_login(allowed),
            Input::SendRest(send_rest) => {
                if let Some(transaction) = self.transactions.front_mut() {
                    transaction.recipients_answer(send_rest);
                    self.advance();
                }
            }
            Input::NextMessage(message) => {
                self.waiting.push_back(message);
                self.ride_behind_login();
                self.advance();
            }
            Input::TextLost(failure) => self.on_text_lost(failure),
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
            Input::Closed(failure) => self.on_closed(failure),
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
        let phase = self.phase();
        match std::mem::replace(&mut self.state, State::Closed) {
            State::ExpectGreeting => match reply.code() {
                220 => self.say_ehlo(),
                _ => self.end(Failure::from_reply(Phase::Greeting, &reply)),
            },
            State::ExpectEhloReply => match reply.class() {
                ReplyClass::Completed => {
                    self.capabilities = Capabilities::from_ehlo(&reply);
                    self.spare_the_server();
                    self.greeted();
                }
                // Servers older than RFC 1869 know HELO only (RFC 5321 §3.2).
                ReplyClass::Permanent => {
                    self.send(Command::Helo(self.plan.ehlo_name.clone()));
                    self.state = State::ExpectHeloReply(reply);
                }
                _ => self.end(Failure::from_reply(Phase::Ehlo, &reply)),
            },
            State::ExpectHeloReply(_) => match reply.class() {
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
            State::ExpectResetBeforeLine(line) => match reply.class() {
                ReplyClass::Completed => {
                    self.state = State::Transacting;
                    self.on_say(line);
                }
                _ => self.end(Failure::from_reply(Phase::Idle, &reply)),
            },
            State::ExpectHeardReply(resume) => {
                self.outputs.push_back(Output::Heard(reply));
                self.state = *resume;
            }
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
                self.unexpected(phase, &reply)
            }
            State::Closed => {}
        }
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
        self.say_old_words(self.old_words());
    }

    /// Those still to be said, the first one last.
    fn old_words(&self) -> Vec<&'static str> {
        let mut words = Vec::new();
        if !self.ready {
            let offered = &self.capabilities;
            words.extend(offered.xusr.then_some("XUSR"));
            words.extend((self.plan.verb && offered.verb).then_some("VERB"));
            words.extend(offered.onex.then_some("ONEX"));
        }
        words
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
}
