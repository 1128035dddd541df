//! One message on its way: who still waits for it, and what became of the
//! others, over any number of transactions. No sockets, no clock.

use std::rc::Rc;

use super::mailbox::{RecipientReport, Report, Verdict};
use super::request::{Content, MailObject};
use crate::smtp::capabilities::Capabilities;
use crate::smtp::dialogue::{
    self, Message, MessageId, Outcome, RecipientVerdict, RefusedRecipients,
};
use crate::smtp::failure::{Failure, Phase};

pub(super) struct Mail {
    pub object: MailObject,
    /// From its first turn on to its end.
    pub content: Option<Rc<Content>>,
    /// The user's word on its refused recipients.
    pub refused_recipients: Option<RefusedRecipients>,
    /// Times that the whole text went out in vain.
    pub texts_refused: u32,
    pub is_over: bool,
    recipients: Vec<Recipient>,
    /// The recipients of the transaction under way.
    batch: Vec<usize>,
    /// Most recipients of a transaction, once the server has shown its limit.
    batch_limit: Option<usize>,
    /// The server's words on the last acceptance.
    accepted: Option<String>,
}

struct Recipient {
    report: RecipientReport,
    /// Whether it still has to be told to a server.
    waiting: bool,
}

/// What comes after a transaction.
pub(super) enum Settled {
    /// The recipients that the server had no room for, at once.
    NextBatch,
    /// It may succeed after a login.
    Demanded(Failure),
    /// It is over.
    Over(Verdict),
    /// Not now: again after a pause.
    Again(Failure),
    /// The connection ended before its turn came.
    Untried,
}

impl Mail {
    pub fn new(object: MailObject) -> Self {
        let recipients = object.envelope.recipients.iter().map(|mailbox| Recipient {
            report: RecipientReport {
                address: mailbox.to_string(),
                accepted: false,
                failure: None,
            },
            waiting: true,
        });
        Self {
            recipients: recipients.collect(),
            object,
            content: None,
            refused_recipients: None,
            texts_refused: 0,
            is_over: false,
            batch: Vec::new(),
            batch_limit: None,
            accepted: None,
        }
    }

    /// Whether a server has taken it for some, and others still wait.
    pub fn is_taken_in_part(&self) -> bool {
        self.accepted.is_some() && !self.is_over
    }

    /// The next transaction, for as many recipients as the server takes at once.
    pub fn next_message(&mut self, id: MessageId, capabilities: &Capabilities) -> Option<Message> {
        let facts = &self.content.as_ref()?.facts;
        self.batch = self.next_batch(capabilities);
        let envelope = &self.object.envelope;
        Some(Message {
            id,
            reverse_path: envelope.reverse_path.clone(),
            recipients: self
                .batch
                .iter()
                .map(|index| envelope.recipients[*index].clone())
                .collect(),
            octets: facts.wire_len,
            eight_bit: facts.eight_bit,
            header_eight_bit: facts.header_eight_bit,
            longest_line: facts.longest_line,
            options: envelope.options.clone(),
        })
    }

    fn next_batch(&self, capabilities: &Capabilities) -> Vec<usize> {
        let limit = [capabilities.max_recipients, self.batch_limit]
            .into_iter()
            .flatten()
            .min();
        let waiting = (0..self.recipients.len()).filter(|index| self.recipients[*index].waiting);
        let mut waiting: Vec<_> = waiting.collect();
        if let Some(limit) = limit.filter(|limit| *limit < waiting.len()) {
            // Who was refused for now must not keep out who was not tried yet.
            waiting.sort_by_key(|index| self.recipients[*index].report.failure.is_some());
            waiting.truncate(limit);
        }
        waiting
    }

    /// The recipients of the transaction under way, with these verdicts.
    pub fn batch_reports(&self, verdicts: Vec<RecipientVerdict>) -> Vec<RecipientReport> {
        let addresses = self
            .batch
            .iter()
            .map(|index| &self.recipients[*index].report.address);
        let reports = addresses
            .zip(verdicts)
            .map(|(address, verdict)| RecipientReport {
                address: address.clone(),
                accepted: verdict == RecipientVerdict::Accepted,
                failure: match verdict {
                    RecipientVerdict::Refused(failure) => Some(failure),
                    _ => None,
                },
            });
        reports.collect()
    }

