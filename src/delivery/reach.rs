//! How a delivery comes to a connection with its server: directly, through a proxy, or
//! by a command. With a proxy our resolver hears nothing of the server.

use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;

use super::mailbox::{Event, Mailbox};
use super::probe::connect_by_each;
use super::request::Request;
use crate::net::connect::connect;
use crate::net::proxy::Proxy;
use crate::net::proxy::tunnel::Program;
use crate::net::resolve::resolve;
use crate::net::signal::{Signal, Waited};
use crate::net::wire::Wire;
use crate::net::words::words;
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::Credentials;

/// A connection to the server of `request`; `implicit` says that it begins with TLS,
/// so that we speak first.
///
/// # Errors
/// `Resolve`, `Connect`, `Timeout` or `Cancelled`; `Authentication` in the phase
/// `Proxy` where the proxy wants a login, or another one than `login`.
pub(super) fn reach(
    request: &Request,
    login: Option<&Credentials>,
    implicit: bool,
    mailbox: &Mailbox,
) -> Result<Wire, Failure> {
    let signal = &mailbox.signal;
    let deadline = Instant::now() + request.limits.limit(Phase::Connect);
    match &request.proxy {
        None => {
            let tell = |phase| mailbox.post(Event::Phase(phase));
            let socket = dial(
                request,
                (&request.host, request.port),
                deadline,
                mailbox,
                tell,
            )?;
            Wire::new(socket, signal.clone()).map_err(|error| {
                let text = format!("the connection broke: {}", words(&error));
                Failure::new(FailureKind::Closed, Phase::Connect, text)
            })
        }
        Some(Proxy::Server(server)) => {
            mailbox.post(Event::Phase(Phase::Proxy));
            let socket = dial(
                request,
                (&server.host, server.port),
                deadline,
                mailbox,
                |_| {},
            )
            .map_err(|failure| server.unreachable(&failure))?;
            let target = (request.host.as_str(), request.port);
            server.pass_on(&socket, target, login, deadline, signal)?;
            Ok(Wire::through(
                socket,
                server.to_string(),
                None,
                signal.clone(),
            ))
        }
        Some(Proxy::Command(program)) => {
            mailbox.post(Event::Phase(Phase::Proxy));
            let (socket, tunnel) = program.start(&request.host, request.port)?;
            let wire = Wire::through(socket, program.to_string(), Some(tunnel), signal.clone());
            match implicit {
                // The handshake has a deadline of its own.
                true => Ok(wire),
                false => await_sign_of_life(wire, program, deadline, signal),
            }
        }
    }
}

/// Look `host` up and connect, telling which of the two is waited for.
fn dial(
    request: &Request,
    (host, port): (&str, u16),
    deadline: Instant,
    mailbox: &Mailbox,
    tell: impl Fn(Phase),
) -> Result<TcpStream, Failure> {
    tell(Phase::Resolve);
    let addresses = resolve(host, port, deadline, &mailbox.signal)?;
    tell(Phase::Connect);
    match request.probe {
        Some(_) => connect_by_each(addresses, request, mailbox),
        None => connect(addresses, deadline, &mailbox.signal),
    }
}

/// Only the greeting shows that a command has come to the server.
fn await_sign_of_life(
    wire: Wire,
    program: &Program,
    deadline: Instant,
    signal: &Signal,
) -> Result<Wire, Failure> {
    loop {
        let Some(socket) = wire.socket() else {
            return Ok(wire);
        };
        let waited = signal.wait(&[(socket.as_fd(), PollFlags::IN)], Some(deadline));
        if signal.is_stopped() {
            return Err(Signal::stopped_failure(Phase::Proxy));
        }
        match waited {
            // What it is, the session sees.
            Ok(Waited::Ready) | Err(_) => return Ok(wire),
            Ok(Waited::Rung) => {}
            Ok(Waited::TimedOut) => {
                let text = match wire.complaints() {
                    words if words.is_empty() => format!("nothing came by {program}"),
                    words => format!("nothing came by {program}; it says: {words}"),
                };
                return Err(Failure::new(FailureKind::Timeout, Phase::Proxy, text));
            }
        }
    }
}
