//! One connection of the server: bytes in and out, buffered, in clear text or
//! within TLS, and every way to end it.  No SMTP beyond the line.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use openssl::nid::Nid;
use openssl::ssl::{SslAcceptor, SslStream};
use socket2::SockRef;

use crate::script::Ending;
use crate::spool::Transcript;

/// A client that says nothing for so long is left (RFC 5321 §4.5.3.2.7).
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// A client that takes nothing for so long is left.
const WRITE_LIMIT: Duration = Duration::from_secs(120);

/// The longest command line: a response in AUTH (RFC 4954 §4.1).
const LINE_LIMIT: usize = 12_288;

/// One read takes at most this; big enough that a large message costs few calls.
const READ_SIZE: usize = 64 * 1024;

/// After our FIN the client has so long to send its own, lest its last bytes
/// meet a closed socket and turn the FIN into a reset.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How often a pause looks whether the server is to stop.
const PAUSE_SLICE: Duration = Duration::from_millis(20);

/// Why a session is over.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The client closed.
    ClientClosed,
    /// The connection failed.
    Failed(io::Error),
    /// The server ends it so.
    Ending(Ending),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// A command line, or what stands in its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its CRLF.
    Good(Vec<u8>),
    /// It holds a bare CR or LF, or ended with a bare LF.
    BareEnd,
    /// It was longer than any line may be, and is skipped.
    TooLong,
}

/// A shared socket: the server keeps a weak handle, so that the last owner
/// closes it at once, which a reset needs.
#[derive(Debug)]
struct Socket(Arc<TcpStream>);

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Stream {
    Plain(Socket),
    Tls(Box<SslStream<Socket>>),
}

/// The connection of one session.
pub(crate) struct Channel {
    stream: Stream,
    tcp: Arc<TcpStream>,
    stopping: Arc<AtomicBool>,
    turn_delay: Duration,
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
    pub(crate) log: Transcript,
    /// How often the server had said something and then waited for the client.
    pub(crate) turns: u64,
    spoke: bool,
}

