//! One mail transaction: MAIL, RCPT …, DATA or BDAT, the text, its final reply
//! (RFC 5321 §3.3, RFC 3030 §2), and what became of every recipient.
//!
//! A transaction only collects verdicts and says what may be done next; the
//! dialogue sends, receives and owns the order of things on the connection.

use std::sync::Arc;

use super::super::address::{Mailbox, ReversePath};
use super::super::command::Command;
use super::super::content::Framing;
use super::super::failure::{Failure, FailureKind, Phase};
use super::super::options::DeliveryOptions;
use super::super::reply::{EnhancedStatus, Reply, ReplyClass};
use super::RefusedRecipients;
use super::flight::Due;

/// The number by which the caller knows a message.
pub type MessageId = u64;

/// What the dialogue has to know of a message: its envelope and some facts
/// about its text, which itself stays outside.
#[derive(Clone, Debug)]
pub struct Message {
    /// Chosen by the caller, unique on this connection.
    pub id: MessageId,
    /// Where failures are to be reported.
    pub reverse_path: ReversePath,
    /// At least one.
    pub recipients: Vec<Mailbox>,
    /// Octets of the text with CRLF line ends, without dot-stuffing: exactly what
    /// follows a BDAT.
    pub octets: u64,
    /// Whether the text has octets above 127.
    pub eight_bit: bool,
    /// Whether its header has some.
    pub header_eight_bit: bool,
    /// Octets of its longest line, without the CRLF.
    pub longest_line: usize,
    /// What it asks of the server.
    pub options: DeliveryOptions,
}

impl Message {
    /// Whether the envelope can only be said with SMTPUTF8 (RFC 6531 §3.4).
    pub fn needs_smtputf8(&self) -> bool {
        self.reverse_path.needs_smtputf8() || self.recipients.iter().any(Mailbox::needs_smtputf8)
    }
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// The server said 2yz.
    Accepted,
    /// The server has too many recipients now: they want a transaction of their
    /// own (RFC 5321 §4.5.3.1.10).
    Postponed(Arc<Reply>),
    /// The server refused it, for now or for good.
    Refused(Failure),
    /// No reply said anything about it.
    Untried,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server took the message for every recipient that it had accepted.
    Accepted(Reply),
    /// It did not take the message.
    Failed(Failure),
    /// It did not take the message and, by its words, may do so after a login.
    LoginDemanded(Failure),
    /// The end of the text went out and no reply came: nobody knows.
    Unknown(Failure),
    /// The connection ended, for this reason, before the message's turn came.
    Untried(Failure),
}

/// How a transaction ended, recipient by recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// For the message as a whole.
    pub verdict: Verdict,
    /// In the order of [`Message::recipients`].
    pub recipients: Vec<RecipientVerdict>,
}

/// Whether the text may go.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    /// Replies to MAIL or RCPT are missing.
    Open,
    /// The user is asked whether the rest shall get it.
    Asked,
    /// It may.
    Proceed,
    /// It must not.
    Abandon(Verdict),
}

/// What is known of DATA, or BDAT.
#[derive(Debug, PartialEq, Eq)]
enum Data {
    Unsaid,
    /// Said, or about to be, whatever the replies before it will be.
    Said,
    /// 354 came.
    Invited,
    Refused(Failure),
}

/// What the dialogue is to do next for a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Wait for replies or for the user.
    Wait,
    /// Ask the user about refused recipients.
    Ask,
    /// Say DATA, or BDAT.
    SayData,
    /// Send the text.
    SendText,
    /// It is over; the connection may be used further after RSET.
    Finish(Verdict),
    /// It is over, and only closing the connection keeps the server from
    /// taking an empty message, or us from sending all of a refused one: it
    /// already waits for text.
    FinishByClosing(Verdict),
}

/// A transaction under way.
pub(super) struct Transaction {
    pub message: Message,
    /// How the server is to know the end of the text.
    pub framing: Framing,
    verdicts: Vec<RecipientVerdict>,
    /// Replies to RCPT still missing.
    missing: usize,
    decision: Decision,
    data: Data,
    policy: RefusedRecipients,
    /// Whether a refusal may mean that a login is wanted.
    pub login_may_help: bool,
    /// Whether a recipient was refused for a reason that speaks of sequence.
    pub out_of_sequence: bool,
    /// Whether the server accepted MAIL: RSET is needed to leave.
    pub open_at_server: bool,
    /// Whether the user was asked about refused recipients.
    pub asked: bool,
    /// Whether the text was begun, and whether its last octet is written.
    pub text_started: bool,
    pub text_sent: bool,
}

