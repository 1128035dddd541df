//! What is remembered of servers, in a file that people can read: that TLS was
//! spoken with them, which certificates were trusted by hand, and by which
//! mechanism an account logged in.
//!
//! ```text
//! smtpmail-trust 1
//! tls mail.example.org 587 2026-11-22
//! pin localhost 1025 2026-11-22 5f:8a:…
//! login mail.example.org 587 2026-11-22 SCRAM-SHA-256 ada@example.org
//! ```
//!
//! The file is data and may be hostile: it must be ours, a plain file, writable by
//! nobody else, of a sensible size, and understood to the last line. Where it is
//! not, that is an error and not an empty file: a forgotten pin would be a hole.
//! Comments (`#`) and blank lines stay. A change is made under a lock and replaces
//! the file at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::words::words;
use crate::calendar::civil_date;

/// The first word of the file.
const MAGIC: &str = "smtpmail-trust";

/// The form that is understood.
const VERSION: u32 = 1;

/// Most octets of the file: ten thousand servers.
const MAX_FILE: u64 = 1 << 20;

/// Longest wait for another Emacs that changes the file; that takes it milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// Between two looks at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Longest user name or mechanism kept, in octets: as long as a line may be.
const MAX_WORD: usize = 1000;

/// One thing remembered of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A user logged in by this mechanism keyword.
    Login {
        /// The user name.
        user: String,
        /// The keyword of the strongest mechanism so far.
        mechanism: String,
    },
    /// The certificate with this SHA-256 was trusted by hand: lower case
    /// hexadecimal with colons.
    Pin(String),
    /// TLS was spoken.
    Tls,
}

/// A fact and whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Lower case, without final dot.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// The day on which it was first seen, as YYYY-MM-DD in UTC.
    pub since: String,
    /// What.
    pub fact: Fact,
}

/// A line of the file.
#[derive(Clone, Debug)]
enum Line {
    Comment(String),
    Entry(Entry),
}

/// All that is remembered.
#[derive(Clone, Debug, Default)]
pub struct KnownServers {
    lines: Vec<Line>,
}

impl KnownServers {
    /// Read the file; nothing is remembered where there is none.
    ///
    /// # Errors
    /// A sentence that names the file: it cannot be read, is not a safe file, or is
    /// not understood.
    pub fn load(path: &Path) -> Result<Self, String> {
        read(path)
            .and_then(|text| Self::parse(&text))
            .map_err(|reason| told(path, &reason))
    }

    /// Everything, in the order of the file.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.lines.iter().filter_map(|line| match line {
            Line::Comment(_) => None,
            Line::Entry(entry) => Some(entry),
        })
    }

    /// What is remembered of one server.
    pub fn of<'a>(&'a self, host: &str, port: u16) -> impl Iterator<Item = &'a Fact> {
        let host = canonical(host);
        self.entries()
            .filter(move |entry| entry.host == host && entry.port == port)
            .map(|entry| &entry.fact)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().enumerate();
        match lines.next() {
            None => return Ok(Self::default()),
            Some((_, first)) => check_version(first)?,
        }
        let lines = lines.map(|(index, line)| {
            parse_line(line).ok_or_else(|| format!("line {} is not understood", index + 1))
        });
        Ok(Self {
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    fn to_text(&self) -> String {
        let mut text = format!("{MAGIC} {VERSION}\n");
        for line in &self.lines {
            match line {
                Line::Comment(comment) => text.push_str(comment),
                Line::Entry(entry) => text.push_str(&entry.to_line()),
            }
            text.push('\n');
        }
        text
    }

    /// Put `fact` in the place of what it replaces; whether that changed anything.
    fn add(&mut self, host: &str, port: u16, fact: Fact) -> bool {
        let host = canonical(host);
        let fits = |entry: &Entry| entry.host == host && entry.port == port;
        if self
            .entries()
            .any(|entry| fits(entry) && entry.fact == fact)
        {
            return false;
        }
        self.lines.retain(|line| match line {
            Line::Entry(entry) if fits(entry) => match (&entry.fact, &fact) {
                (Fact::Pin(_), Fact::Pin(_)) => false,
                (Fact::Login { user: old, .. }, Fact::Login { user: new, .. }) => old != new,
                _ => true,
            },
            _ => true,
        });
        self.lines.push(Line::Entry(Entry {
            host,
            port,
            since: today(),
            fact,
        }));
        true
    }

    fn forget(&mut self, host: &str, port: u16) -> bool {
        let host = canonical(host);
        let before = self.lines.len();
        self.lines.retain(
            |line| !matches!(line, Line::Entry(entry) if entry.host == host && entry.port == port),
        );
        self.lines.len() < before
    }
}

/// Remember `fact` of the server, durably.
///
/// # Errors
/// A sentence that names the file; it is as it was then.
pub fn remember(path: &Path, host: &str, port: u16, fact: Fact) -> Result<(), String> {
    change(path, |known| known.add(host, port, fact)).map(drop)
}

/// Forget all of the server; whether anything was known.
///
/// # Errors
/// A sentence that names the file; it is as it was then.
pub fn forget(path: &Path, host: &str, port: u16) -> Result<bool, String> {
    change(path, |known| known.forget(host, port))
}

impl Entry {
    fn to_line(&self) -> String {
        let Self {
            host, port, since, ..
        } = self;
        match &self.fact {
            Fact::Login { user, mechanism } => {
                let user = escaped(user);
                format!("login {host} {port} {since} {mechanism} {user}")
            }
            Fact::Pin(fingerprint) => format!("pin {host} {port} {since} {fingerprint}"),
            Fact::Tls => format!("tls {host} {port} {since}"),
        }
    }
}

/// How a host is written here: names know no case, and the final dot says nothing.
fn canonical(host: &str) -> String {
    let host = host.strip_suffix('.').unwrap_or(host);
    escaped(&host.to_ascii_lowercase())
}

fn told(path: &Path, reason: &str) -> String {
    format!(
        "the file of known servers, {}, cannot be used: {reason}",
        path.display()
    )
}

fn check_version(line: &str) -> Result<(), String> {
    let version = line
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_prefix(' '))
        .and_then(|version| version.trim_end().parse::<u32>().ok());
    match version {
        Some(VERSION) => Ok(()),
        Some(version) => Err(format!("it is of version {version}, which is newer")),
        None => Err(format!("it does not begin with \"{MAGIC} {VERSION}\"")),
    }
}

