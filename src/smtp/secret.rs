//! Bytes that must not be seen: passwords, tokens and what is made of them.
//!
//! Nothing in here may format, print or log the bytes. They are reached only
//! through [`Secret::expose`], a word that is easy to search for.

use core::fmt;
use core::hint::black_box;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes that are overwritten when dropped and shown by no formatter.
///
/// The bytes never move to a larger buffer once they are in here: what is put
/// together from several parts goes through [`Secret::concat`].
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// An empty secret: the empty response of a mechanism.
    pub fn empty() -> Self {
        Secret::default()
    }

    /// The parts one after the other, in one allocation, so that no
    /// half-built copy is left behind in freed memory.
    pub fn concat(parts: &[&[u8]]) -> Self {
        Secret::from(parts.concat())
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The number of octets.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Takes the allocation over, so no copy stays behind.
impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Secret(Zeroizing::new(bytes))
    }
}

/// Takes the allocation over, so no copy stays behind.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Secret::from(text.into_bytes())
    }
}

/// Copies; the bytes copied from stay with their owner.
impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Secret::from(bytes.to_vec())
    }
}

/// Copies; the text copied from stays with its owner.
impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::from(text.as_bytes())
    }
}

/// Shows neither the bytes nor their number.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Takes the same time wherever two secrets of one length differ.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        if self.0.len() != other.0.len() {
            return false;
        }
        let mut difference = 0;
        for (a, b) in self.0.iter().zip(other.0.iter()) {
            // The black box keeps the optimiser from leaving the loop early.
            difference = black_box(difference | (a ^ b));
        }
        difference == 0
    }
}

impl Eq for Secret {}

impl Zeroize for Secret {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// By what is in it.
impl ZeroizeOnDrop for Secret {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        let short = Secret::from("tanstaaftanstaaf");
        let long = Secret::from("a longer one than the other");
        assert_eq!(format!("{short:?}"), "Secret(..)");
        assert_eq!(format!("{short:#?}"), format!("{long:#?}"));
    }

    #[test]
    fn equality_looks_at_every_octet_and_the_length() {
        let secret = Secret::from("pencil");
        assert_eq!(secret, Secret::from(&b"pencil"[..]));
        for other in [
            "Pencil", "penCil", "pencim", "epncil", "penci", "pencil ", "",
        ] {
            assert_ne!(secret, Secret::from(other), "{other}");
        }
        assert_eq!(Secret::empty(), Secret::default());
    }

    #[test]
    fn concat_joins_in_one_allocation() {
        let joined = Secret::concat(&[b"", b"tim", b"\0", b"pass"]);
        assert_eq!(joined.expose(), b"tim\0pass");
        assert_eq!(joined.len(), joined.0.capacity());
    }

    #[test]
    fn zeroize_leaves_no_octet_readable() {
        let mut secret = Secret::from("tanstaaftanstaaf");
        secret.zeroize();
        assert!(secret.is_empty());
        assert_eq!(secret.expose(), b"");
    }

    #[test]
    fn drop_is_announced_to_generic_callers() {
        fn is_wiped_when_dropped(_: &impl ZeroizeOnDrop) {}
        let secret = Secret::from("tanstaaf");
        is_wiped_when_dropped(&secret);
        is_wiped_when_dropped(&secret.0);
    }
}
