//! Deliveries as they should be, and with servers that are slow, loud or out of
//! their mind: content, trace, progress, clocks.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smtpmail_core::delivery::{Event, Text, Verdict};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};

use self::support::*;

#[test]
fn the_trace_has_both_directions() {
    let server = start(without_chunking(options()));
    let mut request = request(&server);
    request.traced_octets = 12;
    let ended = deliver(request);
    ended.assert_accepted();
    let trace = ended.trace();
    let lines = [
        "*: connected to localhost (127.0.0.1:",
        "S: 220 mail.example.org ESMTP",
        "C: EHLO client.example.org",
        "S: 250-STARTTLS",
        "C: STARTTLS",
        "S: 220 2.0.0 Ready to start TLS",
        "*: TLS 1.3, ",
        "C: EHLO client.example.org",
        &format!(
            "C: MAIL FROM:<ada@example.org> SIZE={} BODY=8BITMIME",
            TEXT_ARRIVED.len()
        ),
        "C: RCPT TO:<bob@example.net>",
        "C: DATA",
        "S: 354 ",
        "C: Subject: ",
        "octets of message>",
        "S: 250 2.0.0 Message stored",
        "C: QUIT",
    ];
    let mut rest = trace.as_str();
    for line in lines {
        let at = rest
            .find(line)
            .unwrap_or_else(|| panic!("no {line} in its place: {trace}"));
        rest = &rest[at + line.len()..];
    }
    for line in trace.lines() {
        assert!(
            line.trim_start().starts_with(|c: char| c.is_ascii_digit()),
            "a time: {line}"
        );
    }
}

#[test]
fn a_large_message_arrives_as_it_is() {
    let text = large_text(25 << 20);
    let wanted = with_crlf(&text);
    for security in [Security::Never, Security::Required] {
        let server = start(options());
        let mut request = request(&server);
        request.plan.security = security;
        request.messages[0].text = Text::Bytes(text.clone());
        let ended = deliver(request);
        ended.assert_accepted();
        assert!(
            server.messages()[0].bytes().unwrap() == wanted,
            "{security:?}: octets differ"
        );
    }
}

#[test]
fn a_large_message_on_a_slow_line_tells_its_progress() {
    let text = large_text(12 << 20);
    // A server that reads little and late: the clock restarts with each block.
    let reader = slow_reader(Duration::from_millis(30));
    let mut request = request_to(reader, certificates().join("ca.pem"));
    request.messages[0].text = Text::Bytes(text);
    request.limits.reply = Duration::from_millis(1500);
    let ended = deliver(request);
    ended.assert_accepted();
    assert!(
        ended.took > Duration::from_millis(2500),
        "{:?}: not slow enough",
        ended.took
    );
    let progress: Vec<_> = ended
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Progress(now, of) => Some((*now, *of)),
            _ => None,
        })
        .collect();
    assert!(progress.len() > 10, "{progress:?}");
    assert!(progress.len() < 200, "{} reports", progress.len());
    assert!(
        progress.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "{progress:?}"
    );
    assert!(progress.iter().all(|(now, of)| now <= of), "{progress:?}");
}

/// A server that takes at most 64 KiB each `pause`, a hundred times, through a
/// small buffer, and then as fast as it can: what the kernel took before it was
/// read must not use up the time for the final reply.
fn slow_reader(pause: Duration) -> u16 {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(32 << 10).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let say = |stream: &mut std::net::TcpStream, text: &str| {
            stream.write_all(text.as_bytes()).unwrap();
        };
        say(&mut stream, "220 slow\r\n");
        let mut input = vec![0; 64 << 10];
        for reply in [
            "250-slow\r\n250 8BITMIME\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
        ] {
            let got = stream.read(&mut input).unwrap();
            assert!(input[..got].ends_with(b"\r\n"));
            say(&mut stream, reply);
        }
        let mut last = Vec::new();
        let mut pauses = 0..100;
        while !last.ends_with(b"\r\n.\r\n") {
            let got = stream.read(&mut input).unwrap();
            assert!(got > 0, "left in the middle of the text");
            last.extend_from_slice(&input[..got]);
            last.drain(..last.len().saturating_sub(5));
            if pauses.next().is_some() {
                std::thread::sleep(pause);
            }
        }
        say(&mut stream, "250 taken\r\n");
        let _ = stream.read(&mut input);
    });
    port
}