impl Transaction {
    pub fn new(
        message: Message,
        framing: Framing,
        policy: RefusedRecipients,
        login_may_help: bool,
    ) -> Self {
        let count = message.recipients.len();
        Self {
            message,
            framing,
            verdicts: vec![RecipientVerdict::Untried; count],
            missing: count,
            decision: Decision::Open,
            data: Data::Unsaid,
            policy,
            login_may_help,
            out_of_sequence: false,
            open_at_server: false,
            asked: false,
            text_started: false,
            text_sent: false,
        }
    }

    /// A message whose turn has not come.
    pub fn not_begun(message: Message) -> Self {
        Self::new(message, Framing::Data, RefusedRecipients::Abort, false)
    }

    /// The command before the text.
    pub fn say_data(&mut self) -> (Command, Due) {
        self.data = Data::Said;
        let id = self.message.id;
        match self.framing {
            Framing::Chunk => (Command::Bdat(self.message.octets), Due::Final(id)),
            Framing::Data => (Command::Data, Due::Data(id)),
        }
    }

    /// Whether nobody has objected, and all had the chance.
    pub fn may_proceed(&self) -> bool {
        self.decision == Decision::Proceed
    }

    /// The verdict that the replies to MAIL and RCPT have led to.
    pub fn abandoned(&self) -> Option<&Verdict> {
        match &self.decision {
            Decision::Abandon(verdict) => Some(verdict),
            _ => None,
        }
    }

    pub fn mail_reply(&mut self, reply: &Reply) {
        self.open_at_server = reply.class() == ReplyClass::Completed;
        if !self.open_at_server {
            let failure = Failure::from_reply(Phase::Mail, reply);
            let demanded = self.login_may_help && asks_for_login(&failure);
            self.decision = Decision::Abandon(failed(failure, demanded));
        }
    }

    pub fn recipient_reply(&mut self, index: usize, reply: &Reply) {
        self.missing -= 1;
        self.out_of_sequence |= self.open_at_server && reply.code() == 503 && !self.login_may_help;
        self.verdicts[index] = match reply.class() {
            ReplyClass::Completed => RecipientVerdict::Accepted,
            // Counted for such a reply only: not for each of thousands.
            _ if says_too_many(reply) && self.accepted() > 0 => {
                RecipientVerdict::Postponed(Arc::new(reply.clone()))
            }
            _ => RecipientVerdict::Refused(
                Failure::from_reply(Phase::Recipient, reply)
                    .for_recipient(&self.message.recipients[index]),
            ),
        };
        if self.missing == 0 && self.decision == Decision::Open {
            self.decision = self.decide();
        }
    }

    /// All replies to RCPT are in: may the text go?
    fn decide(&self) -> Decision {
        // The worst one speaks for the whole: refused for good before not now.
        let Some(worst) = self.refusals().min_by_key(|failure| failure.is_transient()) else {
            return Decision::Proceed;
        };
        // Not now for one of several is taken at its word.
        let speaks_for_all = !worst.is_transient() || self.accepted() == 0;
        let demanded = self.login_may_help && speaks_for_all && asks_for_login(worst);
        if self.accepted() == 0 || self.policy == RefusedRecipients::Abort || demanded {
            return Decision::Abandon(failed(worst.clone(), demanded));
        }
        match self.policy {
            RefusedRecipients::SendRest => Decision::Proceed,
            RefusedRecipients::Ask | RefusedRecipients::Abort => Decision::Asked,
        }
    }

    /// The user's word on refused recipients.
    pub fn recipients_answer(&mut self, send_rest: bool) {
        if self.decision == Decision::Asked {
            let worst = self.refusals().min_by_key(|failure| failure.is_transient());
            self.decision = match worst {
                Some(worst) if !send_rest => Decision::Abandon(failed(worst.clone(), false)),
                _ => Decision::Proceed,
            };
        }
    }

    pub fn data_reply(&mut self, reply: &Reply) {
        self.data = match reply.class() {
            ReplyClass::Intermediate => Data::Invited,
            _ => Data::Refused(Failure::from_reply(Phase::Data, reply)),
        };
    }

