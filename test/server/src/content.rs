//! Message content as it comes in: the un-stuffing of DATA (RFC 5321 §4.5.2),
//! a bounded body, and facts about it.  Pure: bytes in, bytes out.

use memchr::{memchr2_iter, memmem};

/// A message as far as it has come, bounded.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    limit: u64,
    received: u64,
}

impl Body {
    /// An empty body that keeps at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            received: 0,
        }
    }

    /// Adds bytes; what goes beyond the limit is counted but not kept.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.received += bytes.len() as u64;
        if !self.is_too_big() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    pub(crate) fn is_too_big(&self) -> bool {
        self.received > self.limit
    }

    /// How many bytes came, kept or not.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What one look at the input of DATA gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// That many bytes of input were used up.
    Took(usize),
    /// That many bytes of input were used up, and the message is complete.
    End(usize),
    /// Nothing can be said before more input comes.
    NeedMore,
}

/// The reader of the text that follows 354.  A line begins at the start of
/// the text and behind CRLF only: a bare LF ends nothing (RFC 5321 §2.3.8).
#[derive(Debug)]
pub(crate) struct TextReader {
    pub(crate) body: Body,
    at_line_start: bool,
}

impl TextReader {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body,
            at_line_start: true,
        }
    }

    /// Takes the next piece, at most up to the end of a line.
    pub(crate) fn take(&mut self, input: &[u8]) -> Step {
        const END: &[u8] = b".\r\n";
        if self.at_line_start && input.first() == Some(&b'.') {
            if input.starts_with(END) {
                return Step::End(END.len());
            }
            if END.starts_with(input) {
                return Step::NeedMore;
            }
            self.at_line_start = false;
            return Step::Took(1);
        }
        let (length, ends_line) = match memmem::find(input, b"\r\n") {
            Some(at) => (at + 2, true),
            // A CR at the end may be the first half of CRLF.
            None => (input.strip_suffix(b"\r").unwrap_or(input).len(), false),
        };
        if length == 0 {
            return Step::NeedMore;
        }
        self.body.push(&input[..length]);
        self.at_line_start = ends_line;
        Step::Took(length)
    }
}

/// Facts about a finished message that tests ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// CRs without LF behind.
    pub bare_cr: u64,
    /// LFs without CR before.
    pub bare_lf: u64,
    /// Whether any byte is above 127.
    pub eight_bit: bool,
    /// Bytes of the longest line, its CRLF not counted.
    pub longest_line: u64,
}

impl Facts {
    /// The facts of this message.
    pub fn of(message: &[u8]) -> Self {
        let mut facts = Self {
            eight_bit: !message.is_ascii(),
            ..Self::default()
        };
        let mut line_start = 0;
        for at in memchr2_iter(b'\r', b'\n', message) {
            let is_lf = message[at] == b'\n';
            let follows_cr = at > 0 && message[at - 1] == b'\r';
            let precedes_lf = message.get(at + 1) == Some(&b'\n');
            facts.bare_lf += u64::from(is_lf && !follows_cr);
            facts.bare_cr += u64::from(!is_lf && !precedes_lf);
            if is_lf && follows_cr {
                facts.longest_line = facts.longest_line.max((at - 1 - line_start) as u64);
                line_start = at + 1;
            }
        }
        facts.longest_line = facts.longest_line.max((message.len() - line_start) as u64);
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `size`; the message and what lay behind it.
    fn read(wire: &[u8], size: usize) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut reader = TextReader::new(Body::new(1 << 20));
        let mut buffer = Vec::new();
        let mut pieces = wire.chunks(size);
        loop {
            match reader.take(&buffer) {
                Step::Took(length) => drop(buffer.drain(..length)),
                Step::End(length) => {
                    buffer.drain(..length);
                    buffer.extend(pieces.flatten());
                    return Some((reader.body.bytes().to_vec(), buffer));
                }
                Step::NeedMore => buffer.extend_from_slice(pieces.next()?),
            }
        }
    }

    #[test]
    fn unstuffing_is_exact_whatever_the_pieces() {
        let table: [(&[u8], &[u8]); 8] = [
            (b".\r\n", b""),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n.\r\n", b".\r\n"),
            (b"...a\r\n..b\r\n.\r\n", b"..a\r\n.b\r\n"),
            (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
            (b"a\n.\r\nb\r.\r\r\n.\r\n", b"a\n.\r\nb\r.\r\r\n"),
            (b".\rx\r\n.\r\n", b"\rx\r\n"),
            (b"a.\r\nb\r\r\n.\r\n", b"a.\r\nb\r\r\n"),
        ];
        for (wire, message) in table {
            let mut wire = wire.to_vec();
            wire.extend_from_slice(b"QUIT\r\n");
            for size in 1..=wire.len() {
                let got = read(&wire, size).expect("an end");
                assert_eq!(
                    got,
                    (message.to_vec(), b"QUIT\r\n".to_vec()),
                    "{wire:?} by {size}"
                );
            }
        }
    }

    #[test]
    fn only_crlf_dot_crlf_ends() {
        for wire in [
            &b"a\r\n.\n"[..],
            b"a\n.\r\n",
            b"a\r\n.\r",
            b"a.\r\n",
            b"a\r\n.\r.\r\n",
        ] {
            assert_eq!(read(wire, wire.len()), None, "{wire:?}");
        }
    }

    #[test]
    fn a_body_keeps_no_more_than_its_limit() {
        let mut body = Body::new(4);
        body.push(b"1234");
        assert!(!body.is_too_big());
        body.push(b"5");
        assert!(body.is_too_big());
        assert_eq!((body.received(), body.bytes()), (5, &b"1234"[..]));
    }

    #[test]
    fn facts_count_bare_ends_and_the_longest_line() {
        let facts = Facts::of(b"ab\r\nc\nd\re\r\r\n\xff");
        assert_eq!(
            facts,
            Facts {
                bare_cr: 2,
                bare_lf: 1,
                eight_bit: true,
                longest_line: 6
            }
        );
        assert_eq!(Facts::of(b""), Facts::default());
        assert_eq!(Facts::of(b"\n").bare_lf, 1);
    }
}
