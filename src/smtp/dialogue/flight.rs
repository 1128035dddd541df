//! Commands in flight: what is said in transactions, in which order, how much of
//! it at once, and which reply answers what (RFC 2920 §3.1, RFC 3030 §2).
//!
//! With CHUNKING the text follows its envelope at once where the replies to the
//! recipients could change nothing, and the next envelope follows the text.

use super::super::command::Command;
use super::super::content::Framing;
use super::super::failure::{Failure, Phase};
use super::super::reply::{Reply, ReplyClass};
use super::speed::SpeedUp;
use super::transaction::{Message, MessageId, Step, Transaction, Verdict};
use super::{Dialogue, Output, Question, RefusedRecipients, State};

/// Most octets of commands sent and not yet answered: below the socket buffers
/// of every system, so that a server that reads only after it wrote goes on.
pub const MAX_COMMAND_OCTETS_IN_FLIGHT: usize = 64 * 1024;

/// Most commands sent and not yet answered: their replies, at the 64 octets
/// that they usually have, fit into the same buffers.
pub const MAX_COMMANDS_IN_FLIGHT: usize = 1024;

/// Messages given to a server at once, on a new connection, before the fate of the
/// first is known: that many are unknown if the line breaks.
pub const FIRST_MESSAGES_IN_FLIGHT: usize = 16;

/// Most messages given to a server whose fate is not known yet. Each one that it
/// accepted makes room for another, as with the segments of TCP (RFC 5681 §3.1).
/// With 32, 100 messages at 50 ms take a tenth less time; more would be unknown.
pub const MAX_MESSAGES_IN_FLIGHT: usize = 24;

/// Largest text that goes to several recipients before it is known whom of them
/// the server accepts: longer ones cost more than the wait does.
const MAX_UNASKED_OCTETS: u64 = 1024 * 1024;

/// The command, sent within [`State::Transacting`], whose reply is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Mail(MessageId),
    Recipient(MessageId, usize),
    Data(MessageId),
    Final(MessageId),
    Rset,
}

impl Due {
    pub fn belongs_to(self, id: MessageId) -> bool {
        match self {
            Self::Mail(of) | Self::Recipient(of, _) | Self::Data(of) | Self::Final(of) => of == id,
            Self::Rset => false,
        }
    }

    /// Whether a reply of this class is none to that command (RFC 5321 §4.3.2).
    pub fn is_broken_by(self, class: ReplyClass) -> bool {
        match self {
            Self::Mail(_) | Self::Recipient(..) | Self::Rset => class == ReplyClass::Intermediate,
            Self::Data(_) => class == ReplyClass::Completed,
            // Not without a look at how much of the text is out.
            Self::Final(_) => false,
        }
    }
}

