//! What the server keeps on disk: each message and its envelope, each written
//! under another name and renamed, and the transcript of each session.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::content::Facts;
use crate::json;

/// One stored message and its envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number in the spool, from 1.
    pub number: u64,
    /// The file with its exact bytes, dots un-stuffed, line ends as sent.
    pub path: PathBuf,
    /// The reverse-path without brackets; empty for `<>`.
    pub from: String,
    /// The accepted forward-paths without brackets, in order.
    pub to: Vec<String>,
    /// The parameters of MAIL, as sent.
    pub mail_params: Vec<String>,
    /// The parameters of each accepted RCPT, as sent.
    pub rcpt_params: Vec<Vec<String>>,
    /// Who logged in.
    pub auth_user: Option<String>,
    /// Whether it came within TLS.
    pub tls: bool,
    /// The common name of the client's certificate.
    pub client_certificate: Option<String>,
    /// The name that the client gave in EHLO or HELO.
    pub helo: String,
    /// The number of the session.
    pub session: u64,
    /// `data` or `bdat`.
    pub via: &'static str,
    /// Bytes of the message.
    pub size: u64,
    /// Lower-case hexadecimal SHA-256 of the message.
    pub sha256: String,
    /// What its bytes look like.
    pub facts: Facts,
}

impl Stored {
    /// The exact bytes of the message, read from the spool.
    ///
    /// # Errors
    /// Those of reading the file.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.path)
    }

    fn to_json(&self) -> String {
        json::object(&[
            ("from", json::string(&self.from)),
            ("to", json::strings(&self.to)),
            ("mail_params", json::strings(&self.mail_params)),
            (
                "rcpt_params",
                json::array(self.rcpt_params.iter().map(|one| json::strings(one))),
            ),
            ("auth_user", json::optional(self.auth_user.as_deref())),
            ("tls", self.tls.to_string()),
            (
                "client_certificate",
                json::optional(self.client_certificate.as_deref()),
            ),
            ("helo", json::string(&self.helo)),
            ("session", self.session.to_string()),
            ("via", json::string(self.via)),
            ("size", self.size.to_string()),
            ("sha256", json::string(&self.sha256)),
            ("bare_cr", self.facts.bare_cr.to_string()),
            ("bare_lf", self.facts.bare_lf.to_string()),
            ("eight_bit", self.facts.eight_bit.to_string()),
            ("longest_line", self.facts.longest_line.to_string()),
        ])
    }
}

/// The spool directory of one server.  Numbers go on from what is there.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    next_message: AtomicU64,
    next_session: AtomicU64,
    stored: Mutex<Vec<Stored>>,
}

impl Spool {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let highest = |prefix: &str, suffix: &str| -> io::Result<u64> {
            let mut highest = 0;
            for entry in fs::read_dir(directory)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                let number = name
                    .strip_prefix(prefix)
                    .and_then(|name| name.strip_suffix(suffix));
                highest = highest.max(number.and_then(|digits| digits.parse().ok()).unwrap_or(0));
            }
            Ok(highest)
        };
        Ok(Self {
            directory: directory.to_owned(),
            next_message: AtomicU64::new(highest("", ".eml")? + 1),
            next_session: AtomicU64::new(highest("session-", ".log")? + 1),
            stored: Mutex::default(),
        })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the message, then its envelope: who sees the envelope finds
    /// the message whole.  Number and path are set here.
    pub(crate) fn store(&self, mut message: Stored, bytes: &[u8]) -> io::Result<()> {
        message.number = self.next_message.fetch_add(1, Ordering::Relaxed);
        message.path = self.directory.join(format!("{:04}.eml", message.number));
        write_atomically(&message.path, bytes)?;
        let envelope = message.to_json() + "\n";
        write_atomically(&message.path.with_extension("json"), envelope.as_bytes())?;
        crate::lock(&self.stored).push(message);
        Ok(())
    }

    pub(crate) fn stored(&self) -> Vec<Stored> {
        crate::lock(&self.stored).clone()
    }

    pub(crate) fn new_session(&self) -> io::Result<(u64, Transcript)> {
        let number = self.next_session.fetch_add(1, Ordering::Relaxed);
        let file = File::create(self.transcript_path(number))?;
        Ok((number, Transcript { file }))
    }

    pub(crate) fn transcript_path(&self, session: u64) -> PathBuf {
        self.directory.join(format!("session-{session}.log"))
    }
}

/// Writes a file under another name and renames it, so that nobody sees half of it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{write}.part", std::process::id()));
    let part = path.with_file_name(name);
    fs::write(&part, bytes)?;
    fs::rename(&part, path)
}

/// The log of one session: `C: ` and `S: ` lines of the dialogue, `*: ` events.
#[derive(Debug)]
pub(crate) struct Transcript {
    file: File,
}

impl Transcript {
    pub(crate) fn client(&mut self, line: &[u8]) {
        self.write("C", line);
    }

    /// Logs what the server says, line by line.
    pub(crate) fn server(&mut self, bytes: &[u8]) {
        let text = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            self.write("S", &rest[..at]);
            rest = &rest[at + 2..];
        }
        self.write("S", rest);
    }

    pub(crate) fn event(&mut self, text: &str) {
        self.write("*", text.as_bytes());
    }

    /// Control characters are escaped: a line of the log is one line.
    /// A log that cannot be written must not change what the server does.
    fn write(&mut self, who: &str, line: &[u8]) {
        let mut text = format!("{who}: ");
        for character in String::from_utf8_lossy(line).chars() {
            if character.is_control() {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        text.push('\n');
        drop(self.file.write_all(text.as_bytes()));
    }
}