#[test]
fn slow_and_broken_up_replies_are_replies() {
    let places = [
        "greeting",
        "ehlo",
        "starttls",
        "ehlo-tls",
        "auth",
        "auth-response",
        "mail",
        "rcpt",
        "data",
        "dot",
    ];
    for action in ["drip 1", "split 2 20", "split 5 20", "delay 30"] {
        let rules: Vec<_> = places
            .iter()
            .map(|place| format!("{place}={action}"))
            .collect();
        let rules: Vec<_> = rules.iter().map(String::as_str).collect();
        let server = start(options_on(&rules).user(USER, PASSWORD));
        let ended = deliver_answering(request(&server), |_| Some(good_login()));
        ended.assert_accepted();
        assert_eq!(
            server.messages()[0].bytes().unwrap(),
            TEXT_ARRIVED,
            "{action}"
        );
    }
}

#[test]
fn a_drip_does_not_put_the_deadline_off() {
    // A reply of some 20 octets, one each 200 ms, would take 4 s and more.
    for place in ["greeting", "ehlo", "mail", "dot"] {
        let server = start(options_on(&[&format!("{place}=drip 200")]));
        let mut request = request(&server);
        request.limits = hasty();
        let ended = deliver(request);
        let failure = match &ended.report.verdict {
            Verdict::Failed(failure) | Verdict::Unknown(failure) => failure,
            Verdict::Accepted(_) => panic!("{place}: it waited {:?}", ended.took),
        };
        assert_eq!(failure.kind, FailureKind::Timeout, "{place}");
        assert!(
            ended.took < hasty().reply + Duration::from_millis(1500),
            "{place}: {:?}",
            ended.took
        );
    }
}

#[test]
fn floods_and_garbage_are_refused() {
    let places = [
        ("greeting", Phase::Greeting),
        ("ehlo-tls", Phase::Ehlo),
        ("auth", Phase::Auth),
        ("mail", Phase::Mail),
        ("rcpt", Phase::Recipient),
        ("data", Phase::Data),
        ("dot", Phase::Final),
    ];
    for action in [
        "garbage 5000",
        "flood",
        "flood-line",
        "reply hello there",
        "reply 999 x",
    ] {
        in_parallel(&places, 3, |(place, phase)| {
            let server = start(options_on(&[&format!("{place}={action}")]).user(USER, PASSWORD));
            let ended = deliver_answering(request(&server), |_| Some(good_login()));
            let (failure, unknown) = match &ended.report.verdict {
                Verdict::Failed(failure) => (failure, false),
                Verdict::Unknown(failure) => (failure, true),
                Verdict::Accepted(words) => panic!("{place} {action}: {words}"),
            };
            assert_eq!(unknown, *place == "dot", "{place} {action}: {failure:?}");
            assert_eq!(failure.phase, *phase, "{place} {action}: {failure:?}");
            assert_eq!(
                failure.kind,
                FailureKind::Protocol,
                "{place} {action}: {failure:?}"
            );
            assert!(failure.text.len() < 1000, "{place} {action}: {failure:?}");
            assert!(
                !failure.text.contains(['\r', '\n', '\0', '\u{1b}']),
                "{failure:?}"
            );
        });
    }
}

#[test]
fn a_refusal_in_the_middle_of_the_text_ends_it() {
    let ways = [Security::Never, Security::Required].map(|way| [(way, true), (way, false)]);
    for (security, no_chunking) in ways.concat() {
        let mut options = options_on(&["text:100000=reply 552 5.3.4 too big"]);
        options.no_chunking = no_chunking;
        let server = start(options);
        let mut request = request(&server);
        request.plan.security = security;
        request.messages[0].text = Text::Bytes(large_text(24 << 20));
        let ended = deliver(request);
        ended.assert_failed(FailureKind::Refused, Phase::Text);
        assert_eq!(ended.failure().code, Some(552));
        assert!(server.wait_until_quiet(WATCHDOG));
        assert!(server.messages().is_empty());
        assert!(
            !server.transcript(1).unwrap().contains("bytes of message>"),
            "the rest was sent"
        );
    }
}

