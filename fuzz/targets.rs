//! What must hold whatever a server, a file or a message contains: one function
//! a target, which panics if it does not. The fuzzer calls them with inputs of
//! its own (`make fuzz`), `test/rust/fuzz_corpus.rs` with those that are kept.
//!
//! No target does input or output.

#![deny(missing_docs)]

#[path = "../test/rust/dialogue_support/mod.rs"]
mod dialogue_support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use smtpmail_core::net::proxy::{self, Protocol};
use smtpmail_core::outbox::fuzzing;
use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath, host_to_ascii};
use smtpmail_core::smtp::capabilities::Capabilities;
use smtpmail_core::smtp::content::{Encoder, Framing, Survey, survey};
use smtpmail_core::smtp::reply::{Reply, ReplyError, ReplyReader};
use smtpmail_core::smtp::sasl::{Binding, ChannelBinding, Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets; the kept inputs of each are in `fuzz/corpus/NAME.b64`.
pub const TARGETS: &[Target] = &[
    ("address", address),
    ("capabilities", capabilities),
    ("content", content),
    ("dialogue", dialogue),
    ("index", index),
    ("metadata", metadata),
    ("proxy", proxy),
    ("reply", reply),
    ("sasl", sasl),
    ("window", window),
];

/// All replies in `input`, fed in pieces of `piece` octets, and how it ended.
fn replies(input: &[u8], piece: usize) -> (Vec<Reply>, Option<ReplyError>) {
    let mut reader = ReplyReader::default();
    let mut found = Vec::new();
    for piece in input.chunks(piece) {
        reader.feed(piece);
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => found.push(reply),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

/// No control character that could move a cursor or end a line.
fn assert_visible(text: &str) {
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\t'),
        "{text:?}"
    );
}

/// A stream of replies is read alike however it is cut, and shown without
/// control characters.
pub fn reply(input: &[u8]) {
    let whole = replies(input, input.len().max(1));
    let bitwise = replies(input, 1);
    let piece = usize::from(input.first().copied().unwrap_or(0)) + 1;
    let pieces = replies(input, piece);
    assert_eq!(whole, bitwise);
    assert_eq!(whole, pieces);
    for reply in whole.0 {
        assert!((100..600).contains(&reply.code()) || reply.code() < 1000);
        reply.text().lines().for_each(assert_visible);
        reply.trace_lines().for_each(|line| assert_visible(&line));
        let secret = Secret::from("tanstaaf");
        let scrubbed = reply.without(&[secret]);
        assert!(!scrubbed.text().contains("tanstaaf"));
    }
}

/// Any reply to EHLO is understood as far as it can be.
pub fn capabilities(input: &[u8]) {
    for reply in replies(input, input.len().max(1)).0 {
        let found = Capabilities::from_ehlo(&reply);
        // What was announced is found again in the same words said anew.
        let again = Reply::new(reply.code(), reply.lines().map(<[u8]>::to_vec).collect());
        assert_eq!(found, Capabilities::from_ehlo(&again));
    }
}

/// `text` without its quoted strings (RFC 5321 §4.1.2).
fn outside_quotes(text: &str) -> String {
    let mut bare = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            other if !quoted => bare.push(other),
            _ => {}
        }
    }
    bare
}

/// An address that is taken holds nothing that could end a line or a path, and
/// is taken again as it is written.
pub fn address(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let harmless = |text: &str| {
        assert!(
            !text.bytes().any(|octet| octet < 0x20 || octet == 0x7f),
            "{text:?}"
        );
    };
    if let Ok(mailbox) = Mailbox::parse(text) {
        harmless(mailbox.as_str());
        let again = Mailbox::parse(mailbox.as_str()).expect("what was written is an address");
        assert_eq!(mailbox.as_str(), again.as_str());
        assert_eq!(mailbox.needs_smtputf8(), again.needs_smtputf8());
        // Outside quoted strings, of which there may be several, nothing may
        // close the path.
        let bare = outside_quotes(mailbox.as_str());
        assert!(!bare.contains(['<', '>', ' ']), "{mailbox:?}");
    }
    if let Ok(path) = ReversePath::parse(text) {
        harmless(path.as_str());
    }
    if let Ok(name) = EhloName::parse(text) {
        harmless(name.as_str());
        assert!(name.as_str().is_ascii() && !name.as_str().contains(' '));
    }
    if let Ok(host) = host_to_ascii(text) {
        harmless(&host);
        assert!(host.is_ascii());
    }
}

