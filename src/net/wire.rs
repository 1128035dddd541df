//! One connection: octets both ways at once, plain or under TLS.
//!
//! A [`Wire`] reads while it writes, never blocks but in [`Wire::wait`], and
//! keeps no octet back: what is not written stays with the caller.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use native_tls::TlsStream;
use rustix::event::PollFlags;

use super::adapter::Adapter;
use super::proxy::tunnel::Tunnel;
use super::signal::{Signal, Waited};
use super::tls::{self, Refused, TlsFacts, TlsSettings};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Octets read at most in one [`Wire::exchange`]: a flood must not keep us from
/// looking at what came.
const READ_SIZE: usize = 64 * 1024;

/// A connection and what wakes its thread.
pub struct Wire {
    transport: Transport,
    peer: String,
    /// The command that is the connection, if one is.
    tunnel: Option<Tunnel>,
    signal: Arc<Signal>,
}

enum Transport {
    Plain(Adapter),
    Tls(Box<TlsStream<Adapter>>),
    /// After a failed handshake: no octet may go any more.
    Closed,
}

/// What one [`Wire::exchange`] did.
#[derive(Debug, Default)]
pub struct Progress {
    /// Octets appended to the caller's buffer.
    pub read: usize,
    /// Octets of the caller's that the kernel took.
    pub written: usize,
    /// The other side has closed its direction.
    pub closed: bool,
    /// The connection broke, after all of the above: what was written is
    /// written, and may be the end of a message.
    pub broken: Option<io::Error>,
}

impl Wire {
    /// Take over a connected socket that does not block.
    ///
    /// # Errors
    /// The connection is gone already.
    pub fn new(socket: TcpStream, signal: Arc<Signal>) -> io::Result<Self> {
        let peer = socket.peer_addr()?.to_string();
        Ok(Self::through(socket, peer, None, signal))
    }

    /// Take over a connection that `peer`, a noun, has made for us; `tunnel` is that
    /// peer if it is a command.
    pub fn through(
        socket: TcpStream,
        peer: String,
        tunnel: Option<Tunnel>,
        signal: Arc<Signal>,
    ) -> Self {
        Self {
            transport: Transport::Plain(Adapter::new(socket)),
            peer,
            tunnel,
            signal,
        }
    }

    /// The address connected to, or what has made the connection.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// What to say of the command that was the connection, which is gone.
    pub fn last_words(&self) -> Option<String> {
        self.tunnel.as_ref().and_then(Tunnel::last_words)
    }

    /// What the command that is the connection complains of.
    pub fn complaints(&self) -> String {
        self.tunnel.as_ref().map(Tunnel::words).unwrap_or_default()
    }

    /// The socket, for those who wait for it elsewhere; none after a failed
    /// handshake.
    pub fn socket(&self) -> Option<&TcpStream> {
        match &self.transport {
            Transport::Plain(adapter) => Some(&adapter.socket),
            Transport::Tls(stream) => Some(&stream.get_ref().socket),
            Transport::Closed => None,
        }
    }

    /// Let another signal wake those who wait for this wire from now on.
    pub fn ring_with(&mut self, signal: Arc<Signal>) {
        self.signal = signal;
    }

    /// Put TLS over the connection; `host` is the name that the certificate must
    /// bear. After a failure the wire is closed: nothing goes on in clear.
    ///
    /// # Errors
    /// `Certificate`, `Tls`, `Timeout` or `Cancelled`.
    pub fn start_tls(
        &mut self,
        settings: &TlsSettings,
        host: &str,
        deadline: Instant,
    ) -> Result<TlsFacts, Refused> {
        match std::mem::replace(&mut self.transport, Transport::Closed) {
            Transport::Plain(adapter) => {
                let (stream, facts) =
                    tls::handshake(adapter, settings, host, deadline, &self.signal)?;
                self.transport = Transport::Tls(Box::new(stream));
                Ok(facts)
            }
            Transport::Tls(_) | Transport::Closed => Err(Failure::new(
                FailureKind::Tls,
                Phase::Handshake,
                "TLS cannot be started twice",
            )
            .into()),
        }
    }

    /// Write what the kernel takes of `outgoing` and append what there is to read
    /// to `incoming`, without waiting. After a short write the next call must
    /// begin with the same octets (TLS may have begun a record with them).
    pub fn exchange(&mut self, outgoing: &[u8], incoming: &mut Vec<u8>) -> Progress {
        let mut progress = Progress::default();
        let stream: &mut dyn Stream = match &mut self.transport {
            Transport::Plain(adapter) => adapter,
            Transport::Tls(stream) => stream.as_mut(),
            Transport::Closed => {
                progress.closed = true;
                return progress;
            }
        };
        // A server that closes may have said why: read after a failed write too.
        while progress.written < outgoing.len() {
            match stream.write(&outgoing[progress.written..]) {
                Ok(0) => break,
                Ok(count) => progress.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    progress.broken = Some(error);
                    break;
                }
            }
        }
        let start = incoming.len();
        incoming.resize(start + READ_SIZE, 0);
        while start + progress.read < incoming.len() {
            match stream.read(&mut incoming[start + progress.read..]) {
                Ok(0) => {
                    progress.closed = true;
                    break;
                }
                Ok(count) => progress.read += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    progress.broken = progress.broken.or(Some(error));
                    break;
                }
            }
        }
        incoming.truncate(start + progress.read);
        progress
    }

    /// Wait until [`Wire::exchange`] may do something; `writing` says that octets
    /// wait to be written.
    ///
    /// # Errors
    /// As [`Signal::wait`].
    pub fn wait(&self, writing: bool, deadline: Option<Instant>) -> io::Result<Waited> {
        match &self.transport {
            Transport::Plain(adapter) => wait_for(adapter, writing, deadline, &self.signal),
            Transport::Tls(stream) => wait_for(stream.get_ref(), writing, deadline, &self.signal),
            Transport::Closed => Ok(Waited::Ready),
        }
    }

    /// Say goodbye: what was written still arrives; nothing is waited for.
    pub fn close(mut self) {
        match &mut self.transport {
            Transport::Plain(adapter) => {
                let _ = adapter.socket.shutdown(Shutdown::Write);
            }
            Transport::Tls(stream) => {
                let _ = stream.shutdown();
                let _ = stream.get_ref().socket.shutdown(Shutdown::Write);
            }
            Transport::Closed => {}
        }
        if let Some(tunnel) = self.tunnel {
            tunnel.leave();
        }
    }
}

/// Wait for what `adapter` lacks: always for something to read, and for room
/// where a write found none.
pub(super) fn wait_for(
    adapter: &Adapter,
    writing: bool,
    deadline: Option<Instant>,
    signal: &Signal,
) -> io::Result<Waited> {
    let mut flags = PollFlags::IN;
    if adapter.write_blocked || (writing && !adapter.read_blocked) {
        flags |= PollFlags::OUT;
    }
    signal.wait(&[(adapter.socket.as_fd(), flags)], deadline)
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}
