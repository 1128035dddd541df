//! Challenges and responses as the base64 lines of RFC 4954 §4.

use super::{SaslError, bad};
use crate::smtp::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest challenge in base64, in octets: what RFC 4954 §4 holds
/// sufficient for all mechanisms deployed.
pub const CHALLENGE_LIMIT: usize = 12288;

/// A response in base64; an empty one is an empty line.
pub fn encode(response: &Secret) -> Secret {
    let len = base64::encoded_len(response.len(), true).expect("a response is no half of memory");
    let mut line = vec![0; len];
    STANDARD
        .encode_slice(response.expose(), &mut line)
        .expect("the line has the encoded length");
    Secret::from(line)
}

/// An initial response in base64; an empty one is `=` (RFC 4954 §4).
pub fn encode_initial(response: &Secret) -> Secret {
    if response.is_empty() {
        Secret::from("=")
    } else {
        encode(response)
    }
}

/// The challenge in the text of a 334 reply, spaces around it ignored.
///
/// Error: [`SaslError::BadChallenge`] when it is too long or no base64.
pub fn decode_challenge(text: &[u8]) -> Result<Vec<u8>, SaslError> {
    let text = text.trim_ascii();
    if text.len() > CHALLENGE_LIMIT {
        return Err(bad("it is too long"));
    }
    STANDARD.decode(text).map_err(|_| bad("it is not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines() {
        // RFC 4648 §10.
        for (raw, line) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(&Secret::from(raw)).expose(), line.as_bytes());
            assert_eq!(
                decode_challenge(line.as_bytes()).as_deref(),
                Ok(raw.as_bytes())
            );
        }
        assert_eq!(encode_initial(&Secret::empty()).expose(), b"=");
        assert_eq!(encode_initial(&Secret::from("f")).expose(), b"Zg==");
        assert_eq!(decode_challenge(b" Zg== ").as_deref(), Ok(&b"f"[..]));
    }

    #[test]
    fn bad_challenges() {
        for text in [
            "Zg", "Zg=", "Zg==x", "Zh==", "=", "Z g==", "Zg==\0", "-_==", "go ahead",
        ] {
            decode_challenge(text.as_bytes()).expect_err(text);
        }
        assert!(decode_challenge(&[b'A'; CHALLENGE_LIMIT]).is_ok());
        assert!(decode_challenge(&[b'A'; CHALLENGE_LIMIT + 4]).is_err());
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = encode(&Secret::from(&raw[..]));
            prop_assert_eq!(decode_challenge(line.expose()), Ok(raw));
        }

        #[test]
        fn no_challenge_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_challenge(&text);
        }
    }
}