#[test]
fn a_refusal_in_the_middle_of_the_last_block_ends_it_too() {
    // The server reads on once it has refused, and the end of the text must not
    // reach it: it might take the message after all. Steps of less than what
    // is made ready at once, so that for some of them the kernel took a part of
    // the last block.
    let sizes: Vec<_> = (1..24).map(|n| n * (32 << 10)).collect();
    let cut_short = AtomicU64::new(0);
    in_parallel(&sizes, 8, |octets| {
        let reader = refusing_reader();
        let mut request = request_to(reader.port, certificates().join("ca.pem"));
        request.messages[0].text = Text::Bytes(large_text(*octets));
        let ended = deliver(request);
        let failure = ended.failure();
        assert_eq!(failure.code, Some(552), "{octets}: {failure:?}");
        let saw_the_end = reader.saw_the_end.join().unwrap();
        assert_eq!(
            saw_the_end,
            failure.phase == Phase::Final,
            "{octets}: {failure:?}"
        );
        cut_short.fetch_add(u64::from(!saw_the_end), Ordering::Relaxed);
    });
    let cut_short = cut_short.into_inner();
    assert!(
        (4..23).contains(&cut_short),
        "{cut_short}: the sizes miss the kernel's limit"
    );
}

struct RefusingReader {
    port: u16,
    saw_the_end: std::thread::JoinHandle<bool>,
}

/// Refuses in the middle of a text that its buffer cannot take, then reads all.
fn refusing_reader() -> RefusingReader {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(4 << 10).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let listener = TcpListener::from(listener);
    let port = listener.local_addr().unwrap().port();
    let saw_the_end = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // Segments of loopback are large; our buffer is small, theirs is made so
        // by the window.
        let mut input = vec![0; 4 << 10];
        stream.write_all(b"220 small\r\n").unwrap();
        for reply in [
            "250-small\r\n250 8BITMIME\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
        ] {
            assert!(stream.read(&mut input).unwrap() > 0);
            stream.write_all(reply.as_bytes()).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
        stream.write_all(b"552 5.3.4 too big\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        all.windows(5).any(|five| five == b"\r\n.\r\n")
    });
    RefusingReader { port, saw_the_end }
}

#[test]
fn nul_is_refused_before_any_connection() {
    let server = start(options());
    let mut request = request(&server);
    request.messages[0].text = Text::Bytes(b"Subject: x\n\na\0b\n".to_vec());
    deliver(request).assert_failed(FailureKind::Content, Phase::Mail);
    assert_eq!(server.sessions(), 0);
}

#[test]
fn a_message_too_large_is_told_before_or_after_it_was_sent() {
    for (at_dot, caps, phase) in [
        (false, "PIPELINING,8BITMIME,SIZE 30", Phase::Mail),
        (true, "PIPELINING,8BITMIME", Phase::Final),
    ] {
        let mut options = options().caps(caps);
        options.max_size = Some(30);
        options.size_at_dot = at_dot;
        let server = start(options);
        let ended = deliver(request(&server));
        assert_eq!(ended.failure().phase, phase, "{:?}", ended.failure());
        assert!(server.messages().is_empty());
    }
}

#[test]
fn nobody_listens() {
    // Bound and not listening: nobody else can have the port meanwhile.
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    held.bind(&any.into()).unwrap();
    let port = held.local_addr().unwrap().as_socket().unwrap().port();
    let mut request = request_to(port, certificates().join("ca.pem"));
    request.host = "127.0.0.1".into();
    request.attempts = 3;
    let ended = deliver(request);
    ended.assert_failed(FailureKind::Connect, Phase::Connect);
    assert_eq!(
        ended.failure().text,
        format!("127.0.0.1:{port}: connection refused")
    );
    assert!(ended.trace().contains("connection refused"));
}

