//! Bytes from the server in, [`Reply`]s out; bounded in every direction.
//!
//! Nothing here knows which command a reply answers: that is the dialogue's.
//! RFC 5321 §4.2 (form of a reply), RFC 2034 and RFC 3463 (enhanced status).

use std::fmt;
use std::ops::Range;

use super::secret::Secret;
use super::visible::visible;

/// Longest reply line accepted, in octets with its CRLF. RFC 5321 §4.5.3.1.5
/// says 512; servers with long SASL challenges and lists of names exceed it
/// (RFC 4954 §4 allows 12288 octets for a challenge).
pub const MAX_LINE: usize = 12 * 1024 + 64;

/// Most lines of one reply. The longest EHLO replies seen have about 30.
pub const MAX_LINES: usize = 256;

/// Most octets of one reply, all lines together.
pub const MAX_REPLY: usize = 64 * 1024;

/// Most lines beginning with `0` (sendmail's `050` after VERB) before a reply.
pub const MAX_SKIPPED_LINES: usize = 10_000;

/// Most octets of reply text that [`Reply::text`] shows.
const MAX_SHOWN: usize = 2048;

/// Shortest text looked for in replies: shorter ones, such as `=`, are no secrets
/// and stand anywhere.
const MIN_SECRET: usize = 4;

/// What is shown in the place of a secret.
const OMITTED: &[u8; 9] = b"<omitted>";

/// An enhanced status code `class.subject.detail` (RFC 3463 §2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct EnhancedStatus {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl EnhancedStatus {
    /// The status at the start of a reply line's text, if one stands there.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let word = text.split(|b| *b == b' ').next()?;
        let mut parts = word.split(|b| *b == b'.').map(|digits| {
            let fits = (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            fits.then(|| {
                digits
                    .iter()
                    .fold(0u16, |n, d| n * 10 + u16::from(d - b'0'))
            })
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || !matches!(class, 2 | 4 | 5) {
            return None;
        }
        Some(Self {
            class: class as u8,
            subject,
            detail,
        })
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// What the first digit of a reply code says (RFC 5321 §4.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyClass {
    /// 2yz: done.
    Completed,
    /// 3yz: the server waits for more.
    Intermediate,
    /// 4yz: not now.
    Transient,
    /// 5yz: no.
    Permanent,
}

/// One whole reply of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// The text of each line, after the code and its separator.
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// A reply from its code (200 to 599) and lines; for tests and for replies
    /// remembered from elsewhere. At least one line is kept.
    pub fn new(code: u16, lines: Vec<Vec<u8>>) -> Self {
        debug_assert!((200..600).contains(&code));
        Self {
            code,
            lines: if lines.is_empty() {
                vec![Vec::new()]
            } else {
                lines
            },
        }
    }

    /// 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What the first digit says.
    pub fn class(&self) -> ReplyClass {
        match self.code / 100 {
            2 => ReplyClass::Completed,
            3 => ReplyClass::Intermediate,
            4 => ReplyClass::Transient,
            _ => ReplyClass::Permanent,
        }
    }

    /// The text of each line as the server sent it, without code and CRLF.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.lines.iter().map(Vec::as_slice)
    }

    /// The text of the first line.
    pub fn first_line(&self) -> &[u8] {
        self.lines.first().map_or(&[], Vec::as_slice)
    }

    /// The enhanced status, where its class agrees with the code (RFC 2034 §4).
    pub fn status(&self) -> Option<EnhancedStatus> {
        EnhancedStatus::parse(self.first_line())
            .filter(|status| u16::from(status.class) == self.code / 100)
    }

    /// The same reply with `<omitted>` in the place of each of `secrets`: some
    /// servers repeat what they did not understand.
    pub fn without(mut self, secrets: &[Secret]) -> Self {
        for line in &mut self.lines {
            for secret in secrets.iter().filter(|s| s.len() >= MIN_SECRET) {
                let mut from = 0;
                while let Some(at) = memchr::memmem::find(&line[from..], secret.expose()) {
                    let start = from + at;
                    line.splice(start..start + secret.len(), *OMITTED);
                    // What was put there is not searched: it may look the same.
                    from = start + OMITTED.len();
                }
            }
        }
        self
    }

    /// Code and text for people: lines joined by a blank, the repeated enhanced
    /// status said once, control characters visible, length bounded.
    pub fn text(&self) -> String {
        let status = self.status().map(|status| format!("{status} "));
        let mut text = self.code.to_string().into_bytes();
        for (number, line) in self.lines.iter().enumerate() {
            let repeated = status
                .as_ref()
                .filter(|s| number > 0 && line.starts_with(s.as_bytes()));
            let line = &line[repeated.map_or(0, String::len)..];
            if !line.is_empty() {
                text.push(b' ');
                text.extend_from_slice(line);
            }
        }
        visible(&text, MAX_SHOWN)
    }

    /// The reply as it stood on the wire, for the trace: a line each, control
    /// characters visible.
    pub fn trace_lines(&self) -> impl Iterator<Item = String> + '_ {
        let last = self.lines.len() - 1;
        self.lines.iter().enumerate().map(move |(number, line)| {
            let mut shown = self.code.to_string();
            shown.reserve(line.len());
            shown.push(if number < last { '-' } else { ' ' });
            shown.push_str(&visible(line, MAX_LINE));
            shown
        })
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.text())
    }
}

