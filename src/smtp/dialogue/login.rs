//! AUTH (RFC 4954): which mechanism, whose fault a refusal is, and when to stop.
//!
//! One password gets at most two AUTH commands that the server answers with
//! "wrong password": the second only after CRAM-MD5, which some servers offer
//! without being able to check it, and only under TLS. More would lock accounts.
//!
//! The envelope of the first message may ride behind AUTH PLAIN, whose only reply
//! is the last word on it. Its text may not. If that word is not 235, what rides
//! is abandoned by closing: a server that takes mail without a login must not get
//! it after a failed one.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::command::{Command, Line};
use super::super::failure::{Failure, FailureKind, Phase};
use super::super::reply::{EnhancedStatus, Reply, ReplyClass};
use super::super::sasl::{
    self, Binding, ChannelBinding, Credentials, Exchange, Mechanism, SaslError,
};
use super::super::visible::visible;
use super::speed::SpeedUp;
use super::{Dialogue, Output, Question, State};

/// Longest AUTH line with its CRLF, in octets: the limit of a command line
/// stays (RFC 4954 §4, RFC 5321 §4.5.3.1.4), and Postfix holds clients to it.
const MAX_AUTH_LINE: usize = 512;

/// What mechanisms must know that the dialogue cannot.
#[derive(Clone, Debug)]
pub struct SaslContext {
    /// Fresh random text for each connection: 24 characters of base64.
    pub nonce: String,
    /// The server as the user named it.
    pub host: String,
    /// The port connected to.
    pub port: u16,
}

/// Credentials and how they may be used.
#[derive(Clone, Debug)]
pub struct LoginAnswer {
    /// User name and secret.
    pub credentials: Arc<Credentials>,
    /// Mechanisms in the user's order of preference.
    pub mechanisms: Vec<Mechanism>,
    /// Whether unauthenticated mail is out of the question with these.
    pub required: bool,
}

/// Why credentials are asked for.
#[derive(Clone, Debug)]
pub enum CredentialsReason {
    /// The server offers AUTH; mail may well go without.
    Offered,
    /// The server refused these; without others the message fails.
    Refused(Failure),
}

/// An AUTH under way.
pub(super) struct Login {
    answer: LoginAnswer,
    mechanism: Mechanism,
    exchange: Exchange,
    /// Mechanisms still to try, best first.
    rest: VecDeque<Mechanism>,
    /// The refusal that blamed the password, where CRAM-MD5 got another mechanism
    /// a chance.
    password_refusal: Option<Failure>,
    /// Why we gave the exchange up, once we did.
    cancelled: Option<SaslError>,
}

impl Dialogue {
    /// TLS is as it will be: log in, ask how, or go on without.
    pub(super) fn begin_login(&mut self) {
        let login = self.plan.login.clone();
        if self.capabilities.auth.is_empty() {
            if self.plan.login_required || login.is_some_and(|login| login.required) {
                return self
                    .login_failed("the server offers no authentication, and a login is required");
            }
            self.open_for_messages();
        } else if let Some(login) = login {
            self.start_login(login);
        } else {
            self.ask_for_credentials(CredentialsReason::Offered);
        }
    }

    fn ask_for_credentials(&mut self, reason: CredentialsReason) {
        let offered = self.capabilities.auth.clone();
        self.state = State::AwaitCredentials(match &reason {
            CredentialsReason::Offered => None,
            CredentialsReason::Refused(failure) => Some(failure.clone()),
        });
        self.outputs
            .push_back(Output::Ask(Question::Credentials { offered, reason }));
    }

    pub(super) fn on_login(&mut self, answer: Option<LoginAnswer>) {
        match (&self.state, answer) {
            (State::AwaitCredentials(_), Some(login)) => self.start_login(login),
            (State::AwaitCredentials(Some(failure)), None) => self.end(failure.clone()),
            (State::AwaitCredentials(None), None) if self.plan.login_required => {
                self.login_failed("no credentials for a server that has to have them");
            }
            (State::AwaitCredentials(None), None) => self.open_for_messages(),
            // Between messages, after the server demanded it.
            (State::Transacting, Some(login)) if self.transactions.is_empty() => {
                // AUTH is not allowed within a transaction (RFC 4954 §4).
                match std::mem::take(&mut self.reset_needed) {
                    true => {
                        self.send(Command::Rset);
                        self.state = State::ExpectResetBeforeLogin(login);
                    }
                    false => self.start_login(login),
                }
            }
            _ => {}
        }
    }

