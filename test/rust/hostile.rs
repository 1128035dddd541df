//! Texts and arguments made to add something to a session: ends of text within a
//! text, at every split, and control characters in all that a command can hold.
//! What hostile servers do is in the files that `test/servers/hostile.org` names.

use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath, host_to_ascii};
use smtpmail_core::smtp::command::Line;
use smtpmail_core::smtp::content::{Encoder, Framing};
use smtpmail_core::smtp::secret::Secret;

/// Line ends that one server or another has taken for one.
const LINE_ENDS: [&[u8]; 6] = [b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\0\n"];

/// Rooms that cut the wire form at each octet, at a few, and nowhere.
const ROOMS: [usize; 5] = [1, 2, 3, 7, 4096];

/// The wire form of `text` handed in as two pieces, cut at `split`.
fn encode(framing: Framing, text: &[u8], split: usize, room: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(framing);
    let mut wire = Vec::new();
    loop {
        let taken = encoder.taken();
        // A piece that is not the last has at least two octets.
        let is_last = split < taken + 2;
        let piece = match is_last {
            true => &text[taken..],
            false => &text[taken..split],
        };
        if encoder.fill(piece, is_last, &mut wire, room) && is_last {
            return wire;
        }
    }
}

/// Where the most indulgent server would see the end of the text: a dot between
/// line ends of any kind.
fn first_end(wire: &[u8]) -> Option<usize> {
    let is_end = |octet: &u8| matches!(octet, b'\r' | b'\n');
    (0..wire.len()).find(|&at| {
        wire[at] == b'.'
            && (at == 0 || is_end(&wire[at - 1]))
            && wire.get(at + 1).is_some_and(is_end)
    })
}

fn has_bare_cr_or_lf(wire: &[u8]) -> bool {
    (0..wire.len()).any(|at| match wire[at] {
        b'\r' => wire.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || wire[at - 1] != b'\r',
        _ => false,
    })
}

#[test]
fn no_text_ends_early_however_it_is_split() {
    for before in LINE_ENDS {
        for after in LINE_ENDS {
            for start in [&b"Subject: x\n\nHello"[..], b""] {
                let smuggled = b"MAIL FROM:<evil@example.org>";
                let text = [start, before, b".", after, smuggled, after].concat();
                for split in 0..=text.len() {
                    for room in ROOMS {
                        let wire = encode(Framing::Data, &text, split, room);
                        assert!(!has_bare_cr_or_lf(&wire), "{text:?} at {split}: {wire:?}");
                        assert!(
                            wire.ends_with(b"\r\n.\r\n"),
                            "{text:?} at {split}: {wire:?}"
                        );
                        assert_eq!(
                            first_end(&wire),
                            Some(wire.len() - 3),
                            "{text:?} at {split}, room {room}: {wire:?}"
                        );
                        let chunk = encode(Framing::Chunk, &text, split, room);
                        assert!(!has_bare_cr_or_lf(&chunk), "{text:?} at {split}: {chunk:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_indulgent_server_can_be_fooled() {
    for smuggled in [
        &b"a\n.\nb\r\n.\r\n"[..],
        b"a\r.\rb\r\n.\r\n",
        b"a\r\n.\nb\r\n.\r\n",
    ] {
        assert!(first_end(smuggled).is_some_and(|at| at < smuggled.len() - 3));
        assert!(has_bare_cr_or_lf(smuggled));
    }
}

#[test]
fn no_argument_holds_a_control_character() {
    for c in (0..=31).chain([127]).map(char::from) {
        for text in [
            format!("a{c}b@example.org"),
            format!("{c}ab@example.org"),
            format!("ab@exam{c}ple.org"),
            format!("ab@example.org{c}"),
            format!("\"a{c}b\"@example.org"),
            format!("\"a\\{c}b\"@example.org"),
            format!("j\u{fc}rgen{c}@b\u{fc}ro.example"),
        ] {
            assert!(Mailbox::parse(&text).is_err(), "{text:?}");
            assert!(ReversePath::parse(&text).is_err(), "{text:?}");
        }
        for text in [
            format!("mx{c}.example.org"),
            format!("mx.example.org{c}"),
            format!("{c}mx.example.org"),
            format!("b\u{fc}ro{c}.example"),
            format!("[127.0.0.1{c}]"),
        ] {
            assert!(EhloName::parse(&text).is_err(), "{text:?}");
            assert!(host_to_ascii(&text).is_err(), "{text:?}");
        }
        // A line of a user's own login method.
        let line = Line::new(Secret::from(format!("AUTH{c}X").as_str()));
        assert!(line.is_none(), "{c:?}");
    }
}
