//! What a server says, made fit to be shown to a person.
//!
//! Bytes from outside may hold terminal escapes, line ends, bytes that are no
//! UTF-8, and characters that turn the direction of the text or cannot be
//! seen. Nothing may reach a message, an error or a trace line without
//! passing here. It is for reading only: the result does not convert back.

use core::fmt::Write as _;

/// Stands for what was left out at the end.
const ELLIPSIS: char = '…';

/// `bytes` as text of at most `limit` characters that can be seen.
///
/// ASCII controls are written `^M` as Emacs does, bytes that are no UTF-8
/// `\x80`, characters that are invisible or change the direction of the text
/// `\u{202E}`. Text that was cut ends with an ellipsis, which counts; an
/// escape is never cut in its middle.
pub fn visible(bytes: &[u8], limit: usize) -> String {
    if bytes.len() <= limit && bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        // Nearly all text is such.
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let mut shown = Bounded::new(limit);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if !shown.push(|unit| write_character(character, unit)) {
                return shown.cut();
            }
        }
        for byte in chunk.invalid() {
            if !shown.push(|unit| write_escaped(unit, format_args!("\\x{byte:02X}"))) {
                return shown.cut();
            }
        }
    }
    shown.text
}

/// Whether `character` leaves no mark on the page or changes the order in
/// which its neighbours are read, so that two texts that differ look alike.
///
/// Unicode 16 general category Cc and Cf, Default_Ignorable_Code_Point, the
/// line and paragraph separators, and the blank that is a letter (U+2800).
pub fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    matches!(character,
        '\u{80}'..='\u{9F}'
        | '\u{AD}' | '\u{34F}' | '\u{600}'..='\u{605}' | '\u{61C}' | '\u{6DD}' | '\u{70F}'
        | '\u{890}' | '\u{891}' | '\u{8E2}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}' | '\u{110BD}' | '\u{110CD}'
        | '\u{13430}'..='\u{1343F}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}'
        | '\u{E0000}'..='\u{E0FFF}')
}

fn write_character(character: char, unit: &mut String) {
    match character {
        '\u{0}'..='\u{1F}' => {
            unit.push('^');
            unit.push(char::from(character as u8 + b'@'));
        }
        '\u{7F}' => unit.push_str("^?"),
        _ if is_invisible(character) => {
            write_escaped(unit, format_args!("\\u{{{:04X}}}", u32::from(character)));
        }
        _ => unit.push(character),
    }
}

fn write_escaped(unit: &mut String, escape: core::fmt::Arguments<'_>) {
    unit.write_fmt(escape)
        .expect("writing to a String cannot fail");
}

/// A text that grows by whole units up to a number of characters.
struct Bounded {
    text: String,
    characters: usize,
    limit: usize,
    /// Where the text ends if an ellipsis must follow it.
    cut_at: usize,
    unit: String,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Bounded {
            text: String::new(),
            characters: 0,
            limit,
            cut_at: 0,
            unit: String::new(),
        }
    }

    /// Appends what `write` writes, or nothing and says false.
    fn push(&mut self, write: impl FnOnce(&mut String)) -> bool {
        self.unit.clear();
        write(&mut self.unit);
        let characters = self.characters + self.unit.chars().count();
        if characters > self.limit {
            return false;
        }
        self.text.push_str(&self.unit);
        self.characters = characters;
        if characters < self.limit {
            self.cut_at = self.text.len();
        }
        true
    }

    fn cut(mut self) -> String {
        self.text.truncate(self.cut_at);
        if self.limit > 0 {
            self.text.push(ELLIPSIS);
        }
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_kind_of_character() {
        let table: &[(&[u8], &str)] = &[
            (b"", ""),
            (
                b"250 2.0.0 Ok: queued as 4XyZ",
                "250 2.0.0 Ok: queued as 4XyZ",
            ),
            ("Grüße, 日本, 😀".as_bytes(), "Grüße, 日本, 😀"),
            (b"a\r\nb\0c\tc\x1b[31m\x7f", "a^M^Jb^@c^Ic^[[31m^?"),
            (b"\x80a\xff\xc3", "\\x80a\\xFF\\xC3"),
            (b"\xed\xa0\x80", "\\xED\\xA0\\x80"),
            ("\u{9b}31m\u{85}".as_bytes(), "\\u{009B}31m\\u{0085}"),
            ("txt.\u{202E}exe".as_bytes(), "txt.\\u{202E}exe"),
            ("\u{2066}x\u{2069}".as_bytes(), "\\u{2066}x\\u{2069}"),
            (
                "pay\u{200B}pal\u{FEFF}".as_bytes(),
                "pay\\u{200B}pal\\u{FEFF}",
            ),
            ("\u{E0041}".as_bytes(), "\\u{E0041}"),
            (b"DOMAIN\\user", "DOMAIN\\user"),
        ];
        for (bytes, expected) in table {
            assert_eq!(visible(bytes, 1000), *expected, "{bytes:?}");
        }
    }

    #[test]
    fn length_is_bounded_with_an_ellipsis() {
        let table: &[(&[u8], usize, &str)] = &[
            (b"abcd", 4, "abcd"),
            (b"abcde", 4, "abc…"),
            (b"abcd\r", 4, "abc…"),
            (b"abc\r", 4, "abc…"),
            (b"ab\r", 4, "ab^M"),
            (b"ab\rc", 4, "ab…"),
            (b"\xff", 3, "…"),
            (b"a", 1, "a"),
            (b"ab", 1, "…"),
            (b"a", 0, ""),
            ("äöüß".as_bytes(), 3, "äö…"),
        ];
        for (bytes, limit, expected) in table {
            assert_eq!(visible(bytes, *limit), *expected, "{bytes:?} in {limit}");
        }
    }

    proptest! {
        #[test]
        fn nothing_invisible_comes_out_and_the_limit_holds(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in any::<String>(),
            limit in 0..100_usize,
        ) {
            for input in [&bytes[..], text.as_bytes()] {
                let shown = visible(input, limit);
                prop_assert!(shown.chars().count() <= limit);
                prop_assert!(!shown.chars().any(is_invisible));
            }
        }

        #[test]
        fn printable_ascii_is_unchanged(text in "[ -~]{0,80}") {
            prop_assert_eq!(visible(text.as_bytes(), 80), text);
        }
    }
}
