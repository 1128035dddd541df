//! Ways to the server that are not a connection of our own to it: a SOCKS5 or HTTP
//! proxy, or a command that is the connection.
//!
//! The proxy looks the server's name up: nothing about it goes to our resolver. Of
//! what a proxy says no octet is read beyond its last one, for the server may speak
//! at once. It is bounded and has a deadline, and its words are made visible. All
//! failures have the phase `Proxy` and name it.

#[doc(hidden)]
pub mod fuzzing;
mod http;
mod socks;
pub mod tunnel;

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;

use self::tunnel::Program;
use super::signal::Signal;
use super::words::words;
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::Credentials;
use crate::smtp::secret::Secret;

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    /// A command whose standard input and output are the connection.
    Command(Program),
    /// A server that passes octets on.
    Server(ProxyServer),
}

/// A proxy that is a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyServer {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its name or address, which our resolver is asked for.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// As whom to log in, where it wants that; `None` is anybody.
    pub user: Option<String>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// CONNECT (RFC 9110 §9.3.6).
    Http,
    /// RFC 1928, with names looked up by the proxy.
    Socks5,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(program) => program.fmt(f),
            Self::Server(server) => server.fmt(f),
        }
    }
}

impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Http => "HTTP",
            Protocol::Socks5 => "SOCKS5",
        };
        write!(f, "the {protocol} proxy {}:{}", self.host, self.port)
    }
}

/// What a handshake with a proxy wants next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Say this.
    Say(Secret),
    /// Hear so many octets, and not one more: [`Handshake::heard`].
    Hear(usize),
    /// The connection is the server's now.
    Done,
}

/// Why a proxy does not pass us on.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// It wants to know who we are, or does not believe it.
    Login(String),
    /// Anything else.
    Refused(String),
}

/// A conversation with a proxy, without a socket or a clock.
trait Handshake {
    fn next(&mut self) -> Step;

    /// Exactly the octets that [`Step::Hear`] wanted.
    fn heard(&mut self, octets: &[u8]) -> Result<(), Trouble>;
}

impl ProxyServer {
    /// Have `socket`, which is connected to the proxy and does not block, connected to
    /// `server`: an ASCII name or an address, and a port.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Cancelled`; `Authentication` where the proxy wants a
    /// login, or another one.
    pub fn pass_on(
        &self,
        socket: &TcpStream,
        server: (&str, u16),
        login: Option<&Credentials>,
        deadline: Instant,
        signal: &Signal,
    ) -> Result<(), Failure> {
        let mut handshake = self.handshake(server, login)?;
        loop {
            match handshake.next() {
                Step::Done => return Ok(()),
                Step::Say(octets) => self.say(socket, octets.expose(), deadline, signal)?,
                Step::Hear(count) => {
                    let octets = self.hear(socket, count, deadline, signal)?;
                    let heard = handshake.heard(&octets);
                    heard.map_err(|trouble| self.failure(trouble))?;
                }
            }
        }
    }

    fn handshake(
        &self,
        (host, port): (&str, u16),
        login: Option<&Credentials>,
    ) -> Result<Box<dyn Handshake>, Failure> {
        Ok(match self.protocol {
            Protocol::Http => Box::new(http::Connect::new(host, port, login)),
            Protocol::Socks5 => {
                let begun = socks::Socks::new(host, port, login);
                Box::new(begun.map_err(|trouble| self.failure(trouble))?)
            }
        })
    }

    /// A failure of the look-up of the proxy or of the connection to it, told as such.
    pub fn unreachable(&self, failure: &Failure) -> Failure {
        let kind = match failure.kind {
            FailureKind::Cancelled => return Signal::stopped_failure(Phase::Proxy),
            FailureKind::Timeout => FailureKind::Timeout,
            _ => FailureKind::Connect,
        };
        Failure::new(kind, Phase::Proxy, format!("{self}: {}", failure.text))
    }

    fn failure(&self, trouble: Trouble) -> Failure {
        let (kind, text) = match trouble {
            Trouble::Login(text) => (FailureKind::Authentication, text),
            Trouble::Refused(text) => (FailureKind::Connect, text),
        };
        Failure::new(kind, Phase::Proxy, format!("{self} {text}"))
    }

    fn say(
        &self,
        mut socket: &TcpStream,
        mut octets: &[u8],
        deadline: Instant,
        signal: &Signal,
    ) -> Result<(), Failure> {
        while !octets.is_empty() {
            match socket.write(octets) {
                Ok(count) => octets = &octets[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(socket, PollFlags::OUT, deadline, signal)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&words(&error))),
            }
        }
        Ok(())
    }

    fn hear(
        &self,
        mut socket: &TcpStream,
        count: usize,
        deadline: Instant,
        signal: &Signal,
    ) -> Result<Vec<u8>, Failure> {
        let mut octets = vec![0; count];
        let mut here = 0;
        while here < count {
            match socket.read(&mut octets[here..]) {
                Ok(0) => return Err(self.broken("it closed the connection")),
                Ok(more) => here += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait(socket, PollFlags::IN, deadline, signal)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&words(&error))),
            }
            // A proxy that drips must not put the deadline off, nor hide a stop.
            if signal.is_stopped() {
                return Err(Signal::stopped_failure(Phase::Proxy));
            }
            if here < count && Instant::now() >= deadline {
                return Err(self.late());
            }
        }
        Ok(octets)
    }

    fn wait(
        &self,
        socket: &TcpStream,
        flags: PollFlags,
        deadline: Instant,
        signal: &Signal,
    ) -> Result<(), Failure> {
        let waited = signal.wait(&[(socket.as_fd(), flags)], Some(deadline));
        waited.map_err(|error| self.broken(&words(&error)))?;
        if signal.is_stopped() {
            Err(Signal::stopped_failure(Phase::Proxy))
        } else if Instant::now() >= deadline {
            Err(self.late())
        } else {
            Ok(())
        }
    }

    fn late(&self) -> Failure {
        let text = format!("{self} does not answer");
        Failure::new(FailureKind::Timeout, Phase::Proxy, text)
    }

    fn broken(&self, why: &str) -> Failure {
        let text = format!("{self} did not pass us on: {why}");
        Failure::new(FailureKind::Connect, Phase::Proxy, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn login(user: &str, secret: &str) -> Credentials {
        Credentials {
            user: user.into(),
            secret: Secret::from(secret),
            authzid: None,
        }
    }
}
