//! CRAM-MD5 (RFC 2195).

use super::{Conversation, Credentials, Opening, SaslError, bad, one_too_many, require_user};
use crate::smtp::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

pub(super) fn start(credentials: &Credentials) -> Result<Opening, SaslError> {
    require_user(credentials)?;
    let conversation = CramMd5(Some(credentials.clone()));
    Ok(Opening {
        initial_response: None,
        conversation: Box::new(conversation),
    })
}

/// The credentials, until they are used: a server that could go on asking
/// would get digests of texts of its choice.
struct CramMd5(Option<Credentials>);

impl Conversation for CramMd5 {
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        let Credentials { user, secret, .. } = self.0.take().ok_or_else(one_too_many)?;
        if challenge.is_empty() {
            return Err(bad("it is empty"));
        }
        let mut mac =
            Hmac::<Md5>::new_from_slice(secret.expose()).expect("HMAC takes keys of any length");
        mac.update(challenge);
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Secret::concat(&[user.as_bytes(), b" ", hex.as_bytes()]))
    }
}
