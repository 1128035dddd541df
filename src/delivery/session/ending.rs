//! How the end of a connection is told, and what it makes doubtful.

use super::{Happening, Session};
use crate::net::tls;
use crate::net::words::words;
use crate::smtp::dialogue::Verdict;
use crate::smtp::failure::{Failure, FailureKind, Phase};

impl Session<'_> {
    /// The end of the connection, told with the last words of the command that was it.
    /// One that ends before the server was heard has not come to it.
    pub(super) fn with_last_words(&self, failure: Failure) -> Failure {
        let ended = matches!(failure.kind, FailureKind::Closed | FailureKind::Tls);
        let Some(words) = ended.then(|| self.wire.last_words()).flatten() else {
            return failure;
        };
        let heard = self.tls.is_some() || self.heard;
        match heard {
            true => Failure {
                text: format!("{}; {words}", failure.text),
                ..failure
            },
            false => Failure::new(FailureKind::Connect, Phase::Proxy, words),
        }
    }

    /// A reply too many came in one flow with an acceptance of a chunk: the one
    /// taken for that may have been meant for a command before it.
    pub(super) fn doubt_acceptances(&mut self, failure: &Failure) {
        if failure.kind != FailureKind::Protocol || !self.dialogue.capabilities().chunking {
            return;
        }
        for happening in &mut self.happened {
            if let Happening::Finished(_, outcome) = happening
                && matches!(outcome.verdict, Verdict::Accepted(_))
            {
                outcome.verdict = Verdict::Unknown(Failure {
                    phase: Phase::Final,
                    ..failure.clone()
                });
            }
        }
    }
}

/// The failure that an error of the connection makes.
pub(super) fn broken(phase: Phase, error: &std::io::Error) -> Failure {
    let kind = match tls::is_alert(error) {
        true => FailureKind::Tls,
        false => FailureKind::Closed,
    };
    Failure::new(
        kind,
        phase,
        format!("the connection broke: {}", words(error)),
    )
}
