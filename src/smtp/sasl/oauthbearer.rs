//! OAUTHBEARER (RFC 7628).

use super::bearer::{self, Verdict};
use super::{Binding, Credentials, Opening, SaslError, scram};
use crate::smtp::secret::Secret;

/// The server takes `a=` for the user (§3.1), so it holds the user name where
/// no other identity is asked for; without a user name the token tells.
pub(super) fn start(
    credentials: &Credentials,
    binding: &Binding<'_>,
) -> Result<Opening, SaslError> {
    let user = credentials.authzid.as_deref().unwrap_or(&credentials.user);
    bearer::check_field(user)?;
    bearer::check_field(binding.host)
        .map_err(|_| SaslError::UnusableBinding("the host name holds a control character"))?;
    let token = bearer::token(credentials)?;
    let header = scram::gs2_header("n", Some(user).filter(|user| !user.is_empty()));
    let place = format!("\x01host={}\x01port={}", binding.host, binding.port);
    let parts = [
        header.as_bytes(),
        place.as_bytes(),
        b"\x01auth=Bearer ",
        token,
        b"\x01\x01",
    ];
    Ok(Opening {
        initial_response: Some(Secret::concat(&parts)),
        // The dummy response of §3.2.3.
        conversation: Box::new(Verdict::answering(b"\x01")),
    })
}
