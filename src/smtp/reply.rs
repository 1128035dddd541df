//! Bytes from the server in, [`Reply`]s out; bounded in every direction.
//!
//! Nothing here knows which command a reply answers: that is the dialogue's.
//! RFC 5321 §4.2 (form of a reply), RFC 2034 and RFC 3463 (enhanced status).

use std::fmt;

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
            let separator = if number < last { '-' } else { ' ' };
            format!("{}{separator}{}", self.code, visible(line, MAX_LINE))
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

    /// The next line without its end. RFC 5321 ends lines with CRLF; a lone LF
    /// is taken as an end too, as all clients do.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReplyError> {
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
                let line = rest[..end]
                    .strip_suffix(b"\r")
                    .unwrap_or(&rest[..end])
                    .to_vec();
                self.consumed += end + 1;
                self.searched = 0;
                Ok(Some(line))
            }
        }
    }

    fn take_line(&mut self, line: Vec<u8>) -> Result<Option<Reply>, ReplyError> {
        let malformed = || ReplyError::Malformed(visible(&line, 200));
        let code = code(&line).ok_or_else(malformed)?;
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
mod tests {
    use super::*;

    /// Code and lines of each reply expected.
    type Expected<'a> = &'a [(u16, &'a [&'a str])];
    type Outcome = Result<Vec<(u16, Vec<String>)>, ReplyError>;

    fn drain(
        reader: &mut ReplyReader,
        found: &mut Vec<(u16, Vec<String>)>,
    ) -> Result<(), ReplyError> {
        while let Some(reply) = reader.next_reply()? {
            let lines = reply
                .lines()
                .map(|l| String::from_utf8_lossy(l).into_owned())
                .collect();
            found.push((reply.code(), lines));
        }
        Ok(())
    }

    fn read_in_pieces(stream: &[u8], size: usize) -> Outcome {
        let (mut reader, mut found) = (ReplyReader::default(), Vec::new());
        for piece in stream.chunks(size.max(1)) {
            reader.feed(piece);
            drain(&mut reader, &mut found)?;
        }
        Ok(found)
    }

    /// Whole, byte by byte, and in odd pieces: the same replies.
    fn read(stream: &[u8]) -> Outcome {
        let whole = read_in_pieces(stream, stream.len());
        for size in [1, 2, 3, 7] {
            assert_eq!(read_in_pieces(stream, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn replies(expected: Expected<'_>) -> Outcome {
        Ok(expected
            .iter()
            .map(|(c, l)| (*c, l.iter().map(|s| s.to_string()).collect()))
            .collect())
    }

    #[test]
    fn forms_that_servers_send() {
        let table: &[(&[u8], Expected<'_>)] = &[
            (
                b"220 mx.example.org ESMTP\r\n",
                &[(220, &["mx.example.org ESMTP"])],
            ),
            (b"250\r\n", &[(250, &[""])]),
            (b"250 \r\n", &[(250, &[""])]),
            (b"250-a\r\n250-b\r\n250 c\r\n", &[(250, &["a", "b", "c"])]),
            (b"250-a\r\n250\r\n", &[(250, &["a", ""])]),
            (
                b"220-first part\r\n220 second\r\n",
                &[(220, &["first part", "second"])],
            ),
            (
                b"050 a\r\n050 b\r\n250 2.0.0 ok\r\n",
                &[(250, &["2.0.0 ok"])],
            ),
            (
                b"250 lone line feed\n354 go\n",
                &[(250, &["lone line feed"]), (354, &["go"])],
            ),
            (
                b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n",
                &[(250, &["ok"]), (550, &["5.1.1 no"]), (354, &["go"])],
            ),
            (b"250 ok\r\n25", &[(250, &["ok"])]),
        ];
        for (stream, expected) in table {
            assert_eq!(
                read(stream),
                replies(expected),
                "{}",
                String::from_utf8_lossy(stream)
            );
        }
    }

    #[test]
    fn what_was_read_is_let_go() {
        let mut reader = ReplyReader::default();
        for _ in 0..1000 {
            reader.feed(b"250 ok\r\n");
            assert!(reader.next_reply().is_ok_and(|reply| reply.is_some()));
        }
        assert!(reader.buffer.len() < 20, "{} octets", reader.buffer.len());
    }

    #[test]
    fn how_a_reply_is_shown() {
        let reply = Reply::new(250, vec![b"2.0.0 a\x07".to_vec(), b"2.0.0 b".to_vec()]);
        let lines: Vec<_> = reply.trace_lines().collect();
        assert_eq!(lines, ["250-2.0.0 a^G", "250 2.0.0 b"]);
        assert_eq!(format!("{reply:?}"), "Reply(250 2.0.0 a^G b)");
        let single: Vec<_> = Reply::new(354, vec![]).trace_lines().collect();
        assert_eq!(single, ["354 "]);
    }

    #[test]
    fn what_stands_behind_a_reply() {
        for (stream, behind) in [
            (&b"250 ok\r\n"[..], None),
            (b"250 ok\r\n55", None),
            (b"250 ok\r\n55x", None),
            (b"250 ok\r\n554", Some(554)),
            (b"250 ok\r\n421 bye\r\n", Some(421)),
        ] {
            let mut reader = ReplyReader::default();
            assert_eq!(reader.next_code(), None);
            reader.feed(stream);
            assert_eq!(reader.next_code(), Some(250));
            assert!(reader.next_reply().is_ok_and(|reply| reply.is_some()));
            assert_eq!(reader.next_code(), behind, "{stream:?}");
        }
    }

    #[test]
    fn what_is_no_reply() {
        for stream in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"25 ok\r\n",
            b"2500 ok\r\n",
            b"250x\r\n",
            b"250-a\r\n251 b\r\n",
            b"100 ok\r\n",
            b"150 ok\r\n",
            b"650 ok\r\n",
            b"-250 ok\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\x15\x03\x01\x00\x02\x02\n",
        ] {
            assert!(
                matches!(read(stream), Err(ReplyError::Malformed(_))),
                "{stream:?}"
            );
        }
    }

    #[test]
    fn floods_are_cut_off() {
        let long = [b"250 ".as_slice(), &vec![b'x'; MAX_LINE], b"\r\n"].concat();
        assert_eq!(
            read_in_pieces(&long, long.len()),
            Err(ReplyError::LineTooLong)
        );
        assert_eq!(read_in_pieces(&long, 1000), Err(ReplyError::LineTooLong));
        let fits = [b"250 ".as_slice(), &vec![b'x'; MAX_LINE - 6], b"\r\n"].concat();
        assert!(read_in_pieces(&fits, 1).is_ok());
        // Also before its end comes.
        let mut reader = ReplyReader::default();
        reader.feed(&long[..MAX_LINE]);
        assert_eq!(reader.next_reply(), Ok(None));
        reader.feed(b"x");
        assert_eq!(reader.next_reply(), Err(ReplyError::LineTooLong));
        // RFC 4954 §4: a challenge may be that long.
        let challenge = [b"334 ".as_slice(), &vec![b'x'; 12_288], b"\r\n"].concat();
        assert!(read_in_pieces(&challenge, challenge.len()).is_ok());
        let skipped = |lines| [b"050 x\r\n".repeat(lines), b"250 ok\r\n".to_vec()].concat();
        let most = skipped(MAX_SKIPPED_LINES);
        assert!(read_in_pieces(&most, most.len()).is_ok());
        let more = skipped(MAX_SKIPPED_LINES + 1);
        assert_eq!(read_in_pieces(&more, more.len()), Err(ReplyError::TooLong));
        let endless = b"250-x\r\n".repeat(MAX_LINES + 1);
        assert_eq!(read_in_pieces(&endless, 4096), Err(ReplyError::TooLong));
        let fat = [b"250-".as_slice(), &vec![b'x'; 8000], b"\r\n"]
            .concat()
            .repeat(9);
        assert_eq!(read_in_pieces(&fat, 4096), Err(ReplyError::TooLong));
        let skipped = b"050 x\r\n".repeat(MAX_SKIPPED_LINES + 1);
        assert_eq!(read_in_pieces(&skipped, 4096), Err(ReplyError::TooLong));
    }

    #[test]
    fn leftovers_are_seen() {
        let mut reader = ReplyReader::default();
        reader.feed(b"220 go ahead\r\n");
        assert!(reader.next_reply().unwrap().is_some());
        assert!(!reader.has_leftovers());
        reader.feed(b"220 go ahead\r\n250 in");
        assert!(reader.next_reply().unwrap().is_some());
        assert!(reader.has_leftovers());
    }

    #[test]
    fn enhanced_status_must_agree_with_the_code() {
        let status = |code, text: &str| Reply::new(code, vec![text.into()]).status();
        assert_eq!(
            status(550, "5.1.1 no"),
            Some(EnhancedStatus {
                class: 5,
                subject: 1,
                detail: 1
            })
        );
        assert_eq!(
            status(250, "2.10.250 ok").map(|s| s.to_string()).as_deref(),
            Some("2.10.250")
        );
        assert_eq!(status(550, "4.1.1 no"), None);
        assert_eq!(status(550, "5.1 no"), None);
        assert_eq!(status(550, "5.1.1.1 no"), None);
        assert_eq!(status(550, "5.1.1000 no"), None);
        assert_eq!(status(250, "3.0.0 odd"), None);
        assert_eq!(status(250, ""), None);
    }

    #[test]
    fn what_a_server_repeats_of_a_secret_is_left_out() {
        let reply = Reply::new(
            500,
            vec![b"what is AHRpbQBzZXNhbQ==, AHRpbQBzZXNhbQ==?".to_vec()],
        );
        let secrets = [Secret::from("AHRpbQBzZXNhbQ=="), Secret::from("=")];
        assert_eq!(
            reply.without(&secrets).text(),
            "500 what is <omitted>, <omitted>?"
        );
    }

    #[test]
    fn text_for_people() {
        let reply =
            |code, lines: &[&[u8]]| Reply::new(code, lines.iter().map(|l| l.to_vec()).collect());
        assert_eq!(
            reply(550, &[b"5.1.1 no such user", b"5.1.1 ask them"]).text(),
            "550 5.1.1 no such user ask them"
        );
        assert_eq!(reply(250, &[b""]).text(), "250");
        let hostile = reply(550, &[b"a\x1b[31m\x07b"]).text();
        assert!(!hostile.contains(['\x1b', '\x07']), "{hostile:?}");
        assert!(reply(550, &[&[b'x'; 9000]]).text().len() < 2200);
    }
}
