//! SASL mechanisms: a challenge in, a response out (RFC 4422, RFC 4954).
//!
//! One file a mechanism. Nothing in here chooses a mechanism, writes AUTH
//! lines, asks for a password or draws a random number; what a mechanism must
//! know of the connection comes in by [`Binding`].

mod base64_line;
mod bearer;
mod cram_md5;
mod external;
mod login;
mod oauthbearer;
mod plain;
mod scram;
mod xoauth2;

pub use base64_line::{CHALLENGE_LIMIT, decode_challenge, encode, encode_initial};

use super::secret::Secret;
use super::visible::visible;
use core::fmt;

/// How many characters of what a server said an error shows.
const SHOWN_LIMIT: usize = 300;

/// The mechanisms that can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 2195.
    CramMd5,
    /// RFC 4422 appendix A: who we are is known from the TLS certificate.
    External,
    /// draft-murchison-sasl-login, and what servers make of it.
    Login,
    /// RFC 7628.
    Oauthbearer,
    /// RFC 4616.
    Plain,
    /// RFC 5802.
    ScramSha1,
    /// RFC 5802, bound to the TLS connection.
    ScramSha1Plus,
    /// RFC 7677.
    ScramSha256,
    /// RFC 7677, bound to the TLS connection.
    ScramSha256Plus,
    /// As Google and Microsoft document it.
    Xoauth2,
}

impl Mechanism {
    /// All of them, in alphabetical order, which is no preference.
    pub const ALL: [Mechanism; 10] = [
        Mechanism::CramMd5,
        Mechanism::External,
        Mechanism::Login,
        Mechanism::Oauthbearer,
        Mechanism::Plain,
        Mechanism::ScramSha1,
        Mechanism::ScramSha1Plus,
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::Xoauth2,
    ];

    /// The mechanism of that name in any case, as EHLO and users write it.
    pub fn from_keyword(keyword: &str) -> Option<Mechanism> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.keyword().eq_ignore_ascii_case(keyword))
    }

    /// The name as registered, in capitals.
    pub const fn keyword(self) -> &'static str {
        match self {
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::External => "EXTERNAL",
            Mechanism::Login => "LOGIN",
            Mechanism::Oauthbearer => "OAUTHBEARER",
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Mechanism::Xoauth2 => "XOAUTH2",
        }
    }

    /// Whether who reads the exchange has the password or the token.
    pub const fn sends_secret_in_clear(self) -> bool {
        match self {
            Mechanism::Login | Mechanism::Oauthbearer | Mechanism::Plain | Mechanism::Xoauth2 => {
                true
            }
            Mechanism::CramMd5
            | Mechanism::External
            | Mechanism::ScramSha1
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha256Plus => false,
        }
    }

    /// Whether it is bound to the TLS connection.
    pub const fn binds_channel(self) -> bool {
        matches!(self, Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus)
    }

    /// How well it keeps a password from whoever plays the server: more is better.
    /// None for those that have no password, which compare with nothing.
    pub const fn strength(self) -> Option<u8> {
        match self {
            Mechanism::External | Mechanism::Oauthbearer | Mechanism::Xoauth2 => None,
            Mechanism::Login | Mechanism::Plain => Some(0),
            Mechanism::CramMd5 => Some(1),
            Mechanism::ScramSha1 => Some(2),
            Mechanism::ScramSha256 => Some(3),
            Mechanism::ScramSha1Plus => Some(4),
            Mechanism::ScramSha256Plus => Some(5),
        }
    }

    /// Begins an exchange; nothing is sent by this.
    ///
    /// Errors: [`SaslError::UnusableCredentials`], [`SaslError::UnusableBinding`].
    pub fn start(
        &self,
        credentials: &Credentials,
        binding: &Binding<'_>,
    ) -> Result<Exchange, SaslError> {
        let opening = match self {
            Mechanism::CramMd5 => cram_md5::start(credentials),
            Mechanism::External => external::start(credentials),
            Mechanism::Login => login::start(credentials),
            Mechanism::Oauthbearer => oauthbearer::start(credentials, binding),
            Mechanism::Plain => plain::start(credentials),
            Mechanism::ScramSha1 => scram::start(scram::Hash::Sha1, false, credentials, binding),
            Mechanism::ScramSha1Plus => scram::start(scram::Hash::Sha1, true, credentials, binding),
            Mechanism::ScramSha256 => {
                scram::start(scram::Hash::Sha256, false, credentials, binding)
            }
            Mechanism::ScramSha256Plus => {
                scram::start(scram::Hash::Sha256, true, credentials, binding)
            }
            Mechanism::Xoauth2 => xoauth2::start(credentials),
        }?;
        Ok(Exchange {
            mechanism: *self,
            initial_response: opening.initial_response,
            conversation: opening.conversation,
        })
    }
}

/// Who authenticates, and by what.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name: the authentication identity. EXTERNAL ignores it.
    pub user: String,
    /// The password, or the token of XOAUTH2 and OAUTHBEARER.
    pub secret: Secret,
    /// On whose behalf, where that is somebody else: the authorization
    /// identity. CRAM-MD5, LOGIN and XOAUTH2 have no place for it.
    pub authzid: Option<String>,
}

