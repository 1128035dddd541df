//! What the report of a message means for its entry.

use std::time::{Duration, SystemTime};

use crate::delivery::mailbox::{Report, Verdict};
use crate::outbox::{Claim, Outcome, RefusedRecipient};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// First pause of an entry that was refused for now; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Longest pause: RFC 5321 §4.5.4.1 wants tries for days, some hours apart.
const MAX_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// Whether the report of a message that was not tried has a reason worth
/// keeping, such as a server that cannot be reached.
pub(super) fn says_why_nothing_was_tried(report: &Report) -> bool {
    match &report.verdict {
        Verdict::Failed(failure) => !matches!(
            failure.kind,
            FailureKind::Busy
                | FailureKind::Cancelled
                | FailureKind::Content
                | FailureKind::Disk
                | FailureKind::ReadElsewhere
        ),
        Verdict::Accepted(_) | Verdict::Unknown(_) => false,
    }
}

/// Whether nothing is to be written down that was not there before.
fn leaves_it_alone(failure: &Failure) -> bool {
    use FailureKind::{Busy, Cancelled, ReadElsewhere};
    matches!(failure.kind, Busy | Cancelled | ReadElsewhere)
}

/// Whether a refusal is of the message: before MAIL it is of us, or of everybody.
fn is_of_the_message(failure: &Failure) -> bool {
    match failure.kind {
        FailureKind::Content => true,
        FailureKind::Refused => failure.phase >= Phase::Mail,
        _ => false,
    }
}

/// What a report means for the entry; who has got the message waits no more.
pub(super) fn outcome(claim: &mut Claim, report: &Report) -> Outcome {
    match &report.verdict {
        Verdict::Accepted(_) | Verdict::Failed(_)
            if report.recipients.iter().any(|r| r.accepted) =>
        {
            let mut waiting = Vec::new();
            let mut refused = Vec::new();
            let mut last = String::new();
            for (recipient, queued) in report.recipients.iter().zip(claim.recipients()) {
                match &recipient.failure {
                    _ if recipient.accepted => {}
                    Some(failure) if !failure.is_transient() => refused.push(RefusedRecipient {
                        recipient: queued.clone(),
                        reply: failure.text.clone(),
                    }),
                    why => {
                        last = why.as_ref().map_or(last, |failure| failure.text.clone());
                        waiting.push(queued.clone());
                    }
                }
            }
            if waiting.is_empty() {
                return Outcome::Accepted;
            }
            claim.keep_recipients(waiting, refused);
            deferred(claim, last)
        }
        Verdict::Accepted(_) => Outcome::Accepted,
        Verdict::Unknown(failure) => Outcome::Unknown {
            reply: failure.text.clone(),
        },
        Verdict::Failed(failure) if leaves_it_alone(failure) => Outcome::Waiting,
        Verdict::Failed(failure) if is_of_the_message(failure) => Outcome::Refused {
            reply: failure.to_string(),
        },
        Verdict::Failed(failure) => deferred(claim, failure.to_string()),
    }
}

fn deferred(claim: &Claim, reply: String) -> Outcome {
    let attempts = claim.facts().map_or(0, |facts| facts.attempts).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << attempts).min(MAX_PAUSE);
    Outcome::Deferred {
        reply,
        next_try: SystemTime::now() + pause,
    }
}