fn parse_line(line: &str) -> Option<Line> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Some(Line::Comment(line.to_owned()));
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.iter().any(|word| word.len() > MAX_WORD) {
        return None;
    }
    let (fact, host, port, since) = match words.as_slice() {
        ["tls", host, port, since] => (Fact::Tls, host, port, since),
        ["pin", host, port, since, fingerprint] if is_fingerprint(fingerprint) => {
            let fact = Fact::Pin(fingerprint.to_ascii_lowercase());
            (fact, host, port, since)
        }
        ["login", host, port, since, mechanism, user] => {
            let fact = Fact::Login {
                user: unescaped(user)?,
                mechanism: (*mechanism).to_owned(),
            };
            (fact, host, port, since)
        }
        _ => return None,
    };
    Some(Line::Entry(Entry {
        host: canonical(&unescaped(host)?),
        port: port.parse().ok().filter(|port| *port > 0)?,
        since: (*since).to_owned(),
        fact,
    }))
}

/// 32 octets in hexadecimal, with colons.
fn is_fingerprint(text: &str) -> bool {
    text.len() == 32 * 3 - 1
        && text
            .split(':')
            .all(|octet| octet.len() == 2 && octet.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// One word of visible ASCII: the rest, and the sign itself, as `%XX`.
fn escaped(text: &str) -> String {
    let mut word = String::new();
    for octet in text.bytes() {
        match octet {
            b'%' | 0..=b' ' | 0x7f.. => word.push_str(&format!("%{octet:02X}")),
            _ => word.push(char::from(octet)),
        }
    }
    word
}

fn unescaped(word: &str) -> Option<String> {
    let mut octets = Vec::new();
    let mut parts = word.split('%');
    octets.extend(parts.next()?.bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend(rest.bytes());
    }
    String::from_utf8(octets).ok()
}

fn today() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    date(seconds)
}

/// The day of a time, YYYY-MM-DD.
fn date(unix_seconds: u64) -> String {
    let (year, month, day) = civil_date(unix_seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The text of a safe file; an empty one where there is none.
fn read(path: &Path) -> Result<String, String> {
    let mut options = OpenOptions::new();
    // A FIFO must not hold us up.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    options.read(true).custom_flags(flags.bits() as i32);
    let file = match options.open(path) {
        // Or there can be no such file.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return match fs::symlink_metadata(path) {
                Ok(_) => Err("it is a symbolic link to nothing".into()),
                Err(_) => Ok(String::new()),
            };
        }
        other => other.map_err(|error| words(&error))?,
    };
    check_safe(path, &file)?;
    let mut octets = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut octets)
        .map_err(|error| words(&error))?;
    if octets.len() as u64 > MAX_FILE {
        return Err("it is far too large".into());
    }
    String::from_utf8(octets).map_err(|_| "it is not text".into())
}

/// Refuse what somebody else could have put there or could change.
fn check_safe(path: &Path, file: &File) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    let facts = file.metadata().map_err(|error| words(&error))?;
    if !facts.is_file() {
        return Err("it is not a plain file".into());
    }
    if facts.uid() != user {
        return Err("it belongs to another user".into());
    }
    if facts.mode() & 0o022 != 0 {
        return Err("others may write to it; chmod go-w would mend that".into());
    }
    if facts.len() > MAX_FILE {
        return Err("it is far too large".into());
    }
    // People keep such files elsewhere and link to them; nobody else may.
    match fs::symlink_metadata(path) {
        Ok(link) if link.is_symlink() && link.uid() != user => {
            Err("it is a symbolic link of another user".into())
        }
        _ => Ok(()),
    }
}

/// Let `edit` change what is known, and write it if that says true.
fn change(path: &Path, edit: impl FnOnce(&mut KnownServers) -> bool) -> Result<bool, String> {
    let told = |reason: &str| told(path, reason);
    let told_error = |error: io::Error| told(&words(&error));
    // Through a link, lest the link be replaced by a file.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(told_error(error)),
    };
    let directory = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(told_error)?;
    let _lock = lock(directory).map_err(told_error)?;
    let mut known = KnownServers::load(path)?;
    if !edit(&mut known) {
        return Ok(false);
    }
    let text = known.to_text();
    if text.len() as u64 > MAX_FILE {
        return Err(told("it would become far too large"));
    }
    replace(&target, directory, text.as_bytes()).map_err(told_error)?;
    Ok(true)
}

/// The directory, locked until dropped: the file itself is replaced by each change.
fn lock(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(directory.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(directory),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR)
                if Instant::now() < end =>
            {
                std::thread::sleep(LOCK_PAUSE);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Write a new file and give it the name of the old one.
fn replace(target: &Path, directory: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new: PathBuf = directory.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    // Ours, of a time when a process of this number was killed: we hold the lock.
    let _ = fs::remove_file(&new);
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&new, target))
        .inspect_err(|_| drop(fs::remove_file(&new)))?;
    // The name is durable with the directory only; the content is safe anyway.
    let _ = File::open(directory).and_then(|directory| directory.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests;