    /// Say a line of a login from outside, after RSET where that is due.
    pub(super) fn on_say(&mut self, line: Line) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Transacting if self.transactions.is_empty() => {
                if std::mem::take(&mut self.reset_needed) {
                    self.send(Command::Rset);
                    self.state = State::ExpectResetBeforeLine(line);
                } else {
                    self.send(Command::Line(line));
                    self.state = State::ExpectHeardReply(Box::new(State::Transacting));
                }
            }
            state @ State::AwaitCredentials(_) => {
                self.send(Command::Line(line));
                self.state = State::ExpectHeardReply(Box::new(state));
            }
            other => self.state = other,
        }
    }

    /// A login from outside succeeded.
    pub(super) fn on_logged_in(&mut self) {
        match self.state {
            State::AwaitCredentials(_) => {
                self.logged_in = true;
                self.open_for_messages();
            }
            State::Transacting => self.logged_in = true,
            _ => {}
        }
    }

    pub(super) fn start_login(&mut self, login: LoginAnswer) {
        let offered: VecDeque<Mechanism> = login
            .mechanisms
            .iter()
            .copied()
            .filter(|m| {
                self.capabilities
                    .auth
                    .iter()
                    .any(|keyword| keyword == m.keyword())
            })
            .collect();
        if offered.is_empty() {
            if login.required || self.plan.login_required {
                let offers = self.capabilities.auth.join(" ");
                let text = format!(
                    "no mechanism in common; the server offers {}",
                    visible(offers.as_bytes(), 200)
                );
                return self.login_failed(&text);
            }
            return self.open_for_messages();
        }
        let permitted: VecDeque<Mechanism> = offered
            .into_iter()
            .filter(|m| self.clear_login_allowed || !m.sends_secret_in_clear())
            .collect();
        if permitted.is_empty() {
            self.outputs.push_back(Output::Ask(Question::ClearLogin));
            self.state = State::AwaitClearLogin(login);
            return;
        }
        self.try_mechanism(login, permitted, None);
    }

    pub(super) fn on_clear_login(&mut self, allowed: bool) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::AwaitClearLogin(login) if allowed => {
                self.clear_login_allowed = true;
                self.start_login(login);
            }
            State::AwaitClearLogin(_) => {
                let text =
                    "the connection is not encrypted, and the password would travel in clear";
                self.end(Failure::new(FailureKind::Insecure, Phase::Auth, text));
            }
            other => self.state = other,
        }
    }

    fn try_mechanism(
        &mut self,
        answer: LoginAnswer,
        mut rest: VecDeque<Mechanism>,
        password_refusal: Option<Failure>,
    ) {
        let Some(mechanism) = rest.pop_front() else {
            return match password_refusal {
                Some(failure) => self.ask_for_credentials(CredentialsReason::Refused(failure)),
                None => self.login_failed("the server takes none of the mechanisms it offers"),
            };
        };
        // Never the same one twice (RFC 5802 §5.1).
        self.exchanges += 1;
        let mut nonce = self.plan.sasl.nonce.clone();
        if self.exchanges > 1 {
            nonce += &self.exchanges.to_string();
        }
        let binding = Binding {
            nonce: &nonce,
            channel_binding: self.channel_binding(mechanism),
            host: &self.plan.sasl.host,
            port: self.plan.sasl.port,
        };
        match mechanism.start(&answer.credentials, &binding) {
            // What one mechanism cannot say, another one may.
            Err(_) if !rest.is_empty() => self.try_mechanism(answer, rest, password_refusal),
            Err(error) => self.login_failed(&error.to_string()),
            Ok(mut exchange) => {
                let room = MAX_AUTH_LINE - "AUTH  \r\n".len() - mechanism.keyword().len();
                let initial = match exchange.initial_response_fits(room) {
                    true => exchange.initial_response(),
                    // The server asks for it (RFC 4954 §4).
                    false => None,
                };
                let carries = mechanism == Mechanism::Plain && initial.is_some();
                self.login = Some((answer.credentials.user.clone(), mechanism));
                self.send(Command::Auth(mechanism.keyword(), initial));
                self.state = State::ExpectAuthReply(Box::new(Login {
                    answer,
                    mechanism,
                    exchange,
                    rest,
                    password_refusal,
                    cancelled: None,
                }));
                if carries {
                    self.let_a_message_ride();
                }
            }
        }
    }

    /// AUTH is said, and its next reply is the last: a message may ride behind it.
    fn let_a_message_ride(&mut self) {
        let spared = self.plan.without.contains(&SpeedUp::PipelinedLogin);
        self.login_carries = self.capabilities.pipelining && !spared && self.old_words().is_empty();
        if self.login_carries && self.waiting.is_empty() {
            self.outputs.push_back(Output::LoggingIn);
        }
        self.ride_behind_login();
    }

    /// AUTH was not accepted, and an envelope is behind it.
    fn on_login_with_rider_refused(&mut self, login: &Login, reply: &Reply) {
        let refusal = refusal(reply, &login.exchange);
        match reply.class() {
            // The reply may be about what rides, or about the mechanism; another
            // connection, where nothing does, will tell.
            ReplyClass::Intermediate => self.switch_off(SpeedUp::PipelinedLogin, refusal),
            ReplyClass::Permanent if blames_mechanism(reply) || reply.code() < 510 => {
                self.switch_off(SpeedUp::PipelinedLogin, refusal);
            }
            ReplyClass::Permanent => {
                self.ask_for_credentials(CredentialsReason::Refused(refusal.clone()));
                self.end_beside(refusal);
            }
            _ => self.end(Failure::from_reply(Phase::Auth, reply)),
        }
    }

    /// What SCRAM says of channel binding (RFC 5802 §6).
    fn channel_binding(&self, mechanism: Mechanism) -> ChannelBinding<'_> {
        let announced = |keyword: &String| {
            Mechanism::from_keyword(keyword).is_some_and(Mechanism::binds_channel)
        };
        match &self.end_point {
            Some(end_point) if mechanism.binds_channel() => {
                ChannelBinding::TlsServerEndPoint(end_point)
            }
            // "y" would have the server believe that its announcement was taken away.
            Some(_) if !self.capabilities.auth.iter().any(announced) => ChannelBinding::NotOffered,
            _ => ChannelBinding::Unsupported,
        }
    }

    pub(super) fn on_auth_reply(&mut self, mut login: Login, reply: Reply) {
        let rider = self.login_carries && !self.transactions.is_empty();
        if rider && reply.code() != 235 {
            return self.on_login_with_rider_refused(&login, &reply);
        }
        self.login_carries = false;
        match reply.code() {
            235 if login.cancelled.is_none() => match login.exchange.finished_ok() {
                Ok(()) => {
                    self.logged_in = true;
                    self.open_for_messages();
                }
                Err(error) => self.login_failed(&error.to_string()),
            },
            334 if login.cancelled.is_none() => {
                let challenge = match login.mechanism {
                    // Its prompts mean nothing, and some servers send them as they are.
                    Mechanism::Login => Ok(Vec::new()),
                    _ => sasl::decode_challenge(reply.first_line()),
                };
                match challenge.and_then(|challenge| login.exchange.respond(&challenge)) {
                    Ok(response) => self.send(Command::AuthResponse(response)),
                    Err(error) => {
                        login.cancelled = Some(error);
                        self.send(Command::AuthCancel);
                    }
                }
                self.state = State::ExpectAuthReply(Box::new(login));
            }
            _ => self.login_refused(login, reply),
        }
    }

    fn login_refused(&mut self, mut login: Login, reply: Reply) {
        // RFC 5802 §7: what was wrong is the type of binding, not the password.
        if login.mechanism.binds_channel()
            && !self.binding_refused
            && let Some(SaslError::Refused(text)) = &login.cancelled
            && matches!(
                text.as_str(),
                "channel-binding-not-supported" | "unsupported-channel-binding-type"
            )
        {
            self.binding_refused = true;
            self.outputs.push_back(Output::Note(
                "the server announces channel binding and refuses tls-server-end-point: on without it (gs2 flag n)",
            ));
            let rest = login.rest.into_iter().filter(|m| !m.binds_channel());
            return self.try_mechanism(login.answer, rest.collect(), login.password_refusal);
        }
        match login.cancelled {
            // The mechanism's own way to say that the password is wrong.
            Some(SaslError::Refused(text)) => {
                let failure = Failure::new(FailureKind::Authentication, Phase::Auth, text);
                return self.ask_for_credentials(CredentialsReason::Refused(failure));
            }
            Some(error) => return self.login_failed(&error.to_string()),
            None => {}
        }
        if reply.class() != ReplyClass::Permanent {
            return self.end(Failure::from_reply(Phase::Auth, &reply));
        }
        if !blames_mechanism(&reply) {
            let refusal = refusal(&reply, &login.exchange);
            let cram_md5_alone = login.mechanism == Mechanism::CramMd5
                && reply.code() == 535
                && self.protected
                && login.password_refusal.is_none();
            if !cram_md5_alone {
                return self.ask_for_credentials(CredentialsReason::Refused(refusal));
            }
            login.password_refusal = Some(refusal);
        }
        self.try_mechanism(login.answer, login.rest, login.password_refusal);
    }

    fn login_failed(&mut self, text: &str) {
        self.end(Failure::new(FailureKind::Authentication, Phase::Auth, text));
    }
}

/// A refused password, with the reason that the mechanism itself has brought.
fn refusal(reply: &Reply, exchange: &Exchange) -> Failure {
    let mut failure = Failure::from_reply(Phase::Auth, reply).of_kind(FailureKind::Authentication);
    if let Some(reason) = exchange.server_error() {
        failure.text = format!("{} ({reason})", failure.text);
    }
    failure
}

/// Whether a refusal is about the mechanism, not about the password: RFC 4954
/// §4 and §6 (504; 534 too weak; 538 needs encryption) and status 5.5.4.
fn blames_mechanism(reply: &Reply) -> bool {
    matches!(reply.code(), 504 | 534 | 538)
        || matches!(
            reply.status(),
            Some(EnhancedStatus {
                class: 5,
                subject: 5,
                detail: 4
            })
        )
}
