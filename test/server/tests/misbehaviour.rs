//! The server as the script wants it: every action, seen from the wire.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use common::{Client, connect, greeted, handshake, options, start, tcp};

/// Less than any pause that is asked for here, more than loopback takes.
const MOMENT: Duration = Duration::from_millis(40);

#[test]
fn a_scripted_reply_goes_out_as_it_is_and_means_what_it_says() {
    let server = start(
        options()
            .on(r"mail#1=reply 451-4.3.0 first\r\n451 4.3.0 later")
            .on("rcpt:bad@example.org=reply 550 5.1.1 no")
            .on("rcpt#2-=reply 251 will forward")
            .on("rset=reply 421 no"),
    );
    let mut client = greeted(&server);
    assert_eq!(
        client.ask("MAIL FROM:<a@b>"),
        "451-4.3.0 first\r\n451 4.3.0 later\r\n"
    );
    client.expect("RCPT TO:<c@d>", "503");
    client.expect("MAIL FROM:<a@b>", "250");
    client.expect("RCPT TO:<bad@example.org>", "550 5.1.1 no");
    client.expect("RCPT TO:<c@d>", "251");
    client.expect("RSET", "421");
    client.expect("DATA", "354");
    client.expect(".", "250");
    assert_eq!(server.messages()[0].to, ["c@d"]);
}

#[test]
fn the_extensions_in_force_are_those_that_were_said() {
    let server = start(options().on(r"ehlo=reply 250-x\r\n250-Size\r\n250 AUTH=LOGIN"));
    let mut client = connect(&server);
    client.expect("EHLO c", "250-x");
    client.expect("MAIL FROM:<a@b> SIZE=1", "250 Sender");
    client.expect("RSET", "250 Ok");
    client.expect("STARTTLS", "502");
    client.expect("AUTH LOGIN", "334");
}

#[test]
fn a_refused_ehlo_leaves_helo() {
    let server = start(options().on("ehlo=reply 502 what"));
    let mut client = connect(&server);
    client.expect("EHLO c", "502");
    client.expect("MAIL FROM:<a@b>", "503");
    client.expect("HELO c", "250");
    client.expect("MAIL FROM:<a@b>", "250");
}

#[test]
fn the_connection_ends_as_asked() {
    for (ending, is_reset) in [("close", false), ("cut", false), ("reset", true)] {
        let server = start(options().on(&format!("noop={ending}")));
        let mut client = greeted(&server);
        client.send("NOOP\r\n");
        match client.rest() {
            Ok(rest) => assert!(rest.is_empty() && !is_reset, "{ending}: {rest:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{ending}");
                assert!(is_reset, "{ending}");
            }
        }
        let transcript = server.transcript(1).expect("a transcript");
        assert!(
            transcript.ends_with(&format!("C: NOOP\n*: {ending}\n")),
            "{transcript}"
        );
    }
}

#[test]
fn close_tells_it_within_tls_and_cut_does_not() {
    for (ending, is_told) in [("close", true), ("cut", false)] {
        let mut wanted = options().on(&format!("noop=reply-{ending} 421 bye"));
        wanted.ssl = true;
        let server = start(wanted);
        let mut client = handshake(tcp(server.port()), server.ca_path(), None).expect("TLS");
        client.reply();
        client.expect("NOOP", "421 bye");
        // Without close_notify the end reads as an error of the TLS layer.
        let end = client.stream.ssl_read(&mut [0; 16]).expect_err("an end");
        assert_eq!(
            end.code() == openssl::ssl::ErrorCode::ZERO_RETURN,
            is_told,
            "{end:?}"
        );
    }
}

#[test]
fn silence_takes_all_and_deafness_nothing() {
    // More than the buffers of a loopback connection hold.
    let flood = vec![b'x'; 32 * 1024 * 1024];
    for (ending, is_read) in [("silence", true), ("deaf", false)] {
        let server = start(options().on(&format!("noop={ending}")));
        let mut client = greeted(&server);
        client.send("NOOP\r\n");
        client
            .stream
            .set_write_timeout(Some(Duration::from_secs(1)))
            .expect("a limit");
        client
            .stream
            .set_read_timeout(Some(MOMENT))
            .expect("a limit");
        assert_eq!(client.stream.write_all(&flood).is_ok(), is_read, "{ending}");
        let error = client.rest().expect_err("no answer");
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{ending}");
    }
}

