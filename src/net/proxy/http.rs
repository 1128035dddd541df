//! CONNECT of HTTP (RFC 9110 §9.3.6), with Basic (RFC 7617): octets in, octets out.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Handshake, Step, Trouble};
use crate::smtp::sasl::Credentials;
use crate::smtp::secret::Secret;
use crate::smtp::visible::visible;

/// Most octets of the header of a reply: what web servers take of a client.
const MAX_HEADER: usize = 16 * 1024;

/// Most characters shown of what the proxy says.
const MAX_REASON: usize = 200;

pub(super) struct Connect {
    request: Option<Secret>,
    header: Vec<u8>,
    /// The password, and the login in base64, where there is one.
    told: Vec<Secret>,
    done: bool,
}

impl Connect {
    pub fn new(host: &str, port: u16, login: Option<&Credentials>) -> Self {
        let bare = host.trim_matches(['[', ']']);
        let target = match bare.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{port}"),
            _ => format!("{bare}:{port}"),
        };
        let begin = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        let mut told = Vec::new();
        let request = match login {
            None => Secret::concat(&[begin.as_bytes(), b"\r\n"]),
            Some(login) => {
                let pair = Secret::concat(&[login.user.as_bytes(), b":", login.secret.expose()]);
                let encoded = Secret::from(STANDARD.encode(pair.expose()));
                let request = Secret::concat(&[
                    begin.as_bytes(),
                    b"Proxy-Authorization: Basic ",
                    encoded.expose(),
                    b"\r\n\r\n",
                ]);
                told.extend([login.secret.clone(), encoded]);
                request
            }
        };
        Self {
            request: Some(request),
            header: Vec::new(),
            told,
            done: false,
        }
    }

    /// The first line is shown, and may quote what the proxy was told: all of that, so
    /// it is looked for before any of it is cut off or made visible.
    fn without(&self, trouble: Trouble) -> Trouble {
        let line = self.header.split(|octet| *octet == b'\n').next();
        let line = line.unwrap_or_default();
        let mut told = self.told.iter().filter(|secret| !secret.is_empty());
        if !told.any(|secret| memchr::memmem::find(line, secret.expose()).is_some()) {
            return trouble;
        }
        let left_out = "refused us in words that quote the login".to_owned();
        match trouble {
            Trouble::Login(_) => Trouble::Login(left_out),
            Trouble::Refused(_) => Trouble::Refused(left_out),
        }
    }

    /// The header is whole: may the connection be used?
    fn judge(&self) -> Result<(), Trouble> {
        let text = String::from_utf8_lossy(&self.header);
        let mut lines = text.lines();
        let status = lines.next().unwrap_or_default();
        let code = status
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.strip_prefix(|minor: char| minor.is_ascii_digit()))
            .and_then(|rest| rest.strip_prefix(' ')?.split(' ').next())
            .filter(|code| code.len() == 3)
            .and_then(|code| code.parse::<u16>().ok());
        let Some(code) = code else {
            let shown = visible(status.as_bytes(), MAX_REASON);
            return Err(Trouble::Refused(format!("does not speak HTTP: {shown}")));
        };
        let (_, reason) = status.split_once(' ').unwrap_or_default();
        let reason = visible(reason.as_bytes(), MAX_REASON);
        let mut takes_basic = || {
            lines.any(|line| {
                let line = line.to_ascii_lowercase();
                let schemes = line.strip_prefix("proxy-authenticate:");
                schemes.is_some_and(|schemes| schemes.contains("basic"))
            })
        };
        match code {
            // Whatever else the header says, no content follows.
            200..=299 => Ok(()),
            407 if !takes_basic() => Err(Trouble::Refused(format!(
                "wants a kind of login that is not known here: {reason}"
            ))),
            407 if !self.told.is_empty() => {
                Err(Trouble::Login(format!("refused the login: {reason}")))
            }
            407 => Err(Trouble::Login(format!("wants a login: {reason}"))),
            _ => Err(Trouble::Refused(format!(
                "did not connect to the server: {reason}"
            ))),
        }
    }
}

impl Handshake for Connect {
    fn next(&mut self) -> Step {
        match self.request.take() {
            Some(request) => Step::Say(request),
            None if self.done => Step::Done,
            // The first octet behind the header is the server's.
            None => Step::Hear(1),
        }
    }

