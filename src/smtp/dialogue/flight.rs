//! Commands in flight: what is said in transactions, in which order, how much of
//! it at once, and which reply answers what (RFC 2920 §3.1).

use super::super::capabilities::SizeLimit;
use super::super::command::{Command, MailParameters};
use super::super::failure::{Failure, FailureKind, Phase};
use super::super::reply::{Reply, ReplyClass};
use super::transaction::{Message, MessageId, Step, Transaction, Verdict};
use super::{Dialogue, Output, Question, State};

/// Most octets of commands sent and not yet answered: below the socket buffers
/// of every system, so that a server that reads only after it wrote goes on.
pub const MAX_COMMAND_OCTETS_IN_FLIGHT: usize = 64 * 1024;

/// Most commands sent and not yet answered: their replies, at the 64 octets
/// that they usually have, fit into the same buffers.
pub const MAX_COMMANDS_IN_FLIGHT: usize = 1024;

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
            return self.end(Failure::from_reply(phase, reply));
        }
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
        if !self.text_sent(id) {
            // There is no way to stop in the middle of a text but this one.
            return self.end(Failure::from_reply(Phase::Text, reply));
        }
        let failure = Failure::from_reply(Phase::Final, reply);
        match reply.class() {
            ReplyClass::Completed => self.finish(id, Verdict::Accepted(reply.clone())),
            // Neither yes nor no: the end leaves it unknown.
            ReplyClass::Intermediate => return self.end(failure),
            _ => self.finish(id, Verdict::Failed(failure)),
        }
        self.advance();
    }

    /// Do whatever can be done now.
    pub(super) fn advance(&mut self) {
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

    /// Open transactions for the messages that wait: the first at once, the next
    /// one behind the final dot of the one before (RFC 2920 §3.1).
    fn begin_transactions(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            let room = match self.transactions.back() {
                None => {
                    // No transaction ends before all replies due to it are in.
                    debug_assert!(self.due.is_empty());
                    true
                }
                // At most one rides: its own text waits for the reply before it.
                Some(last) => self.capabilities.pipelining && last.text_sent,
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
        if message.recipients.is_empty() {
            return refuse("the message has no recipients".into());
        }
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
        while self.due.len() < commands {
            let Some((command, due)) = self.backlog.pop_front() else {
                break;
            };
            let length = command.trace_line().len() + 2;
            if self.octets_in_flight + length > octets {
                self.backlog.push_front((command, due));
                break;
            }
            self.octets_in_flight += length;
            self.due.push_back((due, length));
            flight.push(command);
        }
        if !flight.is_empty() {
            self.outputs.push_back(Output::Send(flight));
        }
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
