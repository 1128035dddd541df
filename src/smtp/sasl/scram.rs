//! SCRAM-SHA-1 and SCRAM-SHA-256, with and without -PLUS (RFC 5802, RFC 7677).
//!
//! The conversation, in the words of RFC 5802 §5:
//!
//! ```text
//! client-first  n,,n=USER,r=NONCE             -> ExpectServerFirst
//! server-first  r=NONCE+,s=SALT,i=ITERATIONS  -> client-final, ExpectServerFinal
//! server-final  v=SIGNATURE | e=ERROR         -> empty, Proven
//! 235 is believed in Proven only.
//! ```

use super::{
    Binding, ChannelBinding, Conversation, Credentials, Opening, SaslError, bad, one_too_many,
    require_user, shown,
};
use crate::smtp::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use core::mem;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Fewer rounds make guessing the password from the exchange cheap; RFC 5802
/// §5.1 and RFC 7677 §4 have servers announce no less.
const LEAST_ITERATIONS: u32 = 4096;

/// More would let a server keep this machine busy. OWASP's highest advice is
/// 1,300,000 (PBKDF2-HMAC-SHA1, 2023); this is about a second.
const MOST_ITERATIONS: u32 = 2_000_000;

/// What a fuzzer's build does of them (`--cfg fuzzing`): that the rounds are many
/// brings it nothing new, and no server takes what comes of so few.
const FUZZED_ITERATIONS: u32 = 2;

/// Below about 100 bits in base64 a nonce could come again.
const NONCE_LEAST: usize = 18;

/// Enough for 96 random octets.
const NONCE_MOST: usize = 128;

/// Which hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

type Octets = Zeroizing<Vec<u8>>;

impl Hash {
    fn hmac(self, key: &[u8], text: &[u8]) -> Octets {
        match self {
            Hash::Sha1 => tag(keyed::<Hmac<Sha1>>(key), text),
            Hash::Sha256 => tag(keyed::<Hmac<Sha256>>(key), text),
        }
    }

    /// Whether `expected` is the HMAC, in constant time.
    fn hmac_is(self, key: &[u8], text: &[u8], expected: &[u8]) -> bool {
        match self {
            Hash::Sha1 => keyed::<Hmac<Sha1>>(key)
                .chain_update(text)
                .verify_slice(expected),
            Hash::Sha256 => keyed::<Hmac<Sha256>>(key)
                .chain_update(text)
                .verify_slice(expected),
        }
        .is_ok()
    }

    /// `H(str)` of RFC 5802 §2.2.
    fn digest(self, text: &[u8]) -> Octets {
        Zeroizing::new(match self {
            Hash::Sha1 => Sha1::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
        })
    }

