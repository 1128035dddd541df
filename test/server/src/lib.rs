//! A scriptable SMTP server for tests, benches and the demo: a real one, as
//! strict as the RFCs, that misbehaves where a [`Rule`] says so.
//!
//! | module | what it holds |
//! |---|---|
//! | `options` | what a server can be told; the command line |
//! | `script` | where it misbehaves, and how |
//! | `certs` | certificates made at run time |
//! | `spool` | messages, envelopes and transcripts on disk |
//! | `channel` | one connection: bytes, TLS, endings |
//! | `session` | one session: the loop over commands, EHLO, STARTTLS |
//! | `login` | AUTH |
//! | `transaction` | MAIL, RCPT, DATA, BDAT |
//! | `auth`, `content`, `path`, `json` | pure: SASL, un-stuffing, syntax, output |
//!
//! It listens on the loopback interface only; a thread serves a connection.

#![deny(missing_docs)]
#![warn(rust_2018_idioms)]

mod auth;
mod certs;
mod channel;
mod content;
mod json;
mod login;
mod options;
mod parameters;
mod path;
mod scram;
mod script;
mod session;
mod spool;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use certs::{CertKind, ClientCertificate};
pub use content::Facts;
pub use options::{Bind, CommandLine, Options, USAGE};
pub use script::{Action, Ending, Place, Rule};
pub use spool::Stored;

use certs::Certificates;
use channel::Channel;
use script::Script;
use session::Session;
use spool::Spool;

/// How often a port that is free on IPv4 may turn out taken on IPv6.
const BIND_ATTEMPTS: usize = 20;

/// A server that is dropped gives its sessions so long to see it.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How often waiting looks again.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sessions begun.
    pub sessions: u64,
    /// Messages stored.
    pub messages: u64,
    /// Commands by verb; `unknown` for those that are none.
    pub commands: BTreeMap<&'static str, u64>,
    /// AUTH commands.
    pub auth_attempts: u64,
    /// How often the server had replied and then waited: the round trips that
    /// clients took.  A wait counts once the next command is served.
    pub turns: u64,
}

impl Report {
    /// One line of JSON.
    pub fn to_json(&self) -> String {
        let commands: Vec<(&str, String)> = self
            .commands
            .iter()
            .map(|(verb, count)| (*verb, count.to_string()))
            .collect();
        json::object(&[
            ("sessions", self.sessions.to_string()),
            ("messages", self.messages.to_string()),
            ("commands", json::object(&commands)),
            ("auth_attempts", self.auth_attempts.to_string()),
            ("turns", self.turns.to_string()),
        ])
    }
}

/// What the sessions of one server share.
struct Shared {
    options: Options,
    script: Script,
    certificates: Certificates,
    spool: Spool,
    report: Mutex<Report>,
    stopping: Arc<AtomicBool>,
    /// The sessions that are open.
    open: Mutex<HashMap<u64, Weak<TcpStream>>>,
    /// When the last session ended.
    quiet_since: Mutex<Instant>,
}

impl Shared {
    fn count(&self, change: impl FnOnce(&mut Report)) {
        change(&mut lock(&self.report));
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    port: u16,
    tls_port: Option<u16>,
    addresses: Vec<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
}

impl Server {
    /// Makes the certificates, listens and serves.
    ///
    /// # Errors
    /// When the spool cannot be written, or no port be had.
    pub fn start(options: Options) -> Result<Self, Box<dyn Error>> {
        let spool = Spool::open(&options.spool)?;
        let directory = options
            .certs
            .clone()
            .unwrap_or_else(|| options.spool.join("certs"));
        let certificates =
            Certificates::prepare(&directory, options.cert, options.client_certificate)?;
        let (bind, port) = (options.bind, options.port);
        let (ssl, also_ssl) = (options.ssl, options.also_ssl);
        let shared = Arc::new(Shared {
            script: Script::new(options.rules.clone()),
            options,
            certificates,
            spool,
            report: Mutex::default(),
            stopping: Arc::default(),
            open: Mutex::default(),
            quiet_since: Mutex::new(Instant::now()),
        });
        let mut server = Self {
            shared,
            port: 0,
            tls_port: ssl.then_some(0),
            addresses: Vec::new(),
            listeners: Vec::new(),
        };
        server.port = server.listen(bind, port, ssl)?;
        if ssl {
            server.tls_port = Some(server.port);
        } else if also_ssl {
            server.tls_port = Some(server.listen(bind, 0, true)?);
        }
        Ok(server)
    }

    fn listen(&mut self, bind: Bind, port: u16, implicit_tls: bool) -> io::Result<u16> {
        let listeners = bind_listeners(bind, port)?;
        let port = listeners[0].local_addr()?.port();
        for listener in listeners {
            self.addresses.push(listener.local_addr()?);
            let shared = Arc::clone(&self.shared);
            self.listeners.push(thread::spawn(move || {
                accept(&shared, &listener, implicit_tls)
            }));
        }
        Ok(port)
    }

