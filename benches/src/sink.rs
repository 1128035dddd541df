//! An SMTP server that does as little as one can (RFC 5321, 2920, 3030): it
//! keeps what it got and looks at it when it is asked for a report.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use memchr::memmem;
use openssl::sha::sha256;
use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

use crate::Report;

/// Octets taken from a connection at once.
const READ_SIZE: usize = 256 * 1024;

const EHLO_REPLY: &[u8] = b"250-sink.example.org\r\n250-PIPELINING\r\n250-8BITMIME\r\n\
    250-SIZE 104857600\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 CHUNKING\r\n";

const END_OF_DATA: &[u8] = b"\r\n.\r\n";

#[derive(Default)]
struct Taken {
    messages: Vec<Message>,
    connections: usize,
    /// Times that a connection had said something and waited for its client.
    waits: usize,
}

struct Message {
    recipients: usize,
    text: Vec<u8>,
    is_stuffed: bool,
}

/// Serve each connection to `listener` on a thread of its own, under TLS with
/// the certificate and key in `files`.
///
/// # Errors
/// The files are not what they should be.
pub(crate) fn start(listener: TcpListener, files: Option<(&str, &str)>) -> io::Result<Report> {
    let acceptor = match files {
        None => None,
        Some((certificate, key)) => {
            let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
            builder.set_certificate_chain_file(certificate)?;
            builder.set_private_key_file(key, SslFiletype::PEM)?;
            Some(builder.build())
        }
    };
    let taken = Arc::new(Mutex::new(Taken::default()));
    let all = taken.clone();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (acceptor, taken) = (acceptor.clone(), taken.clone());
            thread::spawn(move || {
                drop(socket.set_nodelay(true));
                // A client that goes away is its own affair.
                drop(serve_connection(socket, acceptor, &taken));
            });
        }
    });
    Ok(Box::new(move || {
        let mut taken = all.lock().unwrap_or_else(PoisonError::into_inner);
        report(&std::mem::take(&mut *taken))
    }))
}

fn serve_connection(
    socket: TcpStream,
    acceptor: Option<SslAcceptor>,
    taken: &Mutex<Taken>,
) -> io::Result<()> {
    match acceptor {
        None => Session::new(socket, taken).serve(),
        Some(acceptor) => {
            let stream = acceptor.accept(socket).map_err(io::Error::other)?;
            Session::new(stream, taken).serve()
        }
    }
}

fn report(taken: &Taken) -> String {
    let mut messages = String::new();
    for message in &taken.messages {
        let text = match message.is_stuffed {
            true => unstuff(&message.text),
            false => message.text.clone(),
        };
        let mut digest = String::new();
        for octet in sha256(&text) {
            let _ = write!(digest, "{octet:02x}");
        }
        let comma = if messages.is_empty() { "" } else { "," };
        let recipients = message.recipients;
        let _ = write!(
            messages,
            r#"{comma}{{"recipients":{recipients},"octets":{},"sha256":"{digest}"}}"#,
            text.len()
        );
    }
    format!(
        r#"{{"messages":[{messages}],"connections":{},"waits":{}}}"#,
        taken.connections, taken.waits
    )
}

/// The text without the dots that were added (RFC 5321 §4.5.2).
fn unstuff(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b".").unwrap_or(text);
    let mut plain = Vec::with_capacity(text.len());
    let mut start = 0;
    for line in memmem::find_iter(text, b"\r\n.") {
        plain.extend_from_slice(&text[start..line + 2]);
        start = line + 3;
    }
    plain.extend_from_slice(&text[start..]);
    plain
}

struct Session<'a, S> {
    stream: S,
    taken: &'a Mutex<Taken>,
    /// What came and was not looked at, from `at` on.
    input: Vec<u8>,
    at: usize,
    /// Replies that wait until the client's flight is read (RFC 2920 §3.2).
    replies: Vec<u8>,
    recipients: usize,
    chunks: Vec<u8>,
}