/// The wire form of `text`, handed in by pieces of `piece` octets (two at
/// least), taken in slices of `room` octets.
fn encode(framing: Framing, text: &[u8], piece: usize, room: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(framing);
    let mut wire = Vec::new();
    loop {
        let rest = &text[encoder.taken()..];
        let handed = rest.len().min(piece.max(2));
        let before = wire.len();
        if encoder.fill(&rest[..handed], handed == rest.len(), &mut wire, room) {
            return wire;
        }
        assert!(wire.len() - before <= room, "more than there was room for");
    }
}

/// The reference: CRLF after each line, whatever ended it.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'\r' => {
                at += usize::from(text.get(at + 1) == Some(&b'\n'));
                wire.extend_from_slice(b"\r\n");
            }
            b'\n' => wire.extend_from_slice(b"\r\n"),
            octet => wire.push(octet),
        }
        at += 1;
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

/// The reference of a server: the text of a DATA stream, and what follows.
fn unstuff(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut rest = wire;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        if line == b".\r\n" {
            return (text, after);
        }
        text.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    panic!("no final dot");
}

/// What a server takes off the wire is the text with CRLF line ends and nothing
/// else, in whatever slices it left; no bare CR or LF leaves (RFC 5321 §2.3.8),
/// so that no server can see the end elsewhere.
pub fn content(input: &[u8]) {
    let (piece, room, text) = match input {
        [piece, room, rest @ ..] => (usize::from(*piece) + 1, usize::from(*room) + 1, rest),
        _ => (1, 1, input),
    };
    let expected = with_crlf(text);
    let facts = survey(text);
    let mut in_pieces = Survey::default();
    text.chunks(piece).for_each(|piece| in_pieces.look(piece));
    assert_eq!(in_pieces.facts(), facts);
    let chunk = encode(Framing::Chunk, text, piece, room);
    assert_eq!(chunk, expected);
    assert_eq!(facts.wire_len, expected.len() as u64);
    let data = encode(Framing::Data, text, piece, room);
    assert_eq!(data, encode(Framing::Data, text, usize::MAX, usize::MAX));
    let (received, rest) = unstuff(&data);
    assert_eq!(received, expected);
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(facts.stuffed_len + 3, data.len() as u64);
    for wire in [chunk, data] {
        for (at, octet) in wire.iter().enumerate() {
            match octet {
                b'\r' => assert_eq!(wire.get(at + 1), Some(&b'\n')),
                b'\n' => assert_eq!(wire[at - 1], b'\r'),
                _ => {}
            }
        }
    }
}

const PASSWORD: &str = "correct horse battery staple";

/// Challenges, cut at NUL, never make a mechanism panic, believe a server that
/// does not know the password, or give a password away in SCRAM.
pub fn sasl(input: &[u8]) {
    let (first, challenges) = input.split_first().unwrap_or((&0, b""));
    let mechanism = Mechanism::ALL[usize::from(*first) % Mechanism::ALL.len()];
    let credentials = Credentials {
        user: "tim".into(),
        secret: Secret::from(PASSWORD),
        authzid: (first & 0x80 != 0).then(|| "tom".into()),
    };
    let binding = Binding {
        nonce: "rOprNGfwEbeRWgbNEkqOFmSr",
        channel_binding: match first & 0x40 {
            0 => ChannelBinding::TlsServerEndPoint(&[7; 32]),
            _ => ChannelBinding::NotOffered,
        },
        host: "mx.example.org",
        port: 587,
    };
    let Ok(mut exchange) = mechanism.start(&credentials, &binding) else {
        return;
    };
    let scram = !mechanism.sends_secret_in_clear() && mechanism != Mechanism::External;
    let mut said = Vec::new();
    said.extend(exchange.initial_response());
    for challenge in challenges.split(|octet| *octet == 0) {
        match exchange.respond(challenge) {
            Ok(response) => said.push(response),
            Err(_) => break,
        }
    }
    if scram {
        for response in &said {
            let found = response
                .expose()
                .windows(PASSWORD.len())
                .any(|window| window == PASSWORD.as_bytes());
            assert!(!found, "{mechanism:?} gave the password away");
        }
    }
    if matches!(
        mechanism,
        Mechanism::ScramSha1
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha256Plus
    ) {
        assert!(exchange.finished_ok().is_err(), "a server was believed");
    }
    if let Some(text) = exchange.server_error() {
        text.lines().for_each(assert_visible);
    }
}

