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

/// Looks through a text once, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    facts: Facts,
    /// Octets looked at.
    at: usize,
    /// Octets of ended lines, without their line ends.
    octets: u64,
    dotted: u64,
    /// Octets of the line that has not ended yet.
    line: usize,
    after_cr: bool,
    header_is_over: bool,
}

impl Survey {
    /// Looks at the next piece of the text.
    pub fn look(&mut self, piece: &[u8]) {
        let header_was_over = self.header_is_over;
        let mut header = piece;
        let mut line_start = 0;
        for end in memchr2_iter(b'\n', b'\r', piece) {
            let after_cr = match end {
                0 => self.after_cr,
                _ => piece[end - 1] == b'\r',
            };
            // The LF of a CRLF, whose CR has ended the line already. A bare LF
            // has no CR before it: the CR would be the start of a CRLF.
            if piece[end] != b'\n' || !after_cr {
                self.go_on(&piece[line_start..end]);
                if self.line == 0 && !self.header_is_over {
                    self.header_is_over = true;
                    header = &piece[..end];
                }
                self.end_line();
            }
            line_start = end + 1;
        }
        self.go_on(&piece[line_start..]);
        self.after_cr = piece.last().map_or(self.after_cr, |last| *last == b'\r');
        // These two run at the speed of memory, and the piece is in the cache.
        if !(piece.is_ascii() || header_was_over && self.facts.eight_bit) {
            self.facts.eight_bit = true;
            self.facts.header_eight_bit |= !header_was_over && !header.is_ascii();
        }
        if self.facts.first_nul.is_none() {
            self.facts.first_nul = memchr(0, piece).map(|offset| self.at + offset);
        }
        self.at += piece.len();
    }

    /// What is known now that the text is over.
    pub fn facts(mut self) -> Facts {
        if self.line > 0 {
            self.end_line();
        }
        self.facts.wire_len = self.octets + self.facts.lines * CRLF.len() as u64;
        self.facts.stuffed_len = self.facts.wire_len + self.dotted;
        self.facts
    }

    /// The line goes on with `octets`.
    fn go_on(&mut self, octets: &[u8]) {
        if self.line == 0 && octets.first() == Some(&b'.') {
            self.dotted += 1;
        }
        self.line += octets.len();
    }

    fn end_line(&mut self) {
        self.facts.lines += 1;
        self.facts.longest_line = self.facts.longest_line.max(self.line);
        self.octets += self.line as u64;
        self.line = 0;
    }
}

/// Looks through `text`, all of it.
pub fn survey(text: &[u8]) -> Facts {
    let mut survey = Survey::default();
    survey.look(text);
    survey.facts()
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
/// It keeps its position but not the text, of which the caller hands in what
/// comes next each time.
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
    /// `rest` is the text from [`Encoder::taken`] on: all of it if `is_last`,
    /// else at least two octets (one may be a CR, whose LF may come next).
    /// As long as neither ends it fills the room, so a `room` of one or more
    /// gets on. Called again once finished it appends nothing.
    pub fn fill(&mut self, rest: &[u8], is_last: bool, out: &mut Vec<u8>, room: usize) -> bool {
        let full = out.len().saturating_add(room);
        // Once, and enough for text of ordinary lines.
        out.reserve(room.min(rest.len().saturating_add(END_OF_DATA.len())));
        let end = match rest {
            [.., b'\r'] if !is_last => self.at + rest.len() - 1,
            _ => self.at + rest.len(),
        };
        let start = self.at;
        loop {
            let room = full - out.len();
            if !self.owed.is_empty() {
                if room == 0 {
                    return false;
                }
                let (now, later) = self.owed.split_at(room.min(self.owed.len()));
                out.extend_from_slice(now);
                self.owed = later;
            } else if self.at >= end {
                if !is_last {
                    return false;
                } else if !self.at_line_start {
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
                let rest = &rest[self.at - start..];
                self.copy_lines(rest, end - self.at, out, full);
            }
        }
    }

    /// How many octets of the text have been taken.
    pub fn taken(&self) -> usize {
        self.at
    }

    /// Copies what begins before `end` in `rest`, up to the end of the room or to
    /// something that is owed.
    fn copy_lines(&mut self, rest: &[u8], end: usize, out: &mut Vec<u8>, full: usize) {
        let mut done = 0;
        while done < end && out.len() < full {
            if self.at_line_start && rest[done] == b'.' && self.framing == Framing::Data {
                self.at_line_start = false;
                out.push(b'.');
            }
            let room = full - out.len();
            let window = &rest[done..end.min(done.saturating_add(room))];
            let Some(line) = memchr2(b'\n', b'\r', window) else {
                out.extend_from_slice(window);
                done += window.len();
                self.at_line_start = false;
                break;
            };
            out.extend_from_slice(&window[..line]);
            let is_crlf = window[line] == b'\r' && rest.get(done + line + 1) == Some(&b'\n');
            done += line + if is_crlf { CRLF.len() } else { 1 };
            let fits = line + CRLF.len() <= room;
            if !fits {
                self.end_line();
                break;
            }
            out.extend_from_slice(CRLF);
            self.at_line_start = true;
        }
        self.at += done;
    }

    fn end_line(&mut self) {
        self.owed = CRLF;
        self.at_line_start = true;
    }
}

#[cfg(test)]
mod tests;
