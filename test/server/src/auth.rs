//! The server's side of the SASL mechanisms (RFC 4954, 4616, 2195; LOGIN and
//! XOAUTH2 as their makers describe them): response in, step out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;

use crate::scram::Scram;

/// What XOAUTH2 says, in the shape that Google documents, before it refuses.
const XOAUTH2_ERROR: &[u8] = br#"{"status":"401","schemes":"bearer","scope":"mail"}"#;

/// Who may log in: name and password.
pub(crate) type Users = [(String, String)];

/// What OAUTHBEARER says before it refuses (RFC 7628 §3.2.2).
const OAUTHBEARER_ERROR: &[u8] = br#"{"status":"invalid_token","scope":"mail"}"#;

/// What a mechanism has to know of the connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The server's `tls-server-end-point`, under TLS.
    pub(crate) end_point: Option<Vec<u8>>,
    /// Whether a mechanism with channel binding is announced.
    pub(crate) announces_binding: bool,
    /// Whether that type of binding is refused all the same.
    pub(crate) refuses_binding: bool,
    /// The common name of the client's certificate.
    pub(crate) certificate: Option<String>,
}

/// What the server does with a response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// 334 with this challenge, not yet encoded.
    Challenge(Vec<u8>),
    /// 235 for this user.
    Accept(String),
    /// 535.
    Refuse,
    /// 501: not a response of this mechanism.
    Malformed,
}

/// One run of a mechanism.
#[derive(Debug)]
pub(crate) enum Exchange {
    Plain,
    Login { user: Option<String> },
    CramMd5 { challenge: String, sent: bool },
    XOAuth2 { refused: bool },
    OauthBearer { refused: bool },
    External { certificate: Option<String> },
    Scram(Box<Scram>),
}

impl Exchange {
    /// A fresh run; `challenge` must never come twice (RFC 2195 §2).
    pub(crate) fn new(
        mechanism: &str,
        challenge: impl FnOnce() -> String,
        peer: Peer,
    ) -> Option<Self> {
        let mechanism = mechanism.to_ascii_uppercase();
        Some(match mechanism.as_str() {
            "OAUTHBEARER" => Self::OauthBearer { refused: false },
            "EXTERNAL" => Self::External {
                certificate: peer.certificate,
            },
            _ if mechanism.starts_with("SCRAM-") => {
                Self::Scram(Box::new(Scram::new(&mechanism, peer)?))
            }
            "PLAIN" => Self::Plain,
            "LOGIN" => Self::Login { user: None },
            "CRAM-MD5" => Self::CramMd5 {
                challenge: challenge(),
                sent: false,
            },
            "XOAUTH2" => Self::XOAuth2 { refused: false },
            _ => return None,
        })
    }

    /// Takes a response, or `None` for an AUTH command without initial response.
    pub(crate) fn step(&mut self, response: Option<&[u8]>, users: &Users) -> Step {
        let Some(response) = response else {
            return self.first_challenge();
        };
        let Ok(text) = str::from_utf8(response) else {
            return Step::Malformed;
        };
        match self {
            Self::Plain => plain(text, users),
            Self::Login { user: None } => {
                *self = Self::Login {
                    user: Some(text.to_owned()),
                };
                Step::Challenge(b"Password:".to_vec())
            }
            Self::Login { user: Some(user) } => verdict(user, text, users),
            // The client has no first word here.
            Self::CramMd5 { sent: false, .. } => Step::Malformed,
            Self::CramMd5 { challenge, .. } => cram_md5(challenge, text, users),
            Self::Scram(scram) => scram.step(text, users),
            Self::External { certificate } => match certificate {
                Some(name) if text.is_empty() || text == name => Step::Accept(name.clone()),
                _ => Step::Refuse,
            },
            Self::OauthBearer { refused: true } | Self::XOAuth2 { refused: true } => Step::Refuse,
            Self::OauthBearer { refused } => {
                let step = oauthbearer(text, users);
                *refused = step == Step::Refuse;
                if *refused {
                    Step::Challenge(OAUTHBEARER_ERROR.to_vec())
                } else {
                    step
                }
            }
            Self::XOAuth2 { refused } => {
                let step = xoauth2(text, users);
                *refused = step == Step::Refuse;
                if *refused {
                    Step::Challenge(XOAUTH2_ERROR.to_vec())
                } else {
                    step
                }
            }
        }
    }

    fn first_challenge(&mut self) -> Step {
        Step::Challenge(match self {
            Self::Plain
            | Self::XOAuth2 { .. }
            | Self::OauthBearer { .. }
            | Self::External { .. }
            | Self::Scram(_) => Vec::new(),
            Self::Login { .. } => b"Username:".to_vec(),
            Self::CramMd5 { challenge, sent } => {
                *sent = true;
                challenge.clone().into_bytes()
            }
        })
    }
}