    /// The port that speaks SMTP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that speaks TLS from the start, if there is one.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// The CA that clients must trust (PEM).
    pub fn ca_path(&self) -> &Path {
        &self.shared.certificates.ca_path
    }

    /// SHA-256 of the server's certificate, lower-case hexadecimal.
    pub fn certificate_sha256(&self) -> String {
        hexadecimal(&self.shared.certificates.fingerprint)
    }

    /// The spool directory.
    pub fn spool(&self) -> &Path {
        self.shared.spool.directory()
    }

    /// The messages that this server stored, in order.
    pub fn messages(&self) -> Vec<Stored> {
        self.shared.spool.stored()
    }

    /// How many sessions this server had.
    pub fn sessions(&self) -> u64 {
        self.report().sessions
    }

    /// The transcript of a session, by its number in the spool (from 1).
    ///
    /// # Errors
    /// Those of reading its file.
    pub fn transcript(&self, session: u64) -> io::Result<String> {
        std::fs::read_to_string(self.shared.spool.transcript_path(session))
    }

    /// What happened so far.
    pub fn report(&self) -> Report {
        lock(&self.shared.report).clone()
    }

    /// How long no session has been open; `None` while one is.
    pub fn quiet_for(&self) -> Option<Duration> {
        let open = lock(&self.shared.open);
        open.is_empty()
            .then(|| lock(&self.shared.quiet_since).elapsed())
    }

    /// Waits until no session is open; whether that came to pass in time.
    pub fn wait_until_quiet(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.quiet_for().is_none() {
            if Instant::now() > end {
                return false;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        true
    }

    /// The line that the program prints when it listens.
    pub fn to_json(&self) -> String {
        let ca: PathBuf = self
            .ca_path()
            .canonicalize()
            .unwrap_or_else(|_| self.ca_path().into());
        json::object(&[
            ("port", self.port.to_string()),
            (
                "tls_port",
                self.tls_port
                    .map_or_else(|| "null".to_owned(), |port| port.to_string()),
            ),
            ("ca", json::string(&ca.to_string_lossy())),
            ("cert_sha256", json::string(&self.certificate_sha256())),
            ("pid", std::process::id().to_string()),
        ])
    }
}

impl Drop for Server {
    /// Ends all sessions and listeners.
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for address in &self.addresses {
            // A connection wakes the listener, which then sees the flag.
            drop(TcpStream::connect(address));
        }
        for listener in self.listeners.drain(..) {
            drop(listener.join());
        }
        for stream in lock(&self.shared.open).values().filter_map(Weak::upgrade) {
            drop(stream.shutdown(Shutdown::Both));
        }
        self.wait_until_quiet(STOP_LIMIT);
    }
}

/// Takes a session off the list when its thread ends, however it does.
struct OpenSession {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        *lock(&self.shared.quiet_since) = Instant::now();
        lock(&self.shared.open).remove(&self.number);
    }
}

fn accept(shared: &Arc<Shared>, listener: &TcpListener, implicit_tls: bool) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        // A client that is gone before it was accepted is no session.
        let Ok(stream) = stream else { continue };
        let begun = shared.spool.new_session();
        let (number, log) = begun.unwrap_or_else(|error| panic!("no transcript: {error}"));
        let stream = Arc::new(stream);
        lock(&shared.open).insert(number, Arc::downgrade(&stream));
        shared.count(|report| report.sessions += 1);
        let open = OpenSession {
            shared: Arc::clone(shared),
            number,
        };
        thread::spawn(move || {
            let shared = Arc::clone(&open.shared);
            let delay = shared.options.delay_turn;
            if let Ok(channel) = Channel::new(stream, log, Arc::clone(&shared.stopping), delay) {
                Session::new(shared, number, channel).run(implicit_tls);
            }
        });
    }
}

/// Listeners on a free port, the same on all addresses.
fn bind_listeners(bind: Bind, port: u16) -> io::Result<Vec<TcpListener>> {
    let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    match bind {
        Bind::V4 => Ok(vec![TcpListener::bind((v4, port))?]),
        Bind::V6 => Ok(vec![TcpListener::bind((v6, port))?]),
        Bind::Both => {
            let mut attempts = 0;
            loop {
                let first = TcpListener::bind((v4, port))?;
                attempts += 1;
                match TcpListener::bind((v6, first.local_addr()?.port())) {
                    Ok(second) => return Ok(vec![first, second]),
                    Err(error) if attempts == BIND_ATTEMPTS => return Err(error),
                    Err(_) => {}
                }
            }
        }
    }
}

/// A lock that outlives a panic of another thread: what it guards is counters
/// and lists, whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lower-case hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