    /// What to do next.
    pub fn step(&self) -> Step {
        match (&self.decision, &self.data) {
            // Of a chunk, which nobody will get. Once it is out, its reply comes.
            (Decision::Abandon(verdict), _) if self.text_started && !self.text_sent => {
                Step::FinishByClosing(verdict.clone())
            }
            (_, Data::Said) | (Decision::Open, _) => Step::Wait,
            (Decision::Asked, Data::Refused(failure)) => {
                Step::Finish(failed(failure.clone(), false))
            }
            (Decision::Asked, _) if self.asked => Step::Wait,
            (Decision::Asked, _) => Step::Ask,
            (Decision::Proceed, Data::Unsaid) => Step::SayData,
            (Decision::Proceed, Data::Invited) if self.text_started => Step::Wait,
            (Decision::Proceed, Data::Invited) => Step::SendText,
            (Decision::Proceed, Data::Refused(failure)) => {
                Step::Finish(failed(failure.clone(), false))
            }
            // The lone dot of RFC 2920 §3.1 would deliver an empty message to
            // whomever the server did accept.
            (Decision::Abandon(verdict), Data::Invited) => Step::FinishByClosing(verdict.clone()),
            (Decision::Abandon(verdict), _) => Step::Finish(verdict.clone()),
        }
    }

    /// What became of the message when the connection ends, for this reason,
    /// before its text was out: a refusal that came before stands.
    pub fn verdict_at_end(&self, reason: &Failure) -> Verdict {
        match self.abandoned() {
            Some(verdict) => verdict.clone(),
            None => Verdict::Failed(reason.clone()),
        }
    }

    /// What became of it when the connection ends after its text was out and
    /// before the reply to that: nobody knows, unless nobody could get it.
    pub fn verdict_after_text(&self, reason: &Failure) -> Verdict {
        match self.abandoned() {
            Some(verdict) => verdict.clone(),
            None => Verdict::Unknown(Failure {
                phase: Phase::Final,
                ..reason.clone()
            }),
        }
    }

    /// The end, with what is known of every recipient.
    pub fn outcome(self, verdict: Verdict) -> (MessageId, Outcome) {
        (
            self.message.id,
            Outcome {
                verdict,
                recipients: self.verdicts,
            },
        )
    }

    /// What is known of every recipient so far.
    pub fn verdicts(&self) -> &[RecipientVerdict] {
        &self.verdicts
    }

    fn accepted(&self) -> usize {
        self.verdicts
            .iter()
            .filter(|v| **v == RecipientVerdict::Accepted)
            .count()
    }

    fn refusals(&self) -> impl Iterator<Item = &Failure> {
        self.verdicts.iter().filter_map(|verdict| match verdict {
            RecipientVerdict::Refused(failure) => Some(failure),
            _ => None,
        })
    }
}

fn failed(failure: Failure, demanded: bool) -> Verdict {
    if demanded && failure.kind != FailureKind::Protocol {
        Verdict::LoginDemanded(failure)
    } else {
        Verdict::Failed(failure)
    }
}

/// Whether a refusal of MAIL or RCPT before a login may mean that one is wanted:
/// RFC 4954 §6 has 530, 535 and 454, servers that speak of sequence say 503, and
/// relaying is refused with any of 550 to 554. To MAIL these say more often that
/// the message is too large, so there the status must be one of policy (RFC 3463
/// §3.8).
fn asks_for_login(failure: &Failure) -> bool {
    let of_policy = failure.status.map(|status| status.subject == 7);
    match failure.code {
        Some(503 | 530 | 535) => true,
        Some(454) => of_policy != Some(false),
        Some(550..=554) => failure.phase == Phase::Recipient || of_policy == Some(true),
        _ => false,
    }
}

/// RFC 5321 §4.5.3.1.10: 452, and 552 from older servers; with an enhanced
/// status, only 4.5.3 or 5.5.3 says so (4.2.2 is a full mailbox).
fn says_too_many(reply: &Reply) -> bool {
    match reply.status() {
        Some(EnhancedStatus {
            subject, detail, ..
        }) => (subject, detail) == (5, 3),
        None => matches!(reply.code(), 452 | 552),
    }
}