    /// `Hi(str, salt, i)` of RFC 5802 §2.2.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Octets {
        let iterations = match cfg!(fuzzing) {
            true => FUZZED_ITERATIONS,
            false => iterations,
        };
        match self {
            Hash::Sha1 => iterate(keyed::<Hmac<Sha1>>(password), salt, iterations),
            Hash::Sha256 => iterate(keyed::<Hmac<Sha256>>(password), salt, iterations),
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn tag<M: Mac>(mac: M, text: &[u8]) -> Octets {
    Zeroizing::new(mac.chain_update(text).finalize().into_bytes().to_vec())
}

/// The keyed state is cloned for each round, so the key is hashed only once.
fn iterate<M: Mac + Clone>(mac: M, salt: &[u8], iterations: u32) -> Octets {
    let mut round = mac
        .clone()
        .chain_update(salt)
        .chain_update(1_u32.to_be_bytes())
        .finalize()
        .into_bytes();
    let mut sum = Zeroizing::new(round.to_vec());
    for _ in 1..iterations {
        round = mac.clone().chain_update(&round).finalize().into_bytes();
        for (total, octet) in sum.iter_mut().zip(&round) {
            *total ^= octet;
        }
    }
    round.as_mut_slice().zeroize();
    sum
}

/// The gs2-header of RFC 5801 §4, which OAUTHBEARER has too.
pub(super) fn gs2_header(flag: &str, authzid: Option<&str>) -> String {
    match authzid {
        Some(authzid) => format!("{flag},a={},", saslname(authzid)),
        None => format!("{flag},,"),
    }
}

/// RFC 5802 §5.1: comma and equals sign would end the attribute.
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// RFC 4013. The text of the error of `stringprep` is dropped: it shows a
/// character of the password.
fn prepare(text: &str, error: &'static str) -> Result<Secret, SaslError> {
    match stringprep::saslprep(text) {
        Ok(prepared) => Ok(Secret::from(prepared.into_owned())),
        Err(_) => Err(SaslError::UnusableCredentials(error)),
    }
}

pub(super) fn start(
    hash: Hash,
    plus: bool,
    credentials: &Credentials,
    binding: &Binding<'_>,
) -> Result<Opening, SaslError> {
    const USER_ERROR: &str = "The user name holds a character that SCRAM forbids";
    const PASSWORD_ERROR: &str = "The password holds a character that SCRAM forbids";
    require_user(credentials)?;
    let user = prepare(&credentials.user, USER_ERROR)?;
    let user = core::str::from_utf8(user.expose()).expect("SASLprep makes UTF-8 of UTF-8");
    if user.is_empty() {
        return Err(SaslError::UnusableCredentials(USER_ERROR));
    }
    let authzid = credentials
        .authzid
        .as_deref()
        .filter(|authzid| !authzid.is_empty());
    if authzid.is_some_and(|authzid| authzid.contains('\0')) {
        return Err(SaslError::UnusableCredentials(USER_ERROR));
    }
    let password = core::str::from_utf8(credentials.secret.expose())
        .map_err(|_| SaslError::UnusableCredentials("The password is not UTF-8, as SCRAM asks"))?;
    let password = prepare(password, PASSWORD_ERROR)?;

    let nonce = binding.nonce;
    if !(NONCE_LEAST..=NONCE_MOST).contains(&nonce.len()) || !is_nonce(nonce) {
        return Err(SaslError::UnusableBinding("the nonce is no nonce"));
    }
    let (flag, binding_data) = match (plus, binding.channel_binding) {
        (true, ChannelBinding::TlsServerEndPoint(data)) if !data.is_empty() => {
            ("p=tls-server-end-point", data)
        }
        (true, _) => return Err(SaslError::UnusableBinding("there is no channel to bind to")),
        (false, ChannelBinding::Unsupported) => ("n", &[][..]),
        (false, _) => ("y", &[][..]),
    };
    let header = gs2_header(flag, authzid);
    let first_bare = format!("n={},r={nonce}", saslname(user));
    let initial_response = Secret::from(format!("{header}{first_bare}"));
    let state = State::ExpectServerFirst(First {
        password,
        channel: STANDARD.encode([header.as_bytes(), binding_data].concat()),
        nonce: nonce.to_string(),
        first_bare,
    });
    Ok(Opening {
        initial_response: Some(initial_response),
        conversation: Box::new(Scram { hash, state }),
    })
}

/// RFC 5802 §7 `printable`.
fn is_nonce(text: &str) -> bool {
    text.bytes()
        .all(|octet| octet.is_ascii_graphic() && octet != b',')
}

struct Scram {
    hash: Hash,
    state: State,
}

enum State {
    ExpectServerFirst(First),
    ExpectServerFinal {
        server_key: Octets,
        auth_message: String,
    },
    Proven,
    /// An error ended the exchange.
    Failed,
}

struct First {
    password: Secret,
    /// The value of `c=`.
    channel: String,
    nonce: String,
    first_bare: String,
}

impl Conversation for Scram {
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        // Whatever goes wrong below, there is no way back.
        match mem::replace(&mut self.state, State::Failed) {
            State::ExpectServerFirst(first) => {
                let (response, next) = first.answer(self.hash, challenge)?;
                self.state = next;
                Ok(response)
            }
            State::ExpectServerFinal {
                server_key,
                auth_message,
            } => {
                check_server_final(self.hash, &server_key, &auth_message, challenge)?;
                self.state = State::Proven;
                Ok(Secret::empty())
            }
            State::Proven | State::Failed => Err(one_too_many()),
        }
    }

    fn finished_ok(&self) -> Result<(), SaslError> {
        match self.state {
            State::Proven => Ok(()),
            _ => Err(SaslError::ServerNotProven),
        }
    }
}

impl First {
    /// The client-final-message (RFC 5802 §3).
    fn answer(self, hash: Hash, challenge: &[u8]) -> Result<(Secret, State), SaslError> {
        let server_first = utf8(challenge)?;
        let ServerFirst {
            nonce,
            salt,
            iterations,
        } = ServerFirst::parse(server_first)?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(bad("its nonce does not continue ours"));
        }
        let salted = hash.salted(self.password.expose(), &salt, iterations);
        let client_key = hash.hmac(&salted, b"Client Key");
        let stored_key = hash.digest(&client_key);
        let server_key = hash.hmac(&salted, b"Server Key");
        let without_proof = format!("c={},r={nonce}", self.channel);
        let auth_message = format!("{},{server_first},{without_proof}", self.first_bare);
        let signature = hash.hmac(&stored_key, auth_message.as_bytes());
        let proof: Octets = Zeroizing::new(
            client_key
                .iter()
                .zip(signature.iter())
                .map(|(a, b)| a ^ b)
                .collect(),
        );
        let response = Secret::from(format!("{without_proof},p={}", STANDARD.encode(&*proof)));
        Ok((
            response,
            State::ExpectServerFinal {
                server_key,
                auth_message,
            },
        ))
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// `r=`, `s=` and `i=` in this order; what follows is ignored, and `m=`
    /// before them must fail (RFC 5802 §5.1).
    fn parse(text: &'a str) -> Result<Self, SaslError> {
        if let Some(error) = text.strip_prefix("e=") {
            return Err(SaslError::Refused(shown(error.as_bytes())));
        }
        if text.starts_with("m=") {
            return Err(bad("it asks for an extension that we do not have"));
        }
        let mut attributes = text.split(',');
        let mut value = |name: &str| {
            attributes
                .next()
                .and_then(|attribute| attribute.strip_prefix(name))
                .and_then(|rest| rest.strip_prefix('='))
                .ok_or_else(|| SaslError::BadChallenge(format!("{name}= is missing")))
        };
        let nonce = value("r")?;
        let salt = value("s")?;
        let iterations = value("i")?;
        if !is_nonce(nonce) {
            return Err(bad("its nonce has forbidden characters"));
        }
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| bad("its salt is not base64"))?;
        if salt.is_empty() {
            return Err(bad("its salt is empty"));
        }
        // `parse` would take a plus sign; the grammar does not.
        if !iterations.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(bad("its iteration count is no number"));
        }
        match iterations.parse() {
            Ok(0..LEAST_ITERATIONS) => Err(bad("its iteration count is too low to be safe")),
            Ok(iterations @ LEAST_ITERATIONS..=MOST_ITERATIONS) => Ok(ServerFirst {
                nonce,
                salt,
                iterations,
            }),
            _ if iterations.is_empty() => Err(bad("its iteration count is no number")),
            _ => Err(bad("its iteration count is too high")),
        }
    }
}

fn check_server_final(
    hash: Hash,
    server_key: &[u8],
    auth_message: &str,
    challenge: &[u8],
) -> Result<(), SaslError> {
    let text = utf8(challenge)?;
    // What may follow are extensions, to be ignored.
    let attribute = text.split(',').next().unwrap_or(text);
    if let Some(error) = attribute.strip_prefix("e=") {
        return Err(SaslError::Refused(shown(error.as_bytes())));
    }
    let signature = attribute
        .strip_prefix("v=")
        .ok_or_else(|| bad("v= is missing"))?;
    let signature = STANDARD
        .decode(signature)
        .map_err(|_| bad("its signature is not base64"))?;
    if hash.hmac_is(server_key, auth_message.as_bytes(), &signature) {
        Ok(())
    } else {
        Err(SaslError::ServerNotProven)
    }
}

fn utf8(challenge: &[u8]) -> Result<&str, SaslError> {
    core::str::from_utf8(challenge).map_err(|_| bad("it is not UTF-8"))
}
