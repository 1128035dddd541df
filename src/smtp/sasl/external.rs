//! EXTERNAL (RFC 4422 appendix A).

use super::{Credentials, NothingMore, Opening, SaslError};
use crate::smtp::secret::Secret;

/// An empty response asks for the identity that the certificate gives.
pub(super) fn start(credentials: &Credentials) -> Result<Opening, SaslError> {
    let authzid = credentials.authzid.as_deref().unwrap_or("");
    if authzid.contains('\0') {
        return Err(SaslError::UnusableCredentials(
            "The user name holds a null character",
        ));
    }
    Ok(Opening {
        initial_response: Some(Secret::from(authzid)),
        conversation: Box::new(NothingMore),
    })
}
