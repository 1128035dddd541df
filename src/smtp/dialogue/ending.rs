//! How a connection ends, on purpose or not, and what that means for every
//! message given to it. What the server may have taken is unknown from here on;
//! a refusal that came before stands.

use super::super::failure::{Failure, FailureKind, Phase};
use super::super::reply::{Reply, ReplyClass};
use super::flight::Due;
use super::speed::SpeedUp;
use super::transaction::{MessageId, Transaction, Verdict};
use super::{Dialogue, Output, State};

/// A connection that takes nothing more while texts behind the one answered last
/// are out: a server that goes on all the same must not be taken for one that has
/// dropped them.
pub(super) struct Closing {
    reason: Failure,
    /// The server said 421; otherwise that it does not know BDAT.
    farewell: bool,
    /// Whether anything was heard since.
    heard: bool,
}

impl Dialogue {
    /// A reply that answers nothing.
    pub(super) fn unexpected(&mut self, phase: Phase, reply: &Reply) {
        self.end(Failure::from_reply(phase, reply).of_kind(FailureKind::Protocol));
    }

    /// 421: the server closes the connection (RFC 5321 §3.8).
    pub(super) fn on_closing(&mut self, reply: &Reply) {
        let failure = Failure::from_reply(self.phase(), reply);
        // It answers the command due, so a message whose end was sent failed, and
        // nothing behind that command was heard.
        match (&self.state, self.due.front()) {
            (State::Transacting, Some((due, _))) => {
                let id = match *due {
                    Due::Final(id) | Due::Mail(id) | Due::Recipient(id, _) | Due::Data(id) => {
                        Some(id)
                    }
                    Due::Rset => self.transactions.front().map(|t| t.message.id),
                };
                let transaction = self.transactions.iter().find(|t| Some(t.message.id) == id);
                // Only if the server goes on all the same, some could get it.
                let in_doubt = |t: &&Transaction| {
                    t.text_sent
                        && match due {
                            Due::Rset => true,
                            Due::Recipient(..) => t.message.recipients.len() > 1,
                            _ => false,
                        }
                };
                if let Some(transaction) = transaction.filter(|t| !in_doubt(t)) {
                    let (id, verdict) =
                        (transaction.message.id, transaction.verdict_at_end(&failure));
                    self.finish(id, verdict);
                }
                self.due.pop_front();
                self.close_after_texts(failure, true);
            }
            _ => self.end(failure),
        }
    }

    /// BDAT is unknown to the server: the message goes over another connection.
    pub(super) fn on_bdat_disowned(&mut self, id: MessageId, failure: Failure) {
        if self.closing.is_none() {
            let speed_up = SpeedUp::Chunking;
            self.outputs
                .push_back(Output::SwitchOff(speed_up, failure.clone()));
        }
        self.finish(id, Verdict::Untried(failure.clone()));
        self.close_after_texts(failure, false);
    }

    /// Say nothing more; end once nothing is to be learnt of texts that are out.
    fn close_after_texts(&mut self, reason: Failure, farewell: bool) {
        self.closing.get_or_insert(Closing {
            reason,
            farewell,
            heard: false,
        });
        self.end_closing();
    }

    /// Whether the connection is closing; it ends here where nothing is to be
    /// learnt any more.
    pub(super) fn end_closing(&mut self) -> bool {
        let out = self.transactions.iter().any(|t| t.text_sent);
        if let Some(closing) = &self.closing
            && !out
        {
            let reason = closing.reason.clone();
            self.end_beside(reason);
        }
        self.closing.is_some()
    }

    /// A reply came in spite of the end: whether it says that the server took the
    /// octets of a chunk for commands, and so no chunk for what it is.
    pub(super) fn heard_while_closing(&mut self, due: Due, class: ReplyClass) -> bool {
        let Some(closing) = &mut self.closing else {
            return false;
        };
        let first = !std::mem::replace(&mut closing.heard, true);
        let commands_unread = first && !closing.farewell;
        if commands_unread && due == Due::Rset && class == ReplyClass::Permanent {
            let reason = closing.reason.clone();
            self.end_beside(reason);
            return true;
        }
        false
    }

    /// The connection is gone.
    pub(super) fn on_closed(&mut self, failure: Failure) {
        match &self.state {
            // A server that refuses EHLO and leaves has said why.
            State::ExpectHeloReply(refusal) if failure.kind == FailureKind::Closed => {
                self.end(Failure::from_reply(Phase::Ehlo, refusal));
            }
            // It has said so, and has done nothing since.
            _ if (self.closing.as_ref()).is_some_and(|c| c.farewell && !c.heard) => {
                let closing = self.closing.take();
                self.end_beside(closing.map_or(failure, |closing| closing.reason));
            }
            _ if self.suspects_chunking(&failure) => {
                let speed_up = SpeedUp::Chunking;
                self.outputs
                    .push_back(Output::SwitchOff(speed_up, failure.clone()));
                self.end(failure);
            }
            _ => self.end_or_switch_off(failure),
        }
    }

    /// The text under way cannot come to its end: nor can the connection be used
    /// for anything else, beyond the replies that are still due before it.
    pub(super) fn on_text_lost(&mut self, failure: Failure) {
        self.text_lost = Some(failure);
        self.end_at_lost_text();
    }

    /// Whether the connection ends here, since all is answered that was said
    /// before a text that does not come to its end.
    pub(super) fn end_at_lost_text(&mut self) -> bool {
        let reached = self.transactions.front().is_none_or(|t| !t.text_sent);
        match self.text_lost.take_if(|_| reached) {
            Some(failure) => {
                self.end(failure);
                true
            }
            None => false,
        }
    }

    /// The connection is over; perhaps it would not be without a speed-up.
    pub(super) fn end_or_switch_off(&mut self, failure: Failure) {
        match self.suspect(&failure) {
            Some(speed_up) => self.switch_off(speed_up, failure),
            None => self.end(failure),
        }
    }

    /// The connection is over: every message whose end went out is unknown, the
    /// message in hand gets its verdict, and those behind it the one that they
    /// have none.
    pub(super) fn end(&mut self, failure: Failure) {
        // What rides behind a login has not begun yet.
        let mut in_hand = !self.login_carries;
        while let Some(transaction) = self.transactions.pop_front() {
            if !transaction.text_sent && !in_hand {
                self.transactions.push_front(transaction);
                break;
            }
            in_hand = false;
            let verdict = match transaction.text_sent {
                true => transaction.verdict_after_text(&failure),
                false => transaction.verdict_at_end(&failure),
            };
            let (id, outcome) = transaction.outcome(verdict);
            self.outputs.push_back(Output::Finished(id, outcome));
        }
        self.end_beside(failure);
    }

    /// The connection is over, for a reason that says that no message left was
    /// taken.
    pub(super) fn end_beside(&mut self, failure: Failure) {
        let under_way = std::mem::take(&mut self.transactions).into_iter();
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        for transaction in under_way.chain(waiting.map(Transaction::not_begun)) {
            let (id, outcome) = transaction.outcome(Verdict::Untried(failure.clone()));
            self.outputs.push_back(Output::Finished(id, outcome));
        }
        self.state = State::Closed;
        self.outputs.push_back(Output::Done(Some(failure)));
    }
}
