//! Tables, properties and speed of [`super`].

use super::*;
use proptest::prelude::*;

/// The whole wire form, in slices of `room` octets, each checked for its size.
fn encode(framing: Framing, text: &[u8], room: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(framing);
    let mut wire = Vec::new();
    loop {
        let before = wire.len();
        let finished = encoder.fill(text, &mut wire, room);
        assert!(wire.len() - before <= room, "more than the room");
        assert!(
            finished || wire.len() - before == room,
            "less than the room, and not finished"
        );
        if finished {
            let len = wire.len();
            assert!(
                encoder.fill(text, &mut wire, room),
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
    assert!(!encoder.fill(b"a", &mut out, 0));
    assert_eq!(out, b"DATA\r\n");
    assert!(encoder.fill(b"a", &mut out, 6));
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
        let finished = rooms.iter().any(|&room| encoder.fill(&text, &mut wire, room));
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
}

/// Measures; run with `cargo test --release --lib -- --ignored --nocapture speed`.
#[test]
#[ignore = "measures the speed of a release build"]
fn speed() {
    const TOTAL: usize = 64 << 20;
    const SLICE: usize = 64 << 10;
    let of_lines = |end: &str, lens: &[usize]| -> Vec<u8> {
        let lines = lens
            .iter()
            .map(|&len| "x".repeat(len) + end)
            .collect::<String>();
        lines.into_bytes().into_iter().cycle().take(TOTAL).collect()
    };
    for (name, text, survey_goal, encode_goal) in [
        ("base64, LF", of_lines("\n", &[76]), 1000.0, 500.0),
        ("base64, CRLF", of_lines("\r\n", &[76]), 1000.0, 500.0),
        ("long lines", of_lines("\n", &[5000]), 1000.0, 500.0),
        (
            "short lines",
            of_lines("\n", &[3, 12, 0, 25, 7, 18]),
            0.0,
            500.0,
        ),
        (
            "mixed lines",
            of_lines("\n", &[70, 2000, 0, 72, 10]),
            1000.0,
            500.0,
        ),
    ] {
        let megabytes = TOTAL as f64 / 1e6;
        let started = std::time::Instant::now();
        let facts = core::hint::black_box(survey(core::hint::black_box(&text)));
        let survey_rate = megabytes / started.elapsed().as_secs_f64();
        let mut out = Vec::with_capacity(SLICE);
        let mut encoder = Encoder::new(Framing::Data);
        let mut written = 0;
        let started = std::time::Instant::now();
        loop {
            out.clear();
            let finished = encoder.fill(&text, &mut out, SLICE);
            written += core::hint::black_box(&out).len() as u64;
            if finished {
                break;
            }
        }
        let encode_rate = megabytes / started.elapsed().as_secs_f64();
        assert_eq!(written, facts.stuffed_len + 3);
        println!("{name}: survey {survey_rate:.0} MB/s, encode {encode_rate:.0} MB/s");
        assert!(
            survey_rate > survey_goal && encode_rate > encode_goal,
            "{name} is too slow"
        );
    }
}