#[test]
fn nothing_is_stored_at_a_close_but_all_at_an_accepting_one() {
    for (action, count) in [
        ("close", 0),
        ("accept-close", 1),
        ("accept-reset", 1),
        ("reset", 0),
    ] {
        let server = start(options().on(&format!("dot={action}")));
        let mut client = greeted(&server);
        client.begin_data();
        client.send("x\r\n.\r\n");
        assert!(client.try_reply().is_err(), "{action}");
        assert_eq!(server.messages().len(), count, "{action}");
    }
}

#[test]
fn bdat_can_be_accepted_without_a_word() {
    let server = start(options().on("bdat#2=accept-close"));
    let mut client = greeted(&server);
    client.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 1\r\nxBDAT 1 LAST\r\ny");
    for _ in 0..3 {
        assert!(client.reply().starts_with("250"));
    }
    assert_eq!(client.rest().expect("a close"), b"");
    assert_eq!(server.messages()[0].bytes().expect("a file"), b"xy");
}

#[test]
fn text_can_be_broken_in_the_middle() {
    let server = start(options().on("text=close").on("text:10#2=reply 421 enough"));
    let mut client = greeted(&server);
    client.begin_data();
    client.send(format!("{}\r\n", "y".repeat(997)));
    client
        .stream
        .set_read_timeout(Some(MOMENT))
        .expect("a limit");
    let error = client.try_reply().expect_err("999 bytes are let through");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    client
        .stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .expect("a limit");
    client.send("\r\n");
    assert_eq!(client.rest().expect("a close"), b"");
    let transcript = server.transcript(1).expect("a transcript");
    let end = "*: broken after 1001 bytes of message\n*: close\n";
    assert!(transcript.ends_with(end), "{transcript}");
    let mut client = greeted(&server);
    client.begin_data();
    client.send("0123456789\r\n");
    assert_eq!(client.reply(), "421 enough\r\n");
    client.expect(".", "250");
    assert_eq!(
        server.messages().len(),
        1,
        "the first was lost, the second not"
    );
}

#[test]
fn delays_are_kept_and_drips_and_splits_are_seen_apart() {
    let server = start(
        options()
            .on("noop#1=delay 80")
            .on("noop#2=drip 2")
            .on("noop#3=split 6 150"),
    );
    let mut client = greeted(&server);
    let begin = Instant::now();
    client.expect("NOOP", "250 2.0.0 Ok\r\n");
    assert!(begin.elapsed() >= Duration::from_millis(80));
    let begin = Instant::now();
    client.expect("NOOP", "250 2.0.0 Ok\r\n");
    assert!(begin.elapsed() >= Duration::from_millis(2 * 13));
    client.send("NOOP\r\n");
    let mut piece = [0; 64];
    let length = client.stream.read(&mut piece).expect("a first half");
    assert_eq!(piece[..length], *b"250 2.");
    let begin = Instant::now();
    assert_eq!(client.reply(), "0.0 Ok\r\n");
    assert!(
        begin.elapsed() >= Duration::from_millis(120),
        "a longer pause than the usual one"
    );
}

#[test]
fn every_reply_or_turn_can_be_slow() {
    let mut wanted = options();
    wanted.delay_all = Duration::from_millis(30);
    let server = start(wanted);
    let mut client = greeted(&server);
    let begin = Instant::now();
    client.send("NOOP\r\nNOOP\r\nNOOP\r\n");
    (0..3).for_each(|_| drop(client.reply()));
    assert!(begin.elapsed() >= Duration::from_millis(90));

    let mut wanted = options();
    wanted.delay_turn = Duration::from_millis(300);
    let server = start(wanted);
    let mut client = greeted(&server);
    let begin = Instant::now();
    client.send("NOOP\r\nNOOP\r\nNOOP\r\n");
    (0..3).for_each(|_| drop(client.reply()));
    let took = begin.elapsed();
    assert!(
        (300..900).contains(&took.as_millis()),
        "one wait for all three, not {took:?}"
    );
}