impl<'a, S: Read + Write> Session<'a, S> {
    fn new(stream: S, taken: &'a Mutex<Taken>) -> Self {
        Self {
            stream,
            taken,
            input: Vec::new(),
            at: 0,
            replies: b"220 sink.example.org ESMTP\r\n".to_vec(),
            recipients: 0,
            chunks: Vec::new(),
        }
    }

    fn serve(mut self) -> io::Result<()> {
        self.lock().connections += 1;
        loop {
            let line = self.line()?;
            let verb = line
                .split(|octet| *octet == b' ')
                .next()
                .unwrap_or_default();
            match verb.to_ascii_uppercase().as_slice() {
                b"EHLO" => self.replies.extend_from_slice(EHLO_REPLY),
                b"HELO" | b"NOOP" => self.reply("250 2.0.0 ok"),
                b"MAIL" | b"RSET" => {
                    self.recipients = 0;
                    self.chunks.clear();
                    self.reply("250 2.0.0 ok");
                }
                b"RCPT" => {
                    self.recipients += 1;
                    self.reply("250 2.1.5 ok");
                }
                b"DATA" => {
                    self.reply("354 go on");
                    let text = self.data()?;
                    self.keep(text, true);
                }
                b"BDAT" => self.bdat(&line)?,
                b"QUIT" => {
                    self.reply("221 2.0.0 bye");
                    return self.stream.write_all(&self.replies);
                }
                _ => self.reply("500 5.5.2 what?"),
            }
        }
    }

    fn reply(&mut self, line: &str) {
        self.replies.extend_from_slice(line.as_bytes());
        self.replies.extend_from_slice(b"\r\n");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&mut self, text: Vec<u8>, is_stuffed: bool) {
        let recipients = std::mem::take(&mut self.recipients);
        self.lock().messages.push(Message {
            recipients,
            text,
            is_stuffed,
        });
        self.reply("250 2.0.0 queued");
    }

    /// Read more, after saying what there is to say.
    fn more(&mut self) -> io::Result<()> {
        if !self.replies.is_empty() {
            self.stream.write_all(&self.replies)?;
            self.replies.clear();
            self.lock().waits += 1;
        }
        if self.at == self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        let end = self.input.len();
        self.input.resize(end + READ_SIZE, 0);
        let count = self.stream.read(&mut self.input[end..])?;
        self.input.truncate(end + count);
        match count {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = memmem::find(&self.input[self.at..], b"\r\n") {
                let line = self.input[self.at..self.at + end].to_vec();
                self.at += end + 2;
                return Ok(line);
            }
            self.more()?;
        }
    }

    /// All up to the final dot, as it came.
    fn data(&mut self) -> io::Result<Vec<u8>> {
        // An empty text is its final dot alone: the CRLF before it is that of DATA.
        let mut looked = self.at;
        loop {
            if self.input[self.at..].starts_with(&END_OF_DATA[2..]) {
                self.at += END_OF_DATA.len() - 2;
                return Ok(Vec::new());
            }
            if let Some(end) = memmem::find(&self.input[looked..], END_OF_DATA) {
                let end = looked + end + 2;
                let text = self.input[self.at..end].to_vec();
                self.at = end + END_OF_DATA.len() - 2;
                return Ok(text);
            }
            let unseen = self.input.len().saturating_sub(END_OF_DATA.len() - 1);
            let offset = unseen.max(looked) - self.at;
            self.more()?;
            looked = self.at + offset;
        }
    }

    fn bdat(&mut self, line: &[u8]) -> io::Result<()> {
        let mut words = line.split(|octet| *octet == b' ').skip(1);
        let length = words
            .next()
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        let is_last = words.next().is_some();
        let mut left = length;
        while left > 0 {
            if self.at == self.input.len() {
                self.more()?;
            }
            let count = left.min(self.input.len() - self.at);
            let chunk = &self.input[self.at..self.at + count];
            self.chunks.extend_from_slice(chunk);
            self.at += count;
            left -= count;
        }
        if is_last {
            let text = std::mem::take(&mut self.chunks);
            self.keep(text, false);
        } else {
            self.reply("250 2.0.0 ok");
        }
        Ok(())
    }
}
