//! SOCKS5 (RFC 1928) with user name and password (RFC 1929): octets in, octets out.

use std::net::IpAddr;

use super::{Handshake, Step, Trouble};
use crate::smtp::sasl::Credentials;
use crate::smtp::secret::Secret;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Longest user name, password and host name: their lengths are octets.
const MAX_FIELD: usize = 255;

/// The moment of the conversation: what is to be said, or is waited for.
#[derive(Debug)]
enum State {
    SayMethods,
    ExpectMethod,
    SayLogin,
    ExpectLoginReply,
    SayRequest,
    ExpectReply,
    /// The address that the proxy connects from: of no use, and to be read.
    ExpectBound(usize),
    ExpectBoundLength,
    Done,
}

pub(super) struct Socks {
    state: State,
    request: Vec<u8>,
    /// The message of RFC 1929, and whether it was refused.
    login: Option<Secret>,
}

impl Socks {
    /// `host` goes to the proxy as the name that it is.
    pub fn new(host: &str, port: u16, login: Option<&Credentials>) -> Result<Self, Trouble> {
        Ok(Self {
            state: State::SayMethods,
            request: request(host, port)?,
            login: login.map(password).transpose()?,
        })
    }
}

fn too_long(what: &str) -> Trouble {
    Trouble::Refused(format!("cannot be told {what}: empty, or too long"))
}

fn field(octets: &[u8], what: &str) -> Result<u8, Trouble> {
    match octets.len() {
        1..=MAX_FIELD => Ok(octets.len() as u8),
        _ => Err(too_long(what)),
    }
}