#[test]
fn garbage_and_floods_are_bounded() {
    let server = start(
        options()
            .on("greeting#1=garbage 5000")
            .on("ehlo=flood")
            .on("helo=flood-line"),
    );
    let mut client = Client::new(tcp(server.port()));
    let mut garbage = [0; 5000];
    client
        .stream
        .read_exact(&mut garbage)
        .expect("that many bytes");
    assert!(!garbage.is_ascii());
    client.send("QUIT\r\n");
    assert!(client.reply().starts_with("221"));
    let mut client = connect(&server);
    client.send("EHLO c\r\n");
    let flood = client.rest().expect("an end");
    assert!(flood.len() >= 64 * 1024 * 1024 && flood.len() < 65 * 1024 * 1024);
    assert!(flood.starts_with(b"250-") && flood.ends_with(b"\r\n"));
    // A client that goes away ends a flood too.
    let mut client = connect(&server);
    client.send("HELO c\r\n");
    let mut piece = [0; 4096];
    client.stream.read_exact(&mut piece).expect("a beginning");
    assert!(!piece.contains(&b'\n'));
    drop(client);
    assert!(server.wait_until_quiet(Duration::from_secs(5)));
}

#[test]
fn clear_text_can_be_injected_behind_starttls() {
    let server = start(options().on(r"starttls=inject 250 evil"));
    let mut client = greeted(&server);
    client.send("STARTTLS\r\n");
    let mut both = [0; 64];
    let length = client.stream.read(&mut both).expect("a reply");
    assert_eq!(
        both[..length],
        *b"220 2.0.0 Ready to start TLS\r\n250 evil\r\n"
    );
    // The rest goes on as if nothing were.
    let mut client = handshake(client.stream, server.ca_path(), None).expect("a handshake");
    client.expect("EHLO c", "250-");
}

#[test]
fn a_refused_starttls_leaves_clear_text() {
    let server = start(options().on("starttls=reply 454 4.7.0 not now"));
    let mut client = greeted(&server);
    client.expect("STARTTLS", "454");
    client.begin_data();
    client.expect(".", "250");
}

#[test]
fn handshakes_fail_in_every_way() {
    let table = [
        ("plaintext", "wrong version number"),
        ("no-certificate", "handshake failure"),
        ("close", "ErrorCode(5), cause: None"),
        ("reset", "ConnectionReset"),
        ("garbage 200", ""),
        ("silence", "WouldBlock"),
    ];
    for (action, complaint) in table {
        let server = start(options().on(&format!("handshake={action}")));
        let mut client = greeted(&server);
        client.expect("STARTTLS", "220");
        client
            .stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("a limit");
        let error = handshake(client.stream, server.ca_path(), None)
            .map(drop)
            .expect_err(action);
        assert!(error.contains(complaint), "{action}: {error}");
    }
    let server = start(
        options()
            .on("handshake=delay 80")
            .on("ehlo-tls=reply 554 no"),
    );
    let mut client = greeted(&server);
    client.expect("STARTTLS", "220");
    let begin = Instant::now();
    let mut client = handshake(client.stream, server.ca_path(), None).expect("a handshake");
    assert!(begin.elapsed() >= Duration::from_millis(80));
    client.expect("EHLO c", "554");
}

#[test]
fn logins_can_go_wrong_at_either_step() {
    let server = start(
        options()
            .user("u", "p")
            .on("auth#1=reply 454 4.7.0 later")
            .on("auth-response#1=close"),
    );
    let mut client = greeted(&server);
    client.expect("AUTH PLAIN AHUAcA==", "454");
    client.expect("AUTH PLAIN", "334 \r\n");
    client.send("AHUAcA==\r\n");
    assert_eq!(client.rest().expect("a close"), b"");
    let mut client = greeted(&server);
    client.expect("AUTH PLAIN AHUAcA==", "235");
}

#[test]
fn data_can_be_asked_for_without_recipients_and_quit_be_ignored() {
    let server = start(
        options()
            .on("data=reply 354 anyway")
            .on("quit=reply 500 stay"),
    );
    let mut client = greeted(&server);
    client.expect("MAIL FROM:<a@b>", "250");
    client.expect("DATA", "354");
    client.expect(".", "554 5.5.1");
    client.expect("QUIT", "500");
    client.expect("NOOP", "250");
    assert!(server.messages().is_empty());
}
