//! A raw client for the tests: it says exactly what it is told, and reads
//! replies.  No cleverness, so that what is seen is what the server does.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream};
use smtpmail_test_server::{Options, Server};

/// Longer than any answer takes that comes at all.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// A server with a spool of its own, removed at the end.
pub struct Fixture {
    server: Option<Server>,
}

impl std::ops::Deref for Fixture {
    type Target = Server;
    fn deref(&self) -> &Server {
        self.server.as_ref().expect("taken in drop only")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let spool = server.spool().to_owned();
            drop(server);
            drop(std::fs::remove_dir_all(spool));
        }
    }
}

/// Options with a fresh spool.
pub fn options() -> Options {
    static SPOOLS: AtomicU64 = AtomicU64::new(0);
    let number = SPOOLS.fetch_add(1, Ordering::Relaxed);
    Options::new(
        std::env::temp_dir().join(format!("smtpmail-server-{}-{number}", std::process::id())),
    )
}

pub fn start(options: Options) -> Fixture {
    Fixture {
        server: Some(Server::start(options).expect("a server")),
    }
}

/// A connection in clear text or within TLS.
pub struct Client<S: Read + Write> {
    pub stream: S,
    input: Vec<u8>,
}

pub fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a listening server");
    stream
        .set_read_timeout(Some(READ_LIMIT))
        .expect("a time limit");
    stream
}

/// Connects and reads the greeting.
pub fn connect(server: &Server) -> Client<TcpStream> {
    let mut client = Client::new(tcp(server.port()));
    assert!(client.reply().starts_with("220 "), "a greeting");
    client
}

/// Connects and says EHLO.
pub fn greeted(server: &Server) -> Client<TcpStream> {
    let mut client = connect(server);
    assert_eq!(client.ask("EHLO client.example")[..3], *"250");
    client
}

/// A handshake that trusts this CA only and checks the name `localhost`.
pub fn handshake(
    stream: TcpStream,
    ca: &Path,
    identity: Option<&Path>,
) -> Result<Client<SslStream<TcpStream>>, String> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
    builder.set_cert_store(
        openssl::x509::store::X509StoreBuilder::new()
            .expect("store")
            .build(),
    );
    builder.set_ca_file(ca).expect("the CA file");
    if let Some(identity) = identity {
        let file = |name| identity.join(name);
        builder
            .set_certificate_file(file("client.pem"), SslFiletype::PEM)
            .expect("a certificate");
        builder
            .set_private_key_file(file("client.key"), SslFiletype::PEM)
            .expect("a key");
    }
    let stream = builder
        .build()
        .connect("localhost", stream)
        .map_err(|error| format!("{error:?}"))?;
    Ok(Client::new(stream))
}

impl<S: Read + Write> Client<S> {
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            input: Vec::new(),
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("an open connection");
    }

    /// Says a command, reads its reply.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.reply()
    }

    /// Says a command and expects a reply that starts so.
    pub fn expect(&mut self, command: &str, start: &str) {
        let reply = self.ask(command);
        assert!(
            reply.starts_with(start),
            "{command:?} gave {reply:?}, not {start:?}"
        );
    }

    /// The next reply, whole.
    pub fn reply(&mut self) -> String {
        self.try_reply()
            .unwrap_or_else(|error| panic!("no reply: {error}"))
    }

    /// The next reply, or why there is none.
    pub fn try_reply(&mut self) -> io::Result<String> {
        let mut start = 0;
        loop {
            while let Some(length) = self.input[start..]
                .windows(2)
                .position(|two| two == b"\r\n")
            {
                let line = &self.input[start..start + length];
                start += length + 2;
                if line.get(3) != Some(&b'-') {
                    let reply = self.input.drain(..start).collect();
                    return String::from_utf8(reply).map_err(io::Error::other);
                }
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => self.input.extend_from_slice(&piece[..length]),
            }
        }
    }

    /// All that still comes until the server closes.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = std::mem::take(&mut self.input);
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// Envelope and DATA; what is said then is the text.
    pub fn begin_data(&mut self) {
        self.expect("MAIL FROM:<a@example.org>", "250");
        self.expect("RCPT TO:<b@example.org>", "250");
        self.expect("DATA", "354");
    }
}
