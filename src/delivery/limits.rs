//! How long each moment of a session may take: the minima of RFC 5321
//! §4.5.3.2, capped by what the user set.

use std::time::Duration;

use crate::smtp::failure::Phase;

/// RFC 5321 §4.5.3.2.6: the server may need this long to store the message and
/// must not be left before, or it arrives twice.
const FINAL: Duration = Duration::from_secs(600);

/// The reply limit of which users speak: without a change by them, the final
/// dot gets its own.
pub const DEFAULT_REPLY: Duration = Duration::from_secs(300);

/// The user's limits.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// For look-up and connection together, and again for the TLS handshake.
    pub connect: Duration,
    /// For each reply and each block of text.
    pub reply: Duration,
}

impl TimeLimits {
    /// How long to wait in `phase` without any progress.
    pub fn limit(&self, phase: Phase) -> Duration {
        let standard = match phase {
            Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Handshake => {
                return self.connect;
            }
            Phase::Greeting | Phase::Mail | Phase::Recipient | Phase::Ehlo => {
                Duration::from_secs(300)
            }
            Phase::Auth | Phase::Idle | Phase::StartTls => Duration::from_secs(300),
            Phase::Data => Duration::from_secs(120),
            Phase::Text => Duration::from_secs(180),
            Phase::Final if self.reply < DEFAULT_REPLY => self.reply,
            Phase::Final => return FINAL,
        };
        standard.min(self.reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_dot_has_its_own_limit_unless_the_user_is_in_a_hurry() {
        let limits = |reply| TimeLimits {
            connect: Duration::from_secs(30),
            reply: Duration::from_secs(reply),
        };
        assert_eq!(limits(300).limit(Phase::Final), FINAL);
        assert_eq!(limits(1000).limit(Phase::Final), FINAL);
        assert_eq!(limits(60).limit(Phase::Final), Duration::from_secs(60));
        assert_eq!(limits(60).limit(Phase::Data), Duration::from_secs(60));
        assert_eq!(limits(300).limit(Phase::Data), Duration::from_secs(120));
        assert_eq!(limits(300).limit(Phase::Handshake), Duration::from_secs(30));
    }
}
