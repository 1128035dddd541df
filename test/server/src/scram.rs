//! The server's side of SCRAM-SHA-1 and SCRAM-SHA-256, with and without channel
//! binding (RFC 5802, RFC 7677): response in, step out.

use openssl::hash::{MessageDigest, hash};
use openssl::memcmp;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::rand::rand_bytes;
use openssl::sign::Signer;

use crate::auth::{self, Peer, Step, Users};

/// What RFC 7677 §4 has servers use at least.
const ITERATIONS: usize = 4096;

/// One run.
pub(crate) struct Scram {
    digest: MessageDigest,
    plus: bool,
    peer: Peer,
    state: State,
}

#[derive(Debug)]
enum State {
    ExpectFirst,
    ExpectFinal {
        user: String,
        header: String,
        nonce: String,
        salt: Vec<u8>,
        /// client-first-bare and server-first.
        so_far: String,
    },
    /// The signature was said; an empty response ends it.
    Proven(String),
    /// The reason was said; anything ends it.
    Refused,
}

impl std::fmt::Debug for Scram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scram")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Scram {
    /// Nothing for a mechanism that is none of these.
    pub(crate) fn new(mechanism: &str, peer: Peer) -> Option<Self> {
        let (name, plus) = match mechanism.strip_suffix("-PLUS") {
            Some(name) => (name, true),
            None => (mechanism, false),
        };
        let digest = match name {
            "SCRAM-SHA-1" => MessageDigest::sha1(),
            "SCRAM-SHA-256" => MessageDigest::sha256(),
            _ => return None,
        };
        Some(Self {
            digest,
            plus,
            peer,
            state: State::ExpectFirst,
        })
    }

    pub(crate) fn step(&mut self, text: &str, users: &Users) -> Step {
        match std::mem::replace(&mut self.state, State::Refused) {
            State::ExpectFirst => self.first(text).unwrap_or(Step::Malformed),
            State::ExpectFinal {
                user,
                header,
                nonce,
                salt,
                so_far,
            } => {
                let end = self.last(text, users, &user, &header, &nonce, &salt, &so_far);
                end.unwrap_or(Step::Malformed)
            }
            State::Proven(user) if text.is_empty() => Step::Accept(user),
            State::Proven(_) => Step::Malformed,
            State::Refused => Step::Refuse,
        }
    }

    fn first(&mut self, text: &str) -> Option<Step> {
        let mut parts = text.splitn(3, ',');
        let (flag, authzid, bare) = (parts.next()?, parts.next()?, parts.next()?);
        let error = match flag {
            "p=tls-server-end-point" if self.plus && self.peer.refuses_binding => {
                Some("unsupported-channel-binding-type")
            }
            "p=tls-server-end-point" if self.plus => None,
            // It believes that we announce none (RFC 5802 §6).
            "y" if !self.plus && self.peer.announces_binding => {
                Some("server-does-support-channel-binding")
            }
            "y" | "n" if !self.plus => None,
            _ => return None,
        };
        if let Some(error) = error {
            return Some(Step::Challenge(format!("e={error}").into_bytes()));
        }
        let mut attributes = bare.split(',');
        let user = attributes.next()?.strip_prefix("n=")?;
        let client_nonce = attributes.next()?.strip_prefix("r=")?;
        let (mut salt, mut random) = (vec![0; 16], [0; 16]);
        rand_bytes(&mut salt).ok()?;
        rand_bytes(&mut random).ok()?;
        let nonce = format!("{client_nonce}{}", crate::hexadecimal(&random));
        let said = format!("r={nonce},s={},i={ITERATIONS}", auth::encode(&salt));
        self.state = State::ExpectFinal {
            user: user.replace("=2C", ",").replace("=3D", "="),
            header: format!("{flag},{authzid},"),
            nonce,
            salt,
            so_far: format!("{bare},{said}"),
        };
        Some(Step::Challenge(said.into_bytes()))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of the state")]
    fn last(
        &mut self,
        text: &str,
        users: &Users,
        user: &str,
        header: &str,
        nonce: &str,
        salt: &[u8],
        so_far: &str,
    ) -> Option<Step> {
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let channel = auth::decode(attributes.next()?.strip_prefix("c=")?.as_bytes())?;
        if attributes.next()? != format!("r={nonce}") {
            return None;
        }
        let mut bound = header.as_bytes().to_vec();
        if self.plus {
            bound.extend(self.peer.end_point.as_deref()?);
        }
        if channel != bound {
            return Some(Step::Challenge(b"e=channel-bindings-dont-match".to_vec()));
        }
        let invalid = Some(Step::Challenge(b"e=invalid-proof".to_vec()));
        let Some((_, password)) = users.iter().find(|(name, _)| name == user) else {
            return invalid;
        };
        let mut salted = vec![0; self.digest.size()];
        pbkdf2_hmac(
            password.as_bytes(),
            salt,
            ITERATIONS,
            self.digest,
            &mut salted,
        )
        .ok()?;
        let message = format!("{so_far},{without_proof}");
        let client_key = self.hmac(&salted, "Client Key")?;
        let stored_key = hash(self.digest, &client_key).ok()?;
        let signature = self.hmac(&stored_key, &message)?;
        let expected: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        let proof = auth::decode(proof.as_bytes())?;
        if proof.len() != expected.len() || !memcmp::eq(&proof, &expected) {
            return invalid;
        }
        let server_key = self.hmac(&salted, "Server Key")?;
        let ours = self.hmac(&server_key, &message)?;
        self.state = State::Proven(user.to_owned());
        Some(Step::Challenge(
            format!("v={}", auth::encode(&ours)).into_bytes(),
        ))
    }

    fn hmac(&self, key: &[u8], text: &str) -> Option<Vec<u8>> {
        let key = PKey::hmac(key).ok()?;
        let mut signer = Signer::new(self.digest, &key).ok()?;
        signer.sign_oneshot_to_vec(text.as_bytes()).ok()
    }
}