    /// A transaction is over: note every recipient and say what comes next.
    pub fn settle(&mut self, outcome: Outcome) -> Settled {
        let taken = matches!(outcome.verdict, dialogue::Verdict::Accepted(_));
        let mut postponed = false;
        for (index, verdict) in self.batch.iter().zip(&outcome.recipients) {
            let recipient = &mut self.recipients[*index];
            match verdict {
                RecipientVerdict::Accepted => {
                    recipient.report.accepted = taken;
                    recipient.report.failure = None;
                    recipient.waiting = !taken;
                }
                RecipientVerdict::Refused(failure) => {
                    recipient.waiting = !taken || failure.is_transient();
                    recipient.report.failure = Some(failure.clone());
                }
                RecipientVerdict::Postponed(_) => postponed = true,
                RecipientVerdict::Untried => {}
            }
        }
        match outcome.verdict {
            dialogue::Verdict::Accepted(reply) => {
                self.accepted = Some(reply.text());
                if postponed {
                    let accepted = outcome
                        .recipients
                        .iter()
                        .filter(|v| **v == RecipientVerdict::Accepted);
                    self.batch_limit = Some(accepted.count().max(1));
                }
                self.after_acceptance()
            }
            dialogue::Verdict::Failed(failure) => {
                self.texts_refused += u32::from(failure.phase == Phase::Final);
                match failure.is_transient() {
                    true => Settled::Again(failure),
                    false => Settled::Over(Verdict::Failed(failure)),
                }
            }
            dialogue::Verdict::LoginDemanded(failure) => Settled::Demanded(failure),
            dialogue::Verdict::Unknown(failure) => Settled::Over(Verdict::Unknown(failure)),
            dialogue::Verdict::Untried(_) => Settled::Untried,
        }
    }

    /// The server took the message for some: who is left?
    fn after_acceptance(&self) -> Settled {
        let mut waiting = self
            .recipients
            .iter()
            .filter(|recipient| recipient.waiting)
            .peekable();
        if waiting.peek().is_none() {
            let words = self.accepted.clone().unwrap_or_default();
            return Settled::Over(Verdict::Accepted(words));
        }
        // Those refused for now come after a pause, those only postponed at once.
        match waiting
            .map(|recipient| recipient.report.failure.clone())
            .collect::<Option<Vec<_>>>()
        {
            Some(failures) => match failures.into_iter().next() {
                Some(failure) => Settled::Again(failure),
                None => Settled::NextBatch,
            },
            None => Settled::NextBatch,
        }
    }

    /// What is to be told of it at its end; `policy` is the request's for refused
    /// recipients.
    pub fn report(&self, verdict: Verdict, policy: RefusedRecipients, logged_in: bool) -> Report {
        let policy = self.refused_recipients.unwrap_or(policy);
        // Those who wait in vain have their refusal in their report; the others
        // have got the message.
        let verdict = match (verdict, &self.accepted) {
            (Verdict::Failed(failure), Some(words)) if self.all_answered(&failure, policy) => {
                Verdict::Accepted(words.clone())
            }
            (verdict, _) => verdict,
        };
        Report {
            verdict,
            recipients: self
                .recipients
                .iter()
                .map(|recipient| recipient.report.clone())
                .collect(),
            logged_in,
        }
    }

    /// After a message was taken for some, with the user's will, and the others
    /// were refused for now: is every one of them accounted for?
    fn all_answered(&self, failure: &Failure, policy: RefusedRecipients) -> bool {
        failure.phase == Phase::Recipient
            && policy == RefusedRecipients::SendRest
            && self
                .recipients
                .iter()
                .all(|r| r.report.accepted || r.report.failure.is_some())
    }
}
