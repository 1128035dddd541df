//! LOGIN, obsolete and everywhere (draft-murchison-sasl-login).

use super::{Conversation, Credentials, Opening, SaslError, one_too_many, require_user};
use crate::smtp::secret::Secret;
use std::collections::VecDeque;

pub(super) fn start(credentials: &Credentials) -> Result<Opening, SaslError> {
    require_user(credentials)?;
    let answers = [
        Secret::from(credentials.user.as_str()),
        credentials.secret.clone(),
    ];
    Ok(Opening {
        initial_response: None,
        conversation: Box::new(Login(answers.into())),
    })
}

/// The answers still to be given: user name, then password.
struct Login(VecDeque<Secret>);

impl Conversation for Login {
    /// The prompts are ignored, as the draft asks: servers write them at will.
    fn respond(&mut self, _prompt: &[u8]) -> Result<Secret, SaslError> {
        self.0.pop_front().ok_or_else(one_too_many)
    }
}