/// What a mechanism must know of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// A fresh random text for SCRAM: printable ASCII without comma, 18 to 128
    /// characters (144 bits in base64 are 24). A new one for each exchange.
    pub nonce: &'a str,
    /// What is known of channel binding, for SCRAM.
    pub channel_binding: ChannelBinding<'a>,
    /// The host as the user named it, for OAUTHBEARER.
    pub host: &'a str,
    /// The port, for OAUTHBEARER.
    pub port: u16,
}

/// The gs2-cbind-flag of RFC 5802 §6, and its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding<'a> {
    /// None is possible, or the server refused this type after having
    /// announced it: flag `n`.
    Unsupported,
    /// It would be possible, and the server did not announce it: flag `y`. A
    /// server that did announce it then fails the exchange, for somebody took
    /// it out of the list.
    NotOffered,
    /// The hash of the server's certificate (RFC 5929 §4.1): flag `p` in a
    /// `-PLUS` mechanism; in another one the same as `NotOffered`.
    TlsServerEndPoint(&'a [u8]),
}

/// Why an exchange cannot begin, go on or be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslError {
    /// The challenge is not what the mechanism calls for; the exchange is to
    /// be cancelled with `*` (RFC 4954 §4). Holds what is wrong with it.
    BadChallenge(String),
    /// The server says no within the mechanism; the text is its own, visible.
    Refused(String),
    /// The server accepted without showing that it knows the password, or its
    /// signature is wrong: it is not who it says it is.
    ServerNotProven,
    /// Our side handed in a nonce or channel binding that cannot be used.
    UnusableBinding(&'static str),
    /// The user name or the password cannot be expressed in this mechanism.
    UnusableCredentials(&'static str),
}

impl fmt::Display for SaslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SaslError::BadChallenge(what) => write!(f, "The server's challenge is invalid: {what}"),
            SaslError::Refused(text) => write!(f, "The server refused: {text}"),
            SaslError::ServerNotProven => {
                f.write_str("The server did not prove that it knows the password")
            }
            SaslError::UnusableBinding(what) => write!(f, "The exchange cannot begin: {what}"),
            SaslError::UnusableCredentials(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for SaslError {}

/// One AUTH command from its begin to the server's verdict.
pub struct Exchange {
    mechanism: Mechanism,
    /// The client's first word, as long as it is unsaid.
    initial_response: Option<Secret>,
    conversation: Box<dyn Conversation + Send>,
}

impl Exchange {
    /// Whose exchange it is.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What may go on the AUTH line, not yet in base64; `None` where the
    /// server speaks first (CRAM-MD5, LOGIN), and when it was taken already.
    ///
    /// Where the line would become too long
    /// ([`Exchange::initial_response_fits`]), do not call it: the empty
    /// challenge that follows draws the same bytes from
    /// [`Exchange::respond`] (RFC 4954 §4).
    pub fn initial_response(&mut self) -> Option<Secret> {
        self.initial_response.take()
    }

    /// Whether the initial response, if there is one, has at most that many
    /// octets in base64.
    pub fn initial_response_fits(&self, octets: usize) -> bool {
        let response = self.initial_response.as_ref();
        response.is_none_or(|response| encode_initial(response).len() <= octets)
    }

    /// The answer to a challenge, both not in base64.
    ///
    /// Errors end the exchange: cancel with `*`.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        match self.initial_response.take() {
            None => self.conversation.respond(challenge),
            Some(response) if challenge.is_empty() => Ok(response),
            Some(_) => Err(bad("it is not empty, though it is our turn to begin")),
        }
    }

    /// To be called at 235: whether the success is to be believed.
    ///
    /// Error: [`SaslError::ServerNotProven`] where the mechanism has the
    /// server prove itself and it has not.
    pub fn finished_ok(&self) -> Result<(), SaslError> {
        self.conversation.finished_ok()
    }

    /// What the server gave as the reason of its refusal within the mechanism
    /// (the JSON of XOAUTH2 and OAUTHBEARER), visible and bounded.
    pub fn server_error(&self) -> Option<&str> {
        self.conversation.server_error()
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

/// What each mechanism's `start` makes.
struct Opening {
    initial_response: Option<Secret>,
    conversation: Box<dyn Conversation + Send>,
}

/// What follows the initial response, if there is one.
trait Conversation {
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError>;

    fn finished_ok(&self) -> Result<(), SaslError> {
        Ok(())
    }

    fn server_error(&self) -> Option<&str> {
        None
    }
}

/// The conversation of mechanisms that have said all with their first word.
struct NothingMore;

impl Conversation for NothingMore {
    fn respond(&mut self, _challenge: &[u8]) -> Result<Secret, SaslError> {
        Err(one_too_many())
    }
}

fn bad(what: &str) -> SaslError {
    SaslError::BadChallenge(what.to_string())
}

fn one_too_many() -> SaslError {
    bad("all has been said already")
}

fn shown(text: &[u8]) -> String {
    visible(text, SHOWN_LIMIT)
}

/// Refuses an empty user name.
fn require_user(credentials: &Credentials) -> Result<(), SaslError> {
    if credentials.user.is_empty() {
        return Err(SaslError::UnusableCredentials("The user name is empty"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
