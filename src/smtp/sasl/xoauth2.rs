//! XOAUTH2, as Google and Microsoft document it.

use super::bearer::{self, Verdict};
use super::{Credentials, Opening, SaslError, require_user};
use crate::smtp::secret::Secret;

pub(super) fn start(credentials: &Credentials) -> Result<Opening, SaslError> {
    require_user(credentials)?;
    bearer::check_field(&credentials.user)?;
    let token = bearer::token(credentials)?;
    let parts = [
        b"user=",
        credentials.user.as_bytes(),
        b"\x01auth=Bearer ",
        token,
        b"\x01\x01",
    ];
    Ok(Opening {
        initial_response: Some(Secret::concat(&parts)),
        conversation: Box::new(Verdict::answering(b"")),
    })
}