/// Why what came from the server is no reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// A line longer than [`MAX_LINE`].
    LineTooLong,
    /// More than [`MAX_LINES`] lines or [`MAX_REPLY`] octets in one reply, or
    /// more than [`MAX_SKIPPED_LINES`] lines to skip.
    TooLong,
    /// A line that does not begin with a code from 200 to 599, or whose code
    /// differs from the lines before it; the line, made visible.
    Malformed(String),
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => write!(f, "a reply line of more than {MAX_LINE} octets"),
            Self::TooLong => f.write_str("a reply without end"),
            Self::Malformed(line) => write!(f, "not an SMTP reply: {line}"),
        }
    }
}

/// Cuts the server's bytes into replies; keeps what is not yet whole.
#[derive(Default)]
pub struct ReplyReader {
    buffer: Vec<u8>,
    /// Octets at the start of `buffer` that were consumed.
    consumed: usize,
    /// Octets of the unconsumed rest already searched for a line end.
    searched: usize,
    /// The lines of the reply under way and their code.
    lines: Vec<Vec<u8>>,
    code: u16,
    octets: usize,
    skipped: usize,
}

impl ReplyReader {
    /// Take in what was read from the server.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.consumed > 0 {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether bytes are left that no reply has claimed yet.
    pub fn has_leftovers(&self) -> bool {
        self.consumed < self.buffer.len() || !self.lines.is_empty()
    }

    /// The code at the start of what no reply has claimed yet, where there is one.
    pub fn next_code(&self) -> Option<u16> {
        code(self.buffer.get(self.consumed..)?)
    }

    /// The next whole reply, or nothing until more is fed.
    pub fn next_reply(&mut self) -> Result<Option<Reply>, ReplyError> {
        while let Some(line) = self.next_line()? {
            if let Some(reply) = self.take_line(line)? {
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    /// Where in the buffer the next line is, without its end. RFC 5321 ends lines
    /// with CRLF; a lone LF is taken as an end too, as all clients do.
    fn next_line(&mut self) -> Result<Option<Range<usize>>, ReplyError> {
        let rest = &self.buffer[self.consumed..];
        match memchr::memchr(b'\n', &rest[self.searched..]) {
            None if rest.len() > MAX_LINE => Err(ReplyError::LineTooLong),
            None => {
                self.searched = rest.len();
                Ok(None)
            }
            Some(found) => {
                let end = self.searched + found;
                if end >= MAX_LINE {
                    return Err(ReplyError::LineTooLong);
                }
                let line = &rest[..end];
                let length = line.strip_suffix(b"\r").unwrap_or(line).len();
                let start = self.consumed;
                self.consumed += end + 1;
                self.searched = 0;
                Ok(Some(start..start + length))
            }
        }
    }

    fn take_line(&mut self, line: Range<usize>) -> Result<Option<Reply>, ReplyError> {
        let line = &self.buffer[line];
        let malformed = || ReplyError::Malformed(visible(line, 200));
        let code = code(line).ok_or_else(malformed)?;
        // The reply "250" without text or blank is legal (RFC 5321 §4.2).
        let last = match line.get(3) {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(malformed()),
        };
        // sendmail's VERB puts "050 ..." lines before the reply proper.
        if code < 100 && self.lines.is_empty() {
            self.skipped += 1;
            return if self.skipped > MAX_SKIPPED_LINES {
                Err(ReplyError::TooLong)
            } else {
                Ok(None)
            };
        }
        if !(200..600).contains(&code) || (!self.lines.is_empty() && code != self.code) {
            return Err(malformed());
        }
        self.octets += line.len();
        if self.lines.len() == MAX_LINES || self.octets > MAX_REPLY {
            return Err(ReplyError::TooLong);
        }
        self.code = code;
        self.lines.push(line.get(4..).unwrap_or_default().to_vec());
        if !last {
            return Ok(None);
        }
        self.octets = 0;
        self.skipped = 0;
        Ok(Some(Reply {
            code,
            lines: std::mem::take(&mut self.lines),
        }))
    }
}

/// The three digits at the start of `line`.
fn code(line: &[u8]) -> Option<u16> {
    let digits = line.get(..3)?;
    let value = |n, digit: &u8| n * 10 + u16::from(digit - b'0');
    (digits.iter().all(u8::is_ascii_digit)).then(|| digits.iter().fold(0, value))
}

#[cfg(test)]
mod tests;