impl Channel {
    pub(crate) fn new(
        tcp: Arc<TcpStream>,
        log: Transcript,
        stopping: Arc<AtomicBool>,
        turn_delay: Duration,
    ) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(IDLE_LIMIT))?;
        tcp.set_write_timeout(Some(WRITE_LIMIT))?;
        Ok(Self {
            stream: Stream::Plain(Socket(Arc::clone(&tcp))),
            tcp,
            stopping,
            turn_delay,
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            log,
            turns: 0,
            spoke: false,
        })
    }

    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Queues bytes.  Replies to pipelined commands go out together, when the
    /// client must be waited for (RFC 2920 §3.2).
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends all that is queued.
    pub(crate) fn flush(&mut self) -> Result<(), Stop> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.spoke = true;
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(&self.output)?,
            Stream::Tls(tls) => tls.write_all(&self.output)?,
        }
        self.output.clear();
        Ok(())
    }

    /// What came and is not yet taken.
    pub(crate) fn buffered(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    /// Takes the first `length` bytes of what is buffered.
    pub(crate) fn take(&mut self, length: usize) {
        self.taken += length;
        debug_assert!(self.taken <= self.input.len());
    }

    /// Says what is queued, then waits for more input.
    pub(crate) fn fill(&mut self) -> Result<(), Stop> {
        if !self.output.is_empty() {
            self.pause(self.turn_delay)?;
        }
        self.flush()?;
        self.turns += u64::from(std::mem::take(&mut self.spoke));
        self.input.drain(..self.taken);
        self.taken = 0;
        let old_length = self.input.len();
        self.input.resize(old_length + READ_SIZE, 0);
        let got = self.read_into(old_length);
        self.input
            .truncate(old_length + got.as_ref().map_or(0, |length| *length));
        match got? {
            0 => Err(Stop::ClientClosed),
            _ => Ok(()),
        }
    }

    fn read_into(&mut self, start: usize) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(socket) => socket.read(&mut self.input[start..]),
            Stream::Tls(tls) => tls.read(&mut self.input[start..]),
        }
    }

    /// The next command line.  Only CRLF ends one (RFC 5321 §2.3.8), but who
    /// sends a bare LF shall hear of it rather than wait.
    pub(crate) fn read_line(&mut self) -> Result<Line, Stop> {
        let mut too_long = false;
        loop {
            if let Some(at) = memchr::memchr(b'\n', self.buffered()) {
                let whole = self.buffered()[..at].to_vec();
                self.take(at + 1);
                if too_long || whole.len() >= LINE_LIMIT {
                    return Ok(Line::TooLong);
                }
                return Ok(match whole.strip_suffix(b"\r") {
                    Some(line) if !line.contains(&b'\r') => Line::Good(line.to_vec()),
                    _ => Line::BareEnd,
                });
            }
            if self.buffered().len() > LINE_LIMIT {
                too_long = true;
                self.take(self.buffered().len());
            }
            self.fill()?;
        }
    }

    /// Forgets what came and was not yet read; how much that was.
    pub(crate) fn discard_input(&mut self) -> usize {
        let length = self.buffered().len();
        self.taken = self.input.len();
        length
    }

    /// Waits for the first bytes of a ClientHello and drops them.
    pub(crate) fn swallow_client_hello(&mut self) -> Result<(), Stop> {
        self.flush()?;
        match self.tcp.as_ref().read(&mut [0; READ_SIZE])? {
            0 => Err(Stop::ClientClosed),
            _ => Ok(()),
        }
    }

    /// The server's side of a TLS handshake.
    pub(crate) fn start_tls(&mut self, acceptor: &SslAcceptor) -> Result<(), Stop> {
        self.flush()?;
        let tls = acceptor
            .accept(Socket(Arc::clone(&self.tcp)))
            .map_err(|error| Stop::Failed(io::Error::other(error.to_string())))?;
        let ssl = tls.ssl();
        let cipher = ssl
            .current_cipher()
            .map_or("no cipher", |cipher| cipher.name());
        self.log
            .event(&format!("tls {} {cipher}", ssl.version_str()));
        self.stream = Stream::Tls(Box::new(tls));
        Ok(())
    }

    /// The common name of the client's certificate, if it showed one.
    pub(crate) fn client_certificate(&self) -> Option<String> {
        let Stream::Tls(tls) = &self.stream else {
            return None;
        };
        let certificate = tls.ssl().peer_certificate()?;
        let entry = certificate
            .subject_name()
            .entries_by_nid(Nid::COMMONNAME)
            .next()?;
        Some(entry.data().to_string().ok()?.to_string())
    }

    /// Waits, but not when the server is to stop.
    pub(crate) fn pause(&self, duration: Duration) -> Result<(), Stop> {
        let end = Instant::now() + duration;
        loop {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(Stop::Ending(Ending::Cut));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(PAUSE_SLICE));
        }
    }

    /// Ends the connection in the way that `stop` asks for.
    pub(crate) fn end(mut self, stop: Stop) {
        let ending = match stop {
            Stop::Ending(ending) => {
                self.log.event(&format!("{ending:?}").to_lowercase());
                ending
            }
            Stop::ClientClosed => {
                self.log.event("closed by the client");
                Ending::Close
            }
            Stop::Failed(error) => {
                self.log.event(&format!("failed: {error}"));
                Ending::Cut
            }
        };
        // A peer that is gone already cannot be told; nothing depends on it.
        match ending {
            Ending::Close => {
                drop(self.flush());
                if let Stream::Tls(tls) = &mut self.stream {
                    drop(tls.shutdown());
                }
                self.finish();
            }
            Ending::Cut => {
                drop(self.flush());
                self.finish();
            }
            Ending::Reset => {
                drop(SockRef::from(&*self.tcp).set_linger(Some(Duration::ZERO)));
            }
            Ending::Silence => {
                drop(self.flush());
                while self.fill().is_ok() {
                    self.taken = self.input.len();
                }
            }
            Ending::Deaf => {
                drop(self.flush());
                while self.pause(PAUSE_SLICE).is_ok() {}
            }
        }
    }

    /// Sends a FIN and waits a while for that of the client.
    fn finish(&self) {
        drop(self.tcp.shutdown(Shutdown::Write));
        drop(self.tcp.set_read_timeout(Some(PAUSE_SLICE)));
        let end = Instant::now() + DRAIN_LIMIT;
        let mut scratch = [0; READ_SIZE];
        while Instant::now() < end && !self.stopping.load(Ordering::Relaxed) {
            match self.tcp.as_ref().read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
