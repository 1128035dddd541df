//! Speed-ups, and how a server shows that it gets one wrong although it has
//! announced it. Such a server is spared it on the next connection; what was
//! under way goes over that one, if it is certain that it was not taken.

use super::super::content::Framing;
use super::super::failure::{Failure, FailureKind};
use super::super::reply::{Reply, ReplyClass};
use super::flight::Due;
use super::{Dialogue, Output, State};

/// A way to wait less, that the protocol allows and a server may get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpeedUp {
    /// BDAT instead of DATA (RFC 3030).
    Chunking,
    /// An envelope behind AUTH PLAIN with its initial response.
    PipelinedLogin,
    /// Several commands in one flight (RFC 2920).
    Pipelining,
}

impl SpeedUp {
    /// As the trace names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chunking => "CHUNKING",
            Self::PipelinedLogin => "PIPELINING behind AUTH",
            Self::Pipelining => "PIPELINING",
        }
    }
}

impl Dialogue {
    /// Take from the capabilities what this server does not handle.
    pub(super) fn spare_the_server(&mut self) {
        for speed_up in &self.plan.without {
            match speed_up {
                SpeedUp::Chunking => self.capabilities.chunking = false,
                SpeedUp::Pipelining => self.capabilities.pipelining = false,
                SpeedUp::PipelinedLogin => {}
            }
        }
    }

    /// End the connection; every message left goes over another one.
    pub(super) fn switch_off(&mut self, speed_up: SpeedUp, failure: Failure) {
        self.outputs
            .push_back(Output::SwitchOff(speed_up, failure.clone()));
        self.end_beside(failure);
    }

    /// What may be the reason that the connection ends with `failure`, where it
    /// is certain that no message was taken: servers, and boxes before them, that
    /// look at one line only, drop the others, or leave.
    pub(super) fn suspect(&self, failure: &Failure) -> Option<SpeedUp> {
        let text_out = self.transactions.iter().any(|t| t.text_started);
        // A refusal that came before explains itself, and stands.
        let refused = (self.transactions.front()).is_some_and(|t| t.abandoned().is_some());
        let suspicious = match failure.kind {
            FailureKind::Closed => self.due.len() > 1,
            // Who drops commands has answered the first; who has not is just slow,
            // and somebody may be waiting.
            FailureKind::Timeout => {
                self.due.len() > 1 && self.transactions.front().is_some_and(|t| t.open_at_server)
            }
            FailureKind::Protocol => true,
            _ => false,
        };
        if self.resumed || text_out || refused || !suspicious || self.transactions.is_empty() {
            None
        } else if self.login_carries {
            Some(SpeedUp::PipelinedLogin)
        } else if self.capabilities.pipelining && matches!(self.state, State::Transacting) {
            Some(SpeedUp::Pipelining)
        } else {
            None
        }
    }

    /// Whether the connection was lost before a server that had accepted nothing
    /// yet had answered the envelope of a message whose text was behind it.
    pub(super) fn suspects_chunking(&self, failure: &Failure) -> bool {
        let in_envelope = matches!(
            self.due.front(),
            Some((Due::Mail(_) | Due::Recipient(..), _))
        );
        let chunk_out = |t: &super::Transaction| {
            t.text_started && t.framing == Framing::Chunk && t.abandoned().is_none()
        };
        !self.proven
            && in_envelope
            && matches!(failure.kind, FailureKind::Closed | FailureKind::Timeout)
            && self.transactions.front().is_some_and(chunk_out)
    }

    /// Whether the server complains of the sequence of commands after it has
    /// accepted all that has to come before: it has not seen them as they were
    /// said. Nothing was taken; one by one they may well work.
    pub(super) fn complains_of_sequence(&self, due: Due, reply: &Reply) -> bool {
        if reply.code() != 503 || !self.capabilities.pipelining {
            return false;
        }
        let Some(transaction) = self.transactions.front() else {
            return false;
        };
        match due {
            Due::Recipient(id, _) => {
                id == transaction.message.id
                    && transaction.open_at_server
                    && !transaction.login_may_help
                    && !transaction.text_started
            }
            Due::Data(id) => id == transaction.message.id && transaction.may_proceed(),
            _ => false,
        }
    }

    /// Whether what stands in the place of the reply to BDAT is the reply to MAIL
    /// or RCPT (RFC 3463 §3.2): the server has sent one too many before. DATA would
    /// show that before the text; here it must not pass for an acceptance.
    pub(super) fn is_of_an_address(&self, reply: &Reply) -> bool {
        let subject = reply.status().map(|status| status.subject);
        self.capabilities.enhanced_status_codes
            && reply.class() == ReplyClass::Completed
            && subject == Some(1)
    }

    /// Whether the last reply due, the acceptance of a chunk, is one too many that
    /// came before, for more stands behind it. Without enhanced status codes
    /// nothing else shows that, and only where the replies come together.
    pub(super) fn is_one_too_many(&self, reply: &Reply) -> bool {
        let of_chunk = |id| {
            let transaction = self.transactions.iter().find(|t| t.message.id == id);
            transaction.is_some_and(|t| t.framing == Framing::Chunk && t.text_sent)
        };
        matches!(self.state, State::Transacting)
            && reply.class() == ReplyClass::Completed
            && self.due.len() == 1
            && matches!(self.due.front(), Some((Due::Final(id), _)) if of_chunk(*id))
    }

    /// What stands in the place of the reply to BDAT is another one: what became
    /// of the message cannot be known.
    pub(super) fn on_chunk_unanswered(&mut self, failure: Failure) {
        let failure = failure.of_kind(FailureKind::Protocol);
        self.outputs
            .push_back(Output::SwitchOff(SpeedUp::Chunking, failure.clone()));
        self.end(failure);
    }

    /// Whether the reply to BDAT says that the server does not know it: the
    /// message was not taken, and none of those behind it can have been (RFC 5321
    /// §4.2.4: 500, 502). Other complaints of its syntax or its place tell of that
    /// message only.
    pub(super) fn disowns_bdat(&self, reply: &Reply) -> bool {
        let alone = self.transactions.len() == 1;
        matches!(reply.code(), 500 | 502) || (alone && matches!(reply.code(), 501 | 503 | 504))
    }
}
