//! Tables and properties of [`super`].

use super::*;
use proptest::prelude::*;

/// As [`Encoder::fill`], of a whole text.
fn fill(encoder: &mut Encoder, text: &[u8], out: &mut Vec<u8>, room: usize) -> bool {
    encoder.fill(&text[encoder.taken()..], true, out, room)
}

/// The whole wire form, in slices of `room` octets, each checked for its size.
fn encode(framing: Framing, text: &[u8], room: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(framing);
    let mut wire = Vec::new();
    loop {
        let before = wire.len();
        let finished = fill(&mut encoder, text, &mut wire, room);
        assert!(wire.len() - before <= room, "more than the room");
        assert!(
            finished || wire.len() - before == room,
            "less than the room, and not finished"
        );
        if finished {
            let len = wire.len();
            assert!(
                fill(&mut encoder, text, &mut wire, room),
                "finished stays finished"
            );
            assert_eq!(wire.len(), len, "nothing follows the end");
            assert_eq!(encoder.taken(), text.len());
            return wire;
        }
    }
}

/// The plainest way to say what CRLF line ends are, one octet after the other.
fn normalise(text: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut octets = text.iter().peekable();
    while let Some(&octet) = octets.next() {
        match octet {
            b'\r' | b'\n' => {
                if octet == b'\r' {
                    octets.next_if_eq(&&b'\n');
                }
                lines.push(core::mem::take(&mut line));
            }
            _ => line.push(octet),
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
        .iter()
        .flat_map(|line| [line, CRLF].concat())
        .collect()
}

/// Reads a DATA stream as a strict server does: the text, and what follows
/// the final dot.
fn unstuff(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = wire;
    loop {
        let end = rest
            .windows(2)
            .position(|pair| pair == CRLF)
            .expect("a line end")
            + 2;
        let (line, after) = rest.split_at(end);
        rest = after;
        match line {
            END_OF_DATA => return (text, rest),
            [b'.', stuffed @ ..] => text.extend_from_slice(stuffed),
            _ => text.extend_from_slice(line),
        }
    }
}

fn has_bare_cr_or_lf(wire: &[u8]) -> bool {
    (0..wire.len()).any(|i| match wire[i] {
        b'\r' => wire.get(i + 1) != Some(&b'\n'),
        b'\n' => i == 0 || wire[i - 1] != b'\r',
        _ => false,
    })
}

#[test]
fn wire_forms() {
    let table: &[(&[u8], &[u8], &[u8])] = &[
        (b"", b"", b".\r\n"),
        (b"\n", b"\r\n", b"\r\n.\r\n"),
        (b"a", b"a\r\n", b"a\r\n.\r\n"),
        (b"a\n", b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n", b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\n", b"a\r\n.\r\n"),
        (
            b"a\rb\nc\r\nd",
            b"a\r\nb\r\nc\r\nd\r\n",
            b"a\r\nb\r\nc\r\nd\r\n.\r\n",
        ),
        (b"a\r\r\nb", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n.\r\n"),
        (b"a\n\rb", b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n.\r\n"),
        (b"\n\n", b"\r\n\r\n", b"\r\n\r\n.\r\n"),
        (b".", b".\r\n", b"..\r\n.\r\n"),
        (
            b".\n..\n.a\na.\n",
            b".\r\n..\r\n.a\r\na.\r\n",
            b"..\r\n...\r\n..a\r\na.\r\n.\r\n",
        ),
        (b"a\n.\nb", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        // The shapes of SMTP smuggling: each must leave as a stuffed dot.
        (b"a\n.\r\nb", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\nb", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r\n.\rb", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\r.\rb", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"\x00\xff\n", b"\x00\xff\r\n", b"\x00\xff\r\n.\r\n"),
    ];
    for (text, chunk, data) in table {
        for room in 1..=12 {
            assert_eq!(
                encode(Framing::Chunk, text, room),
                *chunk,
                "{text:?} by {room}"
            );
            assert_eq!(
                encode(Framing::Data, text, room),
                *data,
                "{text:?} by {room}"
            );
        }
        assert_eq!(
            encode(Framing::Data, text, usize::MAX),
            *data,
            "{text:?} whole"
        );
    }
}

#[test]
fn fill_appends_and_takes_no_room_as_no_progress() {
    let mut encoder = Encoder::new(Framing::Data);
    let mut out = b"DATA\r\n".to_vec();
    assert!(!fill(&mut encoder, b"a", &mut out, 0));
    assert_eq!(out, b"DATA\r\n");
    assert!(fill(&mut encoder, b"a", &mut out, 6));
    assert_eq!(out, b"DATA\r\na\r\n.\r\n");
}

#[test]
fn facts_of_texts() {
    let table: &[(&[u8], Facts)] = &[
        (b"", Facts::default()),
        (
            b"\n",
            Facts {
                wire_len: 2,
                stuffed_len: 2,
                lines: 1,
                ..Facts::default()
            },
        ),
        (
            b"ab\n.\r\n.c\rlast",
            Facts {
                wire_len: 17,
                stuffed_len: 19,
                lines: 4,
                longest_line: 4,
                ..Facts::default()
            },
        ),
        (
            b"S: a\n\n\xc3\xa4\n\0\0",
            Facts {
                wire_len: 16,
                stuffed_len: 16,
                lines: 4,
                longest_line: 4,
                eight_bit: true,
                header_eight_bit: false,
                first_nul: Some(9),
            },
        ),
        (
            b"S: \xe4\r\n\r\nx\r\n",
            Facts {
                wire_len: 11,
                stuffed_len: 11,
                lines: 3,
                longest_line: 4,
                eight_bit: true,
                header_eight_bit: true,
                first_nul: None,
            },
        ),
        (
            b"only a header \xe4",
            Facts {
                wire_len: 17,
                stuffed_len: 17,
                lines: 1,
                longest_line: 15,
                eight_bit: true,
                header_eight_bit: true,
                first_nul: None,
            },
        ),
    ];
    for (text, expected) in table {
        assert_eq!(survey(text), *expected, "{text:?}");
    }
}

/// Texts in which line ends, dots and their neighbours are frequent.
fn tricky_text() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![
        3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 3 => Just(b'a'), 1 => any::<u8>()
    ];
    proptest::collection::vec(octet, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_server_reads_back_the_text_and_no_more(text in tricky_text(), room in 1..40_usize) {
        let wire = encode(Framing::Data, &text, room);
        let (read, rest) = unstuff(&wire);
        prop_assert_eq!(read, normalise(&text));
        prop_assert_eq!(rest, b"", "an early terminator");
        prop_assert!(!has_bare_cr_or_lf(&wire));
    }

    #[test]
    fn chunks_are_the_normal_text(text in tricky_text(), room in 1..40_usize) {
        let wire = encode(Framing::Chunk, &text, room);
        prop_assert_eq!(&wire, &normalise(&text));
        prop_assert!(!has_bare_cr_or_lf(&wire));
    }

    #[test]
    fn rooms_that_change_do_not_matter(
        text in tricky_text(),
        rooms in proptest::collection::vec(0..9_usize, 1..400),
    ) {
        let mut encoder = Encoder::new(Framing::Data);
        let mut wire = Vec::new();
        let finished = rooms.iter().any(|&room| fill(&mut encoder, &text, &mut wire, room));
        let whole = encode(Framing::Data, &text, usize::MAX);
        prop_assert!(whole.starts_with(&wire));
        prop_assert_eq!(finished, wire.len() == whole.len() && rooms.iter().sum::<usize>() >= whole.len());
    }

    #[test]
    fn the_survey_counts_what_the_encoder_writes(text in tricky_text()) {
        let facts = survey(&text);
        let normal = normalise(&text);
        let lines: Vec<_> = normal.split_inclusive(|&b| b == b'\n').collect();
        let header: usize = lines.iter().take_while(|l| **l != CRLF).map(|l| l.len()).sum();
        prop_assert_eq!(facts.wire_len, normal.len() as u64);
        let data = encode(Framing::Data, &text, usize::MAX);
        prop_assert_eq!(facts.stuffed_len, (data.len() - END_OF_DATA.len()) as u64);
        prop_assert_eq!(facts.lines, lines.len() as u64);
        prop_assert_eq!(facts.longest_line, lines.iter().map(|l| l.len() - 2).max().unwrap_or(0));
        prop_assert_eq!(facts.eight_bit, text.iter().any(|&b| b > 127));
        prop_assert_eq!(facts.header_eight_bit, normal[..header].iter().any(|&b| b > 127));
        prop_assert_eq!(facts.first_nul, text.iter().position(|&b| b == 0));
    }

    #[test]
    fn pieces_make_the_same_wire_form(
        text in tricky_text(),
        pieces in proptest::collection::vec(2..9_usize, 1..40),
        room in 1..40_usize,
    ) {
        for framing in [Framing::Chunk, Framing::Data] {
            let mut encoder = Encoder::new(framing);
            let mut wire = Vec::new();
            let mut lens = pieces.iter().cycle();
            loop {
                let rest = &text[encoder.taken()..];
                let len = *lens.next().expect("endless");
                let before = (encoder.taken(), wire.len());
                let is_last = len >= rest.len();
                if encoder.fill(&rest[..len.min(rest.len())], is_last, &mut wire, room) {
                    prop_assert!(is_last, "finished before its end");
                    break;
                }
                prop_assert!((encoder.taken(), wire.len()) != before, "stuck");
            }
            prop_assert_eq!(wire, encode(framing, &text, usize::MAX));
        }
    }

    #[test]
    fn a_survey_in_pieces_finds_the_same(
        text in tricky_text(),
        pieces in proptest::collection::vec(0..9_usize, 1..40),
    ) {
        let mut survey_in_pieces = Survey::default();
        let mut rest = text.as_slice();
        for len in pieces {
            let (piece, after) = rest.split_at(len.min(rest.len()));
            survey_in_pieces.look(piece);
            rest = after;
        }
        survey_in_pieces.look(rest);
        prop_assert_eq!(survey_in_pieces.facts(), survey(&text));
    }
}
