//! A bounded reader and writer for the little Lisp that queue metadata is made of.
//!
//! It reads data and evaluates nothing; there is no code path from here to an
//! evaluator. What it does not know is an error, not a guess.

use std::fmt::Write as _;

/// Deeper than anything `smtpmail` prints (text properties reach four or
/// five), shallow enough that a hostile file cannot exhaust a thread's stack.
const MAX_DEPTH: usize = 32;

/// One Lisp object as far as metadata needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Datum {
    Integer(i64),
    /// Also `nil`, which is the empty list.
    List(Vec<Datum>),
    /// `'X`, which Emacs 27 and older wrote around the recipients.
    Quoted(Box<Datum>),
    Text(String),
    Symbol(String),
}

/// Why reading stopped; each is a reason to set the file aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The file ends inside a form, as a half-written one does.
    Incomplete,
    NotUtf8,
    TooDeep,
    Unexpected,
}

/// Reads forms one after the other from a file's bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The source text from `start` to here.
    pub(super) fn source_since(&self, start: usize) -> Result<&'a str, ReadError> {
        std::str::from_utf8(&self.bytes[start..self.position]).map_err(|_| ReadError::NotUtf8)
    }

    /// The next form, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Datum>, ReadError> {
        self.skip_blanks();
        if self.position == self.bytes.len() {
            return Ok(None);
        }
        self.datum(0).map(Some)
    }

    /// Enters a list: true when the next thing is an opening parenthesis.
    pub(super) fn open_list(&mut self) -> bool {
        self.skip_blanks();
        self.take(b'(')
    }

    /// Leaves a list: true when the next thing is its closing parenthesis.
    pub(super) fn close_list(&mut self) -> Result<bool, ReadError> {
        self.skip_blanks();
        match self.peek() {
            None => Err(ReadError::Incomplete),
            Some(b')') => {
                self.position += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
        }
    }

    /// Passes over blanks and comments.
    pub(super) fn skip_blanks(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0c => self.position += 1,
                b';' => {
                    let rest = &self.bytes[self.position..];
                    self.position += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                }
                _ => break,
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.position += 1;
        }
        found
    }

    fn next_byte(&mut self) -> Result<u8, ReadError> {
        let byte = self.peek().ok_or(ReadError::Incomplete)?;
        self.position += 1;
        Ok(byte)
    }

    fn datum(&mut self, depth: usize) -> Result<Datum, ReadError> {
        if depth > MAX_DEPTH {
            return Err(ReadError::TooDeep);
        }
        self.skip_blanks();
        match self.next_byte()? {
            b'(' => self.list(b')', depth).map(Datum::List),
            b'\'' => Ok(Datum::Quoted(Box::new(self.datum(depth + 1)?))),
            b'"' => self.text().map(Datum::Text),
            b'#' => {
                // A string with text properties: #("text" 0 4 (face bold)).
                if !self.take(b'(') {
                    return Err(ReadError::Unexpected);
                }
                match self.list(b')', depth)?.into_iter().next() {
                    Some(text @ Datum::Text(_)) => Ok(text),
                    _ => Err(ReadError::Unexpected),
                }
            }
            b')' | b'[' | b']' | b'`' | b',' | b'?' => Err(ReadError::Unexpected),
            _ => {
                self.position -= 1;
                self.token()
            }
        }
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Vec<Datum>, ReadError> {
        let mut items = Vec::new();
        loop {
            self.skip_blanks();
            if self.peek().ok_or(ReadError::Incomplete)? == close {
                self.position += 1;
                return Ok(items);
            }
            items.push(self.datum(depth + 1)?);
        }
    }

    fn token(&mut self) -> Result<Datum, ReadError> {
        let start = self.position;
        while let Some(byte) = self.peek() {
            match byte {
                b'\\' => return Err(ReadError::Unexpected),
                0..=b' ' | b'(' | b')' | b'"' | b'\'' | b';' | b'[' | b']' | b'`' | b',' => break,
                _ => self.position += 1,
            }
        }
        if self.position == start {
            return Err(ReadError::Unexpected);
        }
        let token = self.source_since(start)?;
        Ok(if token == "nil" {
            Datum::List(Vec::new())
        } else if let Ok(number) = token.parse() {
            Datum::Integer(number)
        } else {
            Datum::Symbol(token.to_owned())
        })
    }

    /// The rest of a string after its opening quote.
    fn text(&mut self) -> Result<String, ReadError> {
        let mut text = Vec::new();
        loop {
            match self.next_byte()? {
                b'"' => return String::from_utf8(text).map_err(|_| ReadError::NotUtf8),
                b'\\' => self.escape(&mut text)?,
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), ReadError> {
        let simple = match self.next_byte()? {
            b'\n' | b' ' => return Ok(()),
            b'a' => 0x07,
            b'b' => 0x08,
            b'd' => 0x7f,
            b'e' => 0x1b,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b's' => b' ',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => {
                // `read' takes any number of digits; eight hold every character.
                let code = self.digits(16, 1, 8)?;
                return push_code(text, code);
            }
            b'u' => {
                let code = self.digits(16, 4, 4)?;
                return push_character(text, code);
            }
            b'U' => {
                let code = self.digits(16, 8, 8)?;
                return push_character(text, code);
            }
            b'0'..=b'7' => {
                self.position -= 1;
                let code = self.digits(8, 1, 3)?;
                return push_code(text, code);
            }
            // Control and meta characters and named ones: no address has them.
            b'^' | b'C' | b'M' | b'S' | b'H' | b'A' | b'N' => return Err(ReadError::Unexpected),
            other => other,
        };
        text.push(simple);
        Ok(())
    }

    fn digits(&mut self, radix: u32, least: usize, most: usize) -> Result<u32, ReadError> {
        let mut value: u32 = 0;
        let mut count = 0;
        while count < most
            && let Some(digit) = self
                .peek()
                .and_then(|byte| char::from(byte).to_digit(radix))
        {
            value = value
                .checked_mul(radix)
                .and_then(|value| value.checked_add(digit))
                .ok_or(ReadError::Unexpected)?;
            self.position += 1;
            count += 1;
        }
        if count < least {
            return Err(if self.peek().is_none() {
                ReadError::Incomplete
            } else {
                ReadError::Unexpected
            });
        }
        Ok(value)
    }
}

/// Codes up to 0xff are bytes to `read` (`"\303\251"`), larger ones characters.
fn push_code(text: &mut Vec<u8>, code: u32) -> Result<(), ReadError> {
    match u8::try_from(code) {
        Ok(byte) => {
            text.push(byte);
            Ok(())
        }
        Err(_) => push_character(text, code),
    }
}

fn push_character(text: &mut Vec<u8>, code: u32) -> Result<(), ReadError> {
    let character = char::from_u32(code).ok_or(ReadError::Unexpected)?;
    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}

/// Appends a string that both `read` and [`Reader`] read back, on one line.
pub(super) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Octal, three digits: unlike \x it cannot swallow what follows.
            '\0'..='\x1f' | '\x7f' => {
                write!(out, "\\{:03o}", u32::from(character)).expect("a String takes all")
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// True for names that print and read back as symbols without any escape.
pub(super) fn is_plain_symbol(name: &str) -> bool {
    !name.is_empty()
        && name != "nil"
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_+*/:".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<Option<Datum>, ReadError> {
        Reader::new(source.as_bytes()).next()
    }

    fn text(value: &str) -> Datum {
        Datum::Text(value.to_owned())
    }

    #[test]
    fn reads_what_prin1_prints() {
        let table = [
            ("nil", Datum::List(vec![])),
            ("()", Datum::List(vec![])),
            ("587", Datum::Integer(587)),
            ("-1", Datum::Integer(-1)),
            ("starttls", Datum::Symbol("starttls".into())),
            ("; why\n \"a\"", text("a")),
            (r#""\"\\""#, text("\"\\")),
            ("\"a\nb\"", text("a\nb")),
            (
                r#""a\nb\tc\sd\
e\ f""#,
                text("a\nb\tc def"),
            ),
            (r#""\101\x42\u0043\U00000044""#, text("ABCD")),
            (r#""\303\251""#, text("é")),
            (r#""\xe9\ ""#, text("?")), // a byte that is no UTF-8: see below
            ("\"é\"", text("é")),
            ("#(\"a@b\" 0 3 (face (bold :x \"y\")))", text("a@b")),
            (
                "'(\"a\")",
                Datum::Quoted(Box::new(Datum::List(vec![text("a")]))),
            ),
            ("(\"a\"\n \"b\")", Datum::List(vec![text("a"), text("b")])),
        ];
        for (source, expected) in table {
            if expected == text("?") {
                assert_eq!(read(source), Err(ReadError::NotUtf8), "{source}");
            } else {
                assert_eq!(read(source), Ok(Some(expected)), "{source}");
            }
        }
    }

    #[test]
    fn every_proper_prefix_of_a_form_is_incomplete() {
        let source = "(\"a\\\"b\\101\" #(\"x\" 0 1 (f t)) '(c))";
        for end in 1..source.len() {
            let result = read(&source[..end]);
            // A cut after `#` or inside an escape may also be unexpected, never accepted.
            assert!(result.is_err(), "{}", &source[..end]);
        }
        assert!(read(source).is_ok());
    }

    #[test]
    fn refuses_everything_else() {
        for source in [
            ")",
            "[1]",
            "`(a)",
            ",a",
            "?a",
            "#'car",
            "#<buffer x>",
            "#1=(a)",
            "\"\\C-a\"",
            "\"\\N{BEL}\"",
            "\"\\xffffffff\"",
            "\"\\ud800\"",
            "a\\ b",
            "\u{1}",
        ] {
            assert_eq!(read(source), Err(ReadError::Unexpected), "{source}");
        }
    }

    #[test]
    fn a_million_parentheses_are_too_deep() {
        let source = "(".repeat(1_000_000);
        assert_eq!(read(&source), Err(ReadError::TooDeep));
        let source = "'".repeat(1_000_000);
        assert_eq!(read(&source), Err(ReadError::TooDeep));
    }

    #[test]
    fn plain_symbols_are_few() {
        for good in ["starttls", "smtpmail-smtp-server", "a1"] {
            assert!(is_plain_symbol(good));
        }
        for bad in [
            "", "nil", "a b", "1a", "a)", "a\"", "é", "?a", "#a", "a;b", "a\nb",
        ] {
            assert!(!is_plain_symbol(bad), "{bad}");
        }
    }
}
