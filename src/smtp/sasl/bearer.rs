//! What XOAUTH2 and OAUTHBEARER share: the token, and the error challenge.

use super::{Conversation, Credentials, SaslError, one_too_many, shown};
use crate::smtp::secret::Secret;

/// The token, without the line end that many token commands print after it.
///
/// Error: it is empty or holds what would end its field (RFC 6750 §2.1 has
/// fewer characters still; providers do not keep to them).
pub(super) fn token(credentials: &Credentials) -> Result<&[u8], SaslError> {
    let token = credentials.secret.expose().trim_ascii();
    if token.is_empty() {
        return Err(SaslError::UnusableCredentials("The access token is empty"));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(SaslError::UnusableCredentials(
            "The access token holds a space, a control character or a character beyond ASCII",
        ));
    }
    Ok(token)
}

/// Refuses names that would end their field.
pub(super) fn check_field(text: &str) -> Result<(), SaslError> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err(SaslError::UnusableCredentials(
            "The user name holds a control character",
        ));
    }
    Ok(())
}

/// Waits for the verdict. A challenge instead of it holds the reason of the
/// refusal; the server says 535 once it was answered.
pub(super) struct Verdict {
    answer: &'static [u8],
    error: Option<String>,
}

impl Verdict {
    pub(super) fn answering(answer: &'static [u8]) -> Self {
        Verdict {
            answer,
            error: None,
        }
    }
}

impl Conversation for Verdict {
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        if self.error.is_some() {
            return Err(one_too_many());
        }
        self.error = Some(shown(challenge));
        Ok(Secret::from(self.answer))
    }

    /// A success after a refusal contradicts itself.
    fn finished_ok(&self) -> Result<(), SaslError> {
        match &self.error {
            Some(error) => Err(SaslError::Refused(error.clone())),
            None => Ok(()),
        }
    }

    fn server_error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}
