//! The text of a message on its way to the wire.
//!
//! It knows lines, dots and octets, and nothing of header fields or MIME; it
//! never changes a text beyond its line ends (RFC 5321 §2.3.8, §4.5.2; RFC
//! 1870; RFC 3030). The text is handed in with LF, CRLF or bare CR line ends
//! in any mixture; each of them leaves as CRLF, so no bare CR or LF ever does,
//! and no reader can find an end of the message that we did not write.

use memchr::{memchr, memchr2, memchr2_iter};

/// The longest line RFC 5321 §4.5.3.1.6 lets a client send, in octets without
/// the CRLF.
pub const LINE_LIMIT: usize = 998;

const CRLF: &[u8] = b"\r\n";

/// A dot on a line of its own (RFC 5321 §4.1.1.4).
const END_OF_DATA: &[u8] = b".\r\n";

/// What must be known of a text before MAIL is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Octets with CRLF line ends, a last one included, without dot-stuffing
    /// and final dot: the number for SIZE= (RFC 1870 §5) and for one BDAT.
    pub wire_len: u64,
    /// As `wire_len`, with dot-stuffing: all that follows the 354, without the
    /// three octets of the final dot.
    pub stuffed_len: u64,
    /// The number of lines, a last one without line end included.
    pub lines: u64,
    /// Octets of the longest line, without its line end; see [`LINE_LIMIT`].
    pub longest_line: usize,
    /// An octet above 127 somewhere: 8BITMIME is needed (RFC 6152).
    pub eight_bit: bool,
    /// An octet above 127 before the first empty line: a UTF-8 header
    /// (RFC 6532).
    pub header_eight_bit: bool,
    /// Where the first NUL stands, as an offset into the text as handed in.
    /// RFC 5321 §4.5.2 forbids it without BINARYMIME.
    pub first_nul: Option<usize>,
}

/// Looks through `text` once.
pub fn survey(text: &[u8]) -> Facts {
    let mut facts = Facts::default();
    let mut line_start = 0;
    let mut octets = 0;
    let mut dotted = 0;
    let mut header_end = None;
    let mut take_line = |start: usize, end: usize| {
        let len = end - start;
        facts.lines += 1;
        facts.longest_line = facts.longest_line.max(len);
        octets += len;
        if len == 0 {
            header_end.get_or_insert(start);
        } else if text[start] == b'.' {
            dotted += 1;
        }
    };
    for end in memchr2_iter(b'\n', b'\r', text) {
        // The LF of a CRLF, whose CR has ended the line already. A bare LF
        // has no CR before it: the CR would be the start of a CRLF.
        if text[end] != b'\n' || end == 0 || text[end - 1] != b'\r' {
            take_line(line_start, end);
        }
        line_start = end + 1;
    }
    if line_start < text.len() {
        take_line(line_start, text.len());
    }
    facts.wire_len = octets as u64 + facts.lines * CRLF.len() as u64;
    facts.stuffed_len = facts.wire_len + dotted;
    // These two run at the speed of memory; they end early where they may.
    facts.eight_bit = !text.is_ascii();
    facts.header_eight_bit =
        facts.eight_bit && !text[..header_end.unwrap_or(text.len())].is_ascii();
    facts.first_nul = memchr(0, text);
    facts
}

/// How the server knows where the text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By length (BDAT, RFC 3030): neither dot-stuffing nor a final dot.
    Chunk,
    /// By a lone dot (DATA, RFC 5321 §4.5.2): lines that begin with a dot get
    /// a second one, and the final dot is written.
    Data,
}

/// Turns a text into its wire form, a slice at a time.
///
/// It keeps its position but not the text, which the caller hands in whole,
/// and the same, each time.
#[derive(Clone, Debug)]
pub struct Encoder {
    framing: Framing,
    /// How much of the text is done.
    at: usize,
    at_line_start: bool,
    /// What must leave before more of the text does; there was no room.
    owed: &'static [u8],
    end_written: bool,
}

impl Encoder {
    /// An encoder at the beginning of a text.
    pub fn new(framing: Framing) -> Self {
        Encoder {
            framing,
            at: 0,
            at_line_start: true,
            owed: b"",
            end_written: false,
        }
    }

    /// Appends at most `room` octets of the wire form to `out`; true when that
    /// was the last of it.
    ///
    /// As long as it is not finished it fills the room, so a `room` of one or
    /// more gets on. Called again once finished it appends nothing.
    pub fn fill(&mut self, text: &[u8], out: &mut Vec<u8>, room: usize) -> bool {
        let full = out.len().saturating_add(room);
        // Once, and enough for text of ordinary lines.
        out.reserve(room.min((text.len() - self.at).saturating_add(END_OF_DATA.len())));
        loop {
            let room = full - out.len();
            if !self.owed.is_empty() {
                if room == 0 {
                    return false;
                }
                let (now, later) = self.owed.split_at(room.min(self.owed.len()));
                out.extend_from_slice(now);
                self.owed = later;
            } else if self.at == text.len() {
                if !self.at_line_start {
                    self.end_line();
                } else if self.framing == Framing::Data && !self.end_written {
                    self.owed = END_OF_DATA;
                    self.end_written = true;
                } else {
                    return true;
                }
            } else if room == 0 {
                return false;
            } else {
                self.copy_lines(text, out, full);
            }
        }
    }

    /// How many octets of the text have been taken; for progress.
    pub fn taken(&self) -> usize {
        self.at
    }

    /// Copies up to the end of the room or to something that is owed.
    fn copy_lines(&mut self, text: &[u8], out: &mut Vec<u8>, full: usize) {
        while self.at < text.len() && out.len() < full {
            if self.at_line_start && text[self.at] == b'.' && self.framing == Framing::Data {
                self.at_line_start = false;
                out.push(b'.');
                if out.len() == full {
                    return;
                }
            }
            let room = full - out.len();
            let window = &text[self.at..text.len().min(self.at.saturating_add(room))];
            let Some(line) = memchr2(b'\n', b'\r', window) else {
                out.extend_from_slice(window);
                self.at += window.len();
                self.at_line_start = false;
                return;
            };
            out.extend_from_slice(&window[..line]);
            let is_crlf = window[line] == b'\r' && text.get(self.at + line + 1) == Some(&b'\n');
            self.at += line + if is_crlf { CRLF.len() } else { 1 };
            if room - line < CRLF.len() {
                self.end_line();
                return;
            }
            out.extend_from_slice(CRLF);
            self.at_line_start = true;
        }
    }

    fn end_line(&mut self) {
        self.owed = CRLF;
        self.at_line_start = true;
    }
}

#[cfg(test)]
mod tests;