#[test]
fn a_cancel_after_the_acceptance_does_not_deny_it() {
    let server = start(options());
    let mut under = Under::begin(request(&server));
    while under.until(|event| matches!(event, Event::Phase(_))) {}
    assert!(under.delivery.cancel(), "the server has taken it");
    under.finish(|_| None).assert_accepted();
}

#[test]
fn a_cancel_after_a_refusal_knows_that_nothing_went() {
    let server = start(options_on(&["dot=reply 554 no"]));
    let mut under = Under::begin(request(&server));
    while under.until(|event| matches!(event, Event::Phase(_))) {}
    assert!(!under.delivery.cancel());
    under
        .finish(|_| None)
        .assert_failed(FailureKind::Refused, Phase::Final);
}

#[test]
fn a_cancel_with_the_end_of_the_text_still_here_says_no() {
    // The server takes no more. Steps of less than what is made ready at once,
    // so that for some of them the kernel took a part of the last block.
    let server = start(options_on(&["text:1=deaf"]));
    let sizes: Vec<_> = (1..32).map(|n| n * (64 << 10)).collect();
    let still_here = AtomicU64::new(0);
    in_parallel(&sizes, 8, |octets| {
        let mut request = request(&server);
        request.plan.security = Security::Never;
        request.messages[0].text = Text::Bytes(large_text(*octets));
        let mut under = Under::begin(request);
        assert!(under.until(|e| matches!(e, Event::Phase(Phase::Text | Phase::Final))));
        std::thread::sleep(Duration::from_millis(200));
        let may_have_gone = under.delivery.cancel();
        let ended = under.finish(|_| None);
        match &ended.report.verdict {
            Verdict::Failed(failure) => {
                assert_eq!(failure.phase, Phase::Text, "{octets}");
                assert!(!may_have_gone, "{octets}: its end is still here");
                still_here.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Unknown(_) => assert!(may_have_gone, "{octets}"),
            Verdict::Accepted(words) => panic!("{octets}: {words}"),
        }
    });
    let still_here = still_here.into_inner();
    assert!(
        (8..31).contains(&still_here),
        "{still_here}: the sizes miss the kernel's limit"
    );
}

#[test]
fn cancels_at_any_moment_are_answered_honestly() {
    // The server's spool tells the truth: whoever was told no finds nothing.
    let server = start(options());
    let spooled = || server.messages().len();
    let mut takens = 0;
    for step in 0..60 {
        let before = spooled();
        let mut request = request(&server);
        request.plan.security = Security::Never;
        let under = Under::begin(request);
        std::thread::sleep(Duration::from_micros(step * 100));
        let may_have_gone = under.delivery.cancel();
        let ended = under.finish(|_| None);
        assert!(server.wait_until_quiet(WATCHDOG));
        let taken = spooled() > before;
        takens += usize::from(taken);
        assert!(
            may_have_gone || !taken,
            "step {step}: told no, and it was sent"
        );
        match &ended.report.verdict {
            Verdict::Accepted(_) => assert!(taken && may_have_gone, "step {step}"),
            Verdict::Unknown(_) => assert!(may_have_gone, "step {step}"),
            Verdict::Failed(failure) => assert!(!taken, "step {step}: {failure:?}"),
        }
    }
    assert!(
        (1..60).contains(&takens),
        "{takens}: the moments are not spread"
    );
}

#[test]
fn both_families_are_tried() {
    use smtpmail_test_server::Bind;
    for (bind, host) in [
        (Bind::V4, "localhost"),
        (Bind::V6, "::1"),
        (Bind::Both, "localhost"),
    ] {
        let mut options = options();
        options.bind = bind;
        let server = start(options);
        let mut request = request(&server);
        request.host = host.into();
        request.plan.security = Security::Required;
        deliver(request).assert_accepted();
    }
}
