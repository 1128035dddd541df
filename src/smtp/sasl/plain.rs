//! PLAIN (RFC 4616).

use super::{Credentials, NothingMore, Opening, SaslError, require_user};
use crate::smtp::secret::Secret;

/// The strings go as they are: preparing them is the server's task (§2).
pub(super) fn start(credentials: &Credentials) -> Result<Opening, SaslError> {
    require_user(credentials)?;
    let authzid = credentials.authzid.as_deref().unwrap_or("").as_bytes();
    let user = credentials.user.as_bytes();
    let password = credentials.secret.expose();
    if [authzid, user, password]
        .iter()
        .any(|part| part.contains(&0))
    {
        // NUL divides the parts: with one inside, somebody else would be meant.
        return Err(SaslError::UnusableCredentials(
            "The user name or password holds a null character",
        ));
    }
    Ok(Opening {
        initial_response: Some(Secret::concat(&[authzid, b"\0", user, b"\0", password])),
        conversation: Box::new(NothingMore),
    })
}