/// RFC 1928 §4.
fn request(host: &str, port: u16) -> Result<Vec<u8>, Trouble> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => {
            request.push(IPV4);
            request.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            request.push(IPV6);
            request.extend(address.octets());
        }
        Err(_) => {
            request.extend([NAME, field(host.as_bytes(), "the server's name")?]);
            request.extend(host.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// RFC 1929 §2.
fn password(login: &Credentials) -> Result<Secret, Trouble> {
    let (user, secret) = (login.user.as_bytes(), login.secret.expose());
    let user_length = field(user, "the user name")?;
    let secret_length = field(secret, "the password")?;
    Ok(Secret::concat(&[
        &[PASSWORD_VERSION, user_length],
        user,
        &[secret_length],
        secret,
    ]))
}

/// RFC 1928 §6.
fn refusal(code: u8) -> String {
    let why = match code {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable, or not known to it",
        5 => "connection refused",
        6 => "the time to live expired",
        7 => "it does not know the command",
        8 => "it does not know that type of address",
        _ => return format!("did not connect to the server: error {code}"),
    };
    format!("did not connect to the server: {why}")
}

fn no_socks(octets: &[u8]) -> Trouble {
    Trouble::Refused(match octets {
        [b'H', b'T', ..] => "is none, it speaks HTTP".into(),
        _ => "does not speak SOCKS5".into(),
    })
}

impl Handshake for Socks {
    fn next(&mut self) -> Step {
        let (next, step) = match self.state {
            State::SayMethods => {
                // A login is offered only if there is one: who offers both may be
                // asked for it.
                let methods: &[u8] = match &self.login {
                    Some(_) => &[VERSION, 2, NO_LOGIN, PASSWORD],
                    None => &[VERSION, 1, NO_LOGIN],
                };
                (State::ExpectMethod, Step::Say(Secret::from(methods)))
            }
            State::SayLogin => {
                let login = self.login.clone().unwrap_or_default();
                (State::ExpectLoginReply, Step::Say(login))
            }
            State::SayRequest => {
                let request = self.request.as_slice();
                (State::ExpectReply, Step::Say(Secret::from(request)))
            }
            State::ExpectMethod | State::ExpectLoginReply => return Step::Hear(2),
            State::ExpectReply => return Step::Hear(4),
            State::ExpectBoundLength => return Step::Hear(1),
            State::ExpectBound(count) => return Step::Hear(count),
            State::Done => return Step::Done,
        };
        self.state = next;
        step
    }

    fn heard(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        self.state = match (&self.state, octets) {
            (State::ExpectMethod, [VERSION, NO_LOGIN]) => State::SayRequest,
            (State::ExpectMethod, [VERSION, PASSWORD]) if self.login.is_some() => State::SayLogin,
            (State::ExpectMethod, [VERSION, NO_METHOD]) if self.login.is_none() => {
                return Err(Trouble::Login("wants a login".into()));
            }
            (State::ExpectMethod, [VERSION, method]) => {
                let text = format!("wants a kind of login that is not known here ({method})");
                return Err(Trouble::Refused(text));
            }
            (State::ExpectLoginReply, [_, 0]) => State::SayRequest,
            (State::ExpectLoginReply, _) => {
                return Err(Trouble::Login("refused the login".into()));
            }
            (State::ExpectReply, [VERSION, 0, _, kind]) => match *kind {
                IPV4 => State::ExpectBound(4 + 2),
                IPV6 => State::ExpectBound(16 + 2),
                NAME => State::ExpectBoundLength,
                _ => return Err(no_socks(octets)),
            },
            (State::ExpectReply, [VERSION, code, ..]) => {
                return Err(Trouble::Refused(refusal(*code)));
            }
            (State::ExpectBoundLength, [length]) => State::ExpectBound(usize::from(*length) + 2),
            (State::ExpectBound(_), _) => State::Done,
            _ => return Err(no_socks(octets)),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::converse;
    use super::super::tests::login;
    use super::*;

    fn ask(host: &str, with: Option<&Credentials>) -> Socks {
        Socks::new(host, 587, with).expect("all of it can be said")
    }

    #[test]
    fn names_are_the_proxy_s_to_look_up() {
        let table: [(&str, &[u8]); 4] = [
            ("mx.onion", b"\x05\x01\x00\x03\x08mx.onion\x02\x4b"),
            ("127.0.0.1", b"\x05\x01\x00\x01\x7f\x00\x00\x01\x02\x4b"),
            (
                "::1",
                b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x4b",
            ),
            (
                "[::1]",
                b"\x05\x01\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x4b",
            ),
        ];
        for (host, request) in table {
            // The last octet is the server's.
            let heard = b"\x05\x00\x05\x00\x00\x01\x0a\x00\x00\x01\x00\x192";
            let (said, end) = converse(&mut ask(host, None), heard);
            assert_eq!(said, [b"\x05\x01\x00".to_vec(), request.to_vec()], "{host}");
            assert_eq!(end, Ok(1));
        }
        assert!(Socks::new(&"x".repeat(256), 587, None).is_err());
    }

    #[test]
    fn bound_addresses_of_each_type_are_read_to_their_end() {
        let table: [&[u8]; 3] = [
            b"\x01abcd\x00\x19",
            b"\x03\x03abc\x00\x19",
            b"\x04abcdabcdabcdabcd\x00\x19",
        ];
        for bound in table {
            let heard = [b"\x05\x00\x05\x00\x00", bound, b"220"].concat();
            let (_, end) = converse(&mut ask("mx.example.org", None), &heard);
            assert_eq!(end, Ok(3), "{bound:?}");
            // Cut anywhere, it is not over.
            for cut in 0..heard.len() - 3 {
                let (_, end) = converse(&mut ask("mx.example.org", None), &heard[..cut]);
                assert_eq!(end, Err(None), "{cut}");
            }
        }
    }

    #[test]
    fn a_login_is_offered_where_there_is_one() {
        let ada = login("ada", "pw");
        let granted = b"\x05\x02\x01\x00\x05\x00\x00\x01abcd\x00\x19";
        let (said, end) = converse(&mut ask("mx.example.org", Some(&ada)), granted);
        assert_eq!(said[0], b"\x05\x02\x00\x02");
        assert_eq!(said[1], b"\x01\x03ada\x02pw");
        assert_eq!(end, Ok(0));
        // Not said to who does not want it.
        let unwanted = b"\x05\x00\x05\x00\x00\x01abcd\x00\x19";
        let (said, end) = converse(&mut ask("mx.example.org", Some(&ada)), unwanted);
        assert_eq!((said.len(), end), (2, Ok(0)));
        for bad in [
            login("", "pw"),
            login("ada", ""),
            login("ada", &"x".repeat(256)),
        ] {
            assert!(Socks::new("mx.example.org", 25, Some(&bad)).is_err());
        }
    }

    #[test]
    fn refusals() {
        let ada = login("ada", "pw");
        let wants = |text: &str| Trouble::Login(text.into());
        let table: [(&[u8], Option<&Credentials>, Trouble); 8] = [
            (b"\x05\xff", None, wants("wants a login")),
            (b"\x05\x02\x01\x01", Some(&ada), wants("refused the login")),
            (
                b"\x05\x02",
                None,
                Trouble::Refused("wants a kind of login that is not known here (2)".into()),
            ),
            (
                b"\x05\xff",
                Some(&ada),
                Trouble::Refused("wants a kind of login that is not known here (255)".into()),
            ),
            (
                b"\x05\x00\x05\x05\x00\x01",
                None,
                Trouble::Refused("did not connect to the server: connection refused".into()),
            ),
            (
                b"\x05\x00\x05\xf2\x00\x01",
                None,
                Trouble::Refused("did not connect to the server: error 242".into()),
            ),
            (
                b"HTTP/1.1 400",
                None,
                Trouble::Refused("is none, it speaks HTTP".into()),
            ),
            (
                b"\x04\x5a",
                None,
                Trouble::Refused("does not speak SOCKS5".into()),
            ),
        ];
        for (heard, with, trouble) in table {
            let (_, end) = converse(&mut ask("mx.example.org", with), heard);
            assert_eq!(end, Err(Some(trouble)), "{heard:?}");
        }
        let (_, end) = converse(&mut ask("mx", None), b"\x05\x00\x05\x00\x00\x07");
        assert!(matches!(end, Err(Some(Trouble::Refused(_)))));
    }
}