    fn heard(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        self.header.extend_from_slice(octets);
        if self.header.len() > MAX_HEADER {
            return Err(Trouble::Refused("talks without end".into()));
        }
        if self.header.ends_with(b"\r\n\r\n") || self.header.ends_with(b"\n\n") {
            self.judge().map_err(|trouble| self.without(trouble))?;
            self.done = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzzing::converse;
    use super::super::tests::login;
    use super::*;

    fn refused(text: &str) -> Result<usize, Option<Trouble>> {
        Err(Some(Trouble::Refused(text.into())))
    }

    #[test]
    fn what_is_asked() {
        for (host, target) in [
            ("mx.example.org", "mx.example.org:587"),
            ("127.0.0.1", "127.0.0.1:587"),
            ("::1", "[::1]:587"),
            ("[::1]", "[::1]:587"),
        ] {
            let mut plain = Connect::new(host, 587, None);
            let (said, end) = converse(&mut plain, b"HTTP/1.0 200 ok\r\n\r\n220 mx");
            let line = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
            assert_eq!(said, [line.into_bytes()]);
            assert_eq!(end, Ok(6), "what the server says stays");
        }
        // RFC 7617 §2.
        let aladdin = login("Aladdin", "open sesame");
        let (said, _) = converse(&mut Connect::new("mx", 25, Some(&aladdin)), b"");
        let wanted = "CONNECT mx:25 HTTP/1.1\r\nHost: mx:25\r\n\
                      Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n";
        assert_eq!(said, [wanted.as_bytes()]);
    }

    #[test]
    fn what_is_answered() {
        let basic = "Proxy-Authenticate: BASIC realm=\"x\"\r\n";
        let wants = |text: &str| Err(Some(Trouble::Login(text.into())));
        let ask = |heard: &str, with: bool| {
            let ada = login("ada", "pw");
            let mut connect = Connect::new("mx", 25, with.then_some(&ada));
            converse(&mut connect, heard.as_bytes()).1
        };
        // A length is of no content (RFC 9110 §9.3.6).
        assert_eq!(
            ask("HTTP/1.1 200 ok\r\nContent-Length: 9\r\n\r\n220", false),
            Ok(3)
        );
        assert_eq!(ask("HTTP/1.1 204\n\n", false), Ok(0));
        let needed = format!("HTTP/1.1 407 Needed\r\n{basic}\r\n");
        assert_eq!(ask(&needed, false), wants("wants a login: 407 Needed"));
        assert_eq!(ask(&needed, true), wants("refused the login: 407 Needed"));
        assert_eq!(
            ask(
                "HTTP/1.1 407 No\r\nProxy-Authenticate: Digest x\r\n\r\n",
                false
            ),
            refused("wants a kind of login that is not known here: 407 No")
        );
        assert_eq!(
            ask("HTTP/1.1 403 For\u{1b}bidden\r\n\r\n", false),
            refused("did not connect to the server: 403 For^[bidden")
        );
        assert_eq!(
            ask("220 mx ESMTP\r\n\r\n", false),
            refused("does not speak HTTP: 220 mx ESMTP")
        );
        for odd in [
            "HTTP/1.1 2000 ok\r\n\r\n",
            "HTTP/1.x 200 ok\r\n\r\n",
            "HTTP/1.1\r1 200 ok\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "\n\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert!(
                matches!(ask(odd, false), Err(Some(Trouble::Refused(_)))),
                "{odd}"
            );
        }
        assert_eq!(
            ask(&"x".repeat(20_000), false),
            refused("talks without end")
        );
        assert_eq!(ask("HTTP/1.1 200 ok\r\n", false), Err(None));
    }

    #[test]
    fn no_part_of_a_login_is_shown() {
        let ada = login("ada", "hunter2\u{1b}!");
        let encoded = STANDARD.encode("ada:hunter2\u{1b}!");
        for told in ["hunter2\u{1b}!", &encoded] {
            // What is shown would end in the middle of it.
            for before in [0, MAX_REASON - 8, MAX_REASON - 2] {
                let padding = "x".repeat(before);
                let reply = format!("HTTP/1.1 403 {padding}{told}\r\n\r\n");
                let (_, end) = converse(&mut Connect::new("mx", 25, Some(&ada)), reply.as_bytes());
                assert_eq!(end, refused("refused us in words that quote the login"));
            }
        }
    }
}