impl Dialogue {
    pub(super) fn on_transaction_reply(&mut self, reply: &Reply) {
        let phase = self.phase();
        let Some((due, octets)) = self.due.pop_front() else {
            return self.unexpected(phase, reply);
        };
        if due.is_broken_by(reply.class()) {
            // Out of step: what is said next might be taken for message text.
            return self.end_or_switch_off(Failure::from_reply(phase, reply));
        }
        self.octets_in_flight -= octets;
        if self.heard_while_closing(due, reply.class()) {
            return;
        }
        if self.complains_of_sequence(due, reply) {
            return self.switch_off(SpeedUp::Pipelining, Failure::from_reply(phase, reply));
        }
        let transaction =
            |this: &mut Self, id| this.transactions.iter().position(|t| t.message.id == id);
        match due {
            Due::Rset => match reply.class() {
                ReplyClass::Completed => {}
                // What it meant to the transaction behind it, the reply to MAIL tells.
                _ if self.transactions.front().is_some_and(|t| t.text_started) => {}
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
        let Some(transaction) = self.transactions.iter().find(|t| t.message.id == id) else {
            // It was refused by a 421 before, and the server goes on.
            return self.advance();
        };
        let chunk = transaction.framing == Framing::Chunk;
        let refused = matches!(reply.class(), ReplyClass::Transient | ReplyClass::Permanent);
        let failure = Failure::from_reply(Phase::Final, reply);
        let abandoned = transaction.abandoned().cloned();
        if chunk && abandoned.is_none() && self.disowns_bdat(reply) {
            return self.on_bdat_disowned(id, failure);
        }
        if refused && transaction.out_of_sequence && self.transactions.len() == 1 {
            return self.switch_off(SpeedUp::Pipelining, failure);
        }
        if !transaction.text_sent {
            // There is no way to stop in the middle of a text but this one.
            return self.end(Failure::from_reply(Phase::Text, reply));
        }
        if chunk && abandoned.is_none() && self.is_of_an_address(reply) {
            return self.on_chunk_unanswered(failure);
        }
        let verdict = match (abandoned, reply.class()) {
            // Neither yes nor no: the end leaves it unknown.
            (_, ReplyClass::Intermediate) => return self.end(failure),
            // All recipients were refused: this is about nobody.
            (Some(verdict), _) => verdict,
            (None, ReplyClass::Completed) => Verdict::Accepted(reply.clone()),
            (None, _) => Verdict::Failed(failure),
        };
        let accepted = matches!(verdict, Verdict::Accepted(_));
        self.proven |= accepted;
        if accepted {
            self.message_room = MAX_MESSAGES_IN_FLIGHT.min(self.message_room + 1);
        }
        self.finish(id, verdict);
        // A refused BDAT leaves the server where only RSET helps (RFC 3030 §2), and
        // so does a text that Postfix refuses at its end, against RFC 5321 §4.1.1.4;
        // a transaction that rides behind it has said it already.
        self.reset_needed |= !accepted && self.transactions.is_empty();
        self.advance();
    }

    /// Say a command of which only the reply matters, where nothing is under way.
    pub(super) fn on_try(&mut self, command: Command) {
        if matches!(self.state, State::Transacting) && self.transactions.is_empty() {
            self.send(command);
            self.state = State::ExpectHeardReply(Box::new(State::Transacting));
        }
    }

    /// Do whatever can be done now.
    pub(super) fn advance(&mut self) {
        let ready = matches!(self.state, State::Transacting);
        if !ready || self.end_at_lost_text() || self.end_closing() {
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
                    let data = transaction.say_data();
                    self.backlog.push_back(data);
                }
                Step::SendText => {
                    transaction.text_started = true;
                    self.due.push_back((Due::Final(id), 0));
                    self.outputs.push_back(Output::SendText(id, Framing::Data));
                }
                Step::Finish(verdict) => {
                    let open_at_server = transaction.open_at_server;
                    // What was not said yet need not be said any more.
                    self.backlog.retain(|(_, due)| !due.belongs_to(id));
                    if self.due.iter().any(|(due, _)| due.belongs_to(id)) {
                        continue;
                    }
                    self.reset_needed |= open_at_server;
                    self.finish(id, verdict);
                    return self.advance();
                }
                Step::FinishByClosing(verdict) => {
                    let failure = match &verdict {
                        Verdict::Failed(f)
                        | Verdict::LoginDemanded(f)
                        | Verdict::Unknown(f)
                        | Verdict::Untried(f) => f.clone(),
                        Verdict::Accepted(reply) => Failure::from_reply(Phase::Data, reply),
                    };
                    self.finish(id, verdict);
                    return self.end_beside(failure);
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

    /// Say the envelope of the first message behind an AUTH that may carry it.
    pub(super) fn ride_behind_login(&mut self) {
        if self.login_carries && self.transactions.is_empty() {
            self.begin_transactions();
            self.send_backlog();
        }
    }

    /// How many messages this connection has a use for at once: the one under way
    /// and what rides behind its end.
    pub fn message_window(&self) -> usize {
        let window = &self.capabilities;
        match (window.pipelining, window.chunking) {
            _ if self.closing.is_some() => 0,
            // A login that the server demands must find nothing else under way.
            _ if self.login_may_help() => 1,
            (true, true) => self.message_room,
            _ => 2,
        }
    }

    fn login_may_help(&self) -> bool {
        !self.logged_in && !self.capabilities.auth.is_empty()
    }

    /// Open transactions for the messages that wait: the first at once, the next
    /// one behind the end of the text before it (RFC 2920 §3.1).
    fn begin_transactions(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            let room = match self.transactions.back() {
                None => {
                    // No transaction ends before all replies due to it are in.
                    debug_assert!(self.due.is_empty());
                    true
                }
                // With DATA one rides: its own text waits for the reply before it.
                Some(last) => {
                    self.capabilities.pipelining
                        && last.text_sent
                        && self.transactions.len() < self.message_window()
                }
            };
            if !room {
                self.waiting.push_front(message);
                return;
            }
            if let Err(failure) = self.expressible(&message) {
                let transaction = Transaction::not_begun(message);
                let (id, outcome) = transaction.outcome(Verdict::Failed(failure));
                self.outputs.push_back(Output::Finished(id, outcome));
                continue;
            }
            self.begin_transaction(message);
        }
    }

    fn begin_transaction(&mut self, message: Message) {
        let id = message.id;
        self.note_lacks(&message);
        // Behind a text that may yet be refused, and leave its transaction open.
        let behind_another = !self.transactions.is_empty();
        if std::mem::take(&mut self.reset_needed) || behind_another {
            self.backlog.push_back((Command::Rset, Due::Rset));
        }
        self.backlog.reserve(message.recipients.len());
        let parameters = self.mail_parameters(&message);
        self.backlog.push_back((
            Command::Mail(message.reverse_path.clone(), parameters),
            Due::Mail(id),
        ));
        for (index, recipient) in message.recipients.iter().enumerate() {
            let options = self.recipient_options(&message, recipient);
            let rcpt = Command::Rcpt(recipient.clone(), options);
            self.backlog.push_back((rcpt, Due::Recipient(id, index)));
        }
        let framing = match self.capabilities.chunking {
            true => Framing::Chunk,
            false => Framing::Data,
        };
        let policy = self.plan.refused_recipients;
        let login_may_help = self.login_may_help() && !self.login_carries;
        // Where the replies to the recipients may keep the text here, they are
        // awaited, as is the reply to AUTH: a server that takes mail without a
        // login would deliver after a failed one. A refusal of the only recipient
        // needs no wait: nobody gets the text then.
        let unasked = message.recipients.len() == 1
            || policy == RefusedRecipients::SendRest
                && !login_may_help
                && message.octets <= MAX_UNASKED_OCTETS;
        let data_rides = match framing {
            Framing::Chunk => unasked && !self.login_carries && !self.doubted,
            Framing::Data => true,
        };
        let mut transaction = Transaction::new(message, framing, policy, login_may_help);
        if self.capabilities.pipelining && data_rides {
            let data = transaction.say_data();
            self.backlog.push_back(data);
        }
        self.transactions.push_back(transaction);
    }

    /// Send what the window has room for, in one flight.
    fn send_backlog(&mut self) {
        let (commands, octets) = match self.capabilities.pipelining {
            true => (MAX_COMMANDS_IN_FLIGHT, MAX_COMMAND_OCTETS_IN_FLIGHT),
            false => (1, usize::MAX),
        };
        let room = commands.saturating_sub(self.due.len());
        let mut flight = Vec::with_capacity(room.min(self.backlog.len()));
        self.due.reserve(flight.capacity());
        while self.due.len() < commands {
            let Some((command, due)) = self.backlog.pop_front() else {
                break;
            };
            let length = command.shown_len();
            if self.octets_in_flight + length > octets {
                self.backlog.push_front((command, due));
                break;
            }
            self.octets_in_flight += length;
            self.due.push_back((due, length));
            let chunk = match due {
                Due::Final(id) => Some(id),
                _ => None,
            };
            flight.push(command);
            if let Some(id) = chunk {
                self.outputs
                    .push_back(Output::Send(std::mem::take(&mut flight)));
                self.start_chunk(id);
                // Nothing may come between BDAT and the end of its text.
                break;
            }
        }
        if !flight.is_empty() {
            self.outputs.push_back(Output::Send(flight));
        }
    }

    fn start_chunk(&mut self, id: MessageId) {
        if let Some(transaction) = self.transactions.iter_mut().find(|t| t.message.id == id) {
            transaction.text_started = true;
        }
        self.outputs.push_back(Output::SendText(id, Framing::Chunk));
    }

    pub(super) fn finish(&mut self, id: MessageId, verdict: Verdict) {
        if let Some(index) = self.transactions.iter().position(|t| t.message.id == id) {
            let transaction = self
                .transactions
                .remove(index)
                .expect("the index was just found");
            let (id, outcome) = transaction.outcome(verdict);
            self.outputs.push_back(Output::Finished(id, outcome));
        }
    }

    pub(super) fn text_sent(&self, id: MessageId) -> bool {
        self.transactions
            .iter()
            .any(|t| t.message.id == id && t.text_sent)
    }
}
