//! Forms of replies, whole and in pieces, and floods.

use super::*;

/// Code and lines of each reply expected.
type Expected<'a> = &'a [(u16, &'a [&'a str])];
type Outcome = Result<Vec<(u16, Vec<String>)>, ReplyError>;

fn drain(reader: &mut ReplyReader, found: &mut Vec<(u16, Vec<String>)>) -> Result<(), ReplyError> {
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
    let whole = |last| {
        let line = |mark, octets| format!("250{mark}{}\r\n", "x".repeat(octets - 4));
        line('-', 12 * 1024).repeat(5) + &line(' ', last)
    };
    let last = MAX_REPLY - 5 * 12 * 1024;
    assert!(read_in_pieces(whole(last).as_bytes(), 4096).is_ok());
    let error = read_in_pieces(whole(last + 1).as_bytes(), 4096);
    assert_eq!(error, Err(ReplyError::TooLong));
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