fn verdict(user: &str, password: &str, users: &Users) -> Step {
    let known = users
        .iter()
        .any(|(name, secret)| name == user && secret == password);
    if known {
        Step::Accept(user.to_owned())
    } else {
        Step::Refuse
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2); nobody may act for another.
fn plain(text: &str, users: &Users) -> Step {
    match text.split('\0').collect::<Vec<_>>()[..] {
        [authzid, user, password] if !user.is_empty() && !password.is_empty() => {
            if authzid.is_empty() || authzid == user {
                verdict(user, password, users)
            } else {
                Step::Refuse
            }
        }
        _ => Step::Malformed,
    }
}

/// `user SP digest` (RFC 2195 §2).
fn cram_md5(challenge: &str, text: &str, users: &Users) -> Step {
    let Some((user, digest)) = text.rsplit_once(' ') else {
        return Step::Malformed;
    };
    let known = users.iter().any(|(name, secret)| {
        name == user && hmac_md5(secret, challenge).as_deref() == Some(digest)
    });
    if known {
        Step::Accept(user.to_owned())
    } else {
        Step::Refuse
    }
}

/// Lower-case hexadecimal HMAC-MD5 (RFC 2104).
fn hmac_md5(key: &str, text: &str) -> Option<String> {
    let key = PKey::hmac(key.as_bytes()).ok()?;
    let mut signer = Signer::new(MessageDigest::md5(), &key).ok()?;
    let digest = signer.sign_oneshot_to_vec(text.as_bytes()).ok()?;
    Some(crate::hexadecimal(&digest))
}

/// `user=NAME ^A auth=Bearer TOKEN ^A ^A`.
fn xoauth2(text: &str, users: &Users) -> Step {
    match text.split('\u{1}').collect::<Vec<_>>()[..] {
        [user, auth, "", ""] => match (
            user.strip_prefix("user="),
            auth.strip_prefix("auth=Bearer "),
        ) {
            (Some(user), Some(token)) => verdict(user, token, users),
            _ => Step::Malformed,
        },
        _ => Step::Malformed,
    }
}

/// `n,a=NAME, ^A host=… ^A port=… ^A auth=Bearer TOKEN ^A ^A` (RFC 7628 §3.1).
fn oauthbearer(text: &str, users: &Users) -> Step {
    let mut fields = text.split('\u{1}');
    let user = fields
        .next()
        .and_then(|header| header.strip_prefix("n,a="))
        .and_then(|user| user.strip_suffix(','));
    let token = fields.find_map(|field| field.strip_prefix("auth=Bearer "));
    match (user, token) {
        (Some(user), Some(token)) => verdict(user, token, users),
        _ => Step::Malformed,
    }
}

/// A response as it is on the wire; `=` stands for an empty initial one (RFC 4954 §4).
pub(crate) fn decode_initial(text: &str) -> Option<Vec<u8>> {
    match text {
        "=" => Some(Vec::new()),
        "" => None,
        _ => decode(text.as_bytes()),
    }
}

pub(crate) fn decode(line: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(line).ok()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Vec<(String, String)> {
        vec![("tim".into(), "tanstaaftanstaaf".into())]
    }

    fn begin(mechanism: &str) -> Exchange {
        let challenge = || "<1896.697170952@postoffice.reston.mci.net>".to_owned();
        let peer = Peer {
            end_point: None,
            announces_binding: false,
            refuses_binding: false,
            certificate: None,
        };
        Exchange::new(mechanism, challenge, peer).expect(mechanism)
    }

    #[test]
    fn plain_as_in_rfc_4616() {
        let step = |response: &[u8]| begin("plain").step(Some(response), &users());
        assert_eq!(step(b"\0tim\0tanstaaftanstaaf"), Step::Accept("tim".into()));
        assert_eq!(
            step(b"tim\0tim\0tanstaaftanstaaf"),
            Step::Accept("tim".into())
        );
        assert_eq!(step(b"tom\0tim\0tanstaaftanstaaf"), Step::Refuse);
        assert_eq!(step(b"\0tim\0wrong"), Step::Refuse);
        for bad in [
            &b"tim\0secret"[..],
            b"",
            b"\0tim\0a\0b",
            b"\0\0x",
            b"\0tim\0\xff",
        ] {
            assert_eq!(step(bad), Step::Malformed, "{bad:?}");
        }
        assert_eq!(
            begin("PLAIN").step(None, &users()),
            Step::Challenge(Vec::new())
        );
    }

    #[test]
    fn cram_md5_takes_the_vector_of_rfc_2195() {
        let mut exchange = begin("CRAM-MD5");
        let answer = b"tim b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(
            exchange.step(Some(answer), &users()),
            Step::Malformed,
            "no initial response"
        );
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>".to_vec();
        assert_eq!(exchange.step(None, &users()), Step::Challenge(challenge));
        assert_eq!(exchange.step(Some(b"tim b913a602"), &users()), Step::Refuse);
        assert_eq!(
            exchange.step(Some(answer), &users()),
            Step::Accept("tim".into())
        );
    }

    #[test]
    fn login_asks_twice_or_once() {
        let mut asked = begin("LOGIN");
        assert_eq!(
            asked.step(None, &users()),
            Step::Challenge(b"Username:".to_vec())
        );
        for mut exchange in [asked, begin("LOGIN")] {
            let step = exchange.step(Some(b"tim"), &users());
            assert_eq!(step, Step::Challenge(b"Password:".to_vec()));
            let step = exchange.step(Some(b"tanstaaftanstaaf"), &users());
            assert_eq!(step, Step::Accept("tim".into()));
        }
    }

    #[test]
    fn xoauth2_tells_why_before_it_refuses() {
        let mut exchange = begin("XOAUTH2");
        let good = b"user=tim\x01auth=Bearer tanstaaftanstaaf\x01\x01";
        assert_eq!(
            exchange.step(Some(good), &users()),
            Step::Accept("tim".into())
        );
        let bad = b"user=tim\x01auth=Bearer stale\x01\x01";
        assert_eq!(
            exchange.step(Some(bad), &users()),
            Step::Challenge(XOAUTH2_ERROR.to_vec())
        );
        assert_eq!(exchange.step(Some(b""), &users()), Step::Refuse);
        assert_eq!(
            begin("XOAUTH2").step(Some(b"user=tim"), &users()),
            Step::Malformed
        );
    }
}