/// A dialogue with a server, a user and a network that do what `input` says, by
/// two octets a step, keeps what its observer asks of it.
pub fn dialogue(input: &[u8]) {
    let mut numbers = input
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let seed = numbers.next().unwrap_or(0);
    let extensions = numbers.next().unwrap_or(0);
    dialogue_support::walk(seed, extensions, numbers);
}

/// What is read of an entry's metadata is read again from what is written of it.
pub fn metadata(input: &[u8]) {
    if let Some(once) = fuzzing::metadata(input) {
        let again = fuzzing::metadata(once.source.as_bytes());
        assert_eq!(again.as_ref(), Some(&once), "{}", once.source);
    }
}

/// Each line of an index is a name that could be an entry's, or leads elsewhere.
pub fn index(input: &[u8]) {
    for name in fuzzing::index(input) {
        assert!(!name.contains('/') && name != ".." && !name.starts_with(".smtpmail"));
        let mut line = name.clone().into_bytes();
        line.push(b'\n');
        assert_eq!(fuzzing::index(&line), [name]);
    }
}

/// What is read of a window file is read again from what is written of it.
pub fn window(input: &[u8]) {
    if let Some(once) = fuzzing::window(input) {
        assert_eq!(fuzzing::window(once.as_bytes()), Some(once));
    }
}

/// The reference of SOCKS5 (RFC 1928, RFC 1929): how many octets of `heard` are a
/// proxy's that connects us.
fn socks_answer(heard: &[u8], has_login: bool) -> Option<usize> {
    let asked = match (*heard.first_chunk::<2>()?, has_login) {
        ([5, 0], _) => 2,
        ([5, 2], true) if heard.get(3) == Some(&0) => 4,
        _ => return None,
    };
    let bound = match heard.get(asked..asked + 4)? {
        [5, 0, _, 1] => 4,
        [5, 0, _, 3] => 1 + usize::from(*heard.get(asked + 4)?),
        [5, 0, _, 4] => 16,
        _ => return None,
    };
    let end = asked + 4 + bound + 2;
    (end <= heard.len()).then_some(end)
}

/// The reference of CONNECT (RFC 9110 §9.3.6), likewise.
fn http_answer(heard: &[u8]) -> Option<usize> {
    let end = (1..=heard.len()).find(|end| {
        let header = &heard[..*end];
        header.ends_with(b"\r\n\r\n") || header.ends_with(b"\n\n")
    })?;
    let line = heard.split(|octet| *octet == b'\n').next()?;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let connects = match line.strip_prefix(b"HTTP/1.")? {
        [minor, b' ', b'2', tens, ones] | [minor, b' ', b'2', tens, ones, b' ', ..] => {
            [minor, tens, ones]
                .iter()
                .all(|digit| digit.is_ascii_digit())
        }
        _ => false,
    };
    connects.then_some(end)
}

/// A proxy connects us if it says so, of what the server says behind it nothing is
/// read, and its words are shown without what it was told.
pub fn proxy(input: &[u8]) {
    let (first, heard) = input.split_first().unwrap_or((&0, b""));
    let has_login = first & 1 != 0;
    let protocol = match first & 2 {
        0 => Protocol::Http,
        _ => Protocol::Socks5,
    };
    let login = Credentials {
        user: "tim".into(),
        secret: Secret::from("tanstaaf"),
        authzid: None,
    };
    let login = has_login.then_some(&login);
    let (said, end) = proxy::fuzzing::conversation(protocol, login, heard);
    let reference = match protocol {
        Protocol::Http => http_answer(heard),
        Protocol::Socks5 => socks_answer(heard, has_login),
    };
    match end {
        Ok(left) => {
            let answer = heard.len() - left;
            assert_eq!(reference, Some(answer));
            let cut = proxy::fuzzing::conversation(protocol, login, &heard[..answer - 1]);
            assert_eq!(cut.1, Err(None), "it did not wait for all of it");
        }
        Err(None) => assert_eq!(reference, None),
        Err(Some(failure)) => {
            assert_eq!(reference, None);
            assert_visible(&failure.text);
            assert!(failure.text.len() < 1024, "{failure:?}");
            let pair = STANDARD.encode("tim:tanstaaf");
            for told in ["tanstaaf", &pair] {
                let shown = failure.text.contains(told);
                assert!(!(has_login && shown), "{failure:?}");
            }
        }
    }
    // To SOCKS the login is said when it was asked for.
    if protocol == Protocol::Socks5 && !(has_login && heard.starts_with(&[5, 2])) {
        let password = |words: &Vec<u8>| words.windows(8).any(|part| part == b"tanstaaf");
        assert!(!said.iter().any(password));
    }
}
