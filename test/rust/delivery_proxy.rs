//! Deliveries by proxies and commands: those that do what they should, and all that
//! can go wrong with them.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use smtpmail_core::delivery::{Answer, Event, Probe, Question, Request, close_kept};
use smtpmail_core::net::proxy::tunnel::Program;
use smtpmail_core::net::proxy::{Protocol, Proxy, ProxyServer};
use smtpmail_core::smtp::dialogue::Security;
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::sasl::Mechanism;
use smtpmail_test_server::Server;

use self::support::*;

/// What a proxy of these tests does, in turn, on each of its connections.
#[derive(Clone)]
enum Act {
    /// Takes so many octets.
    Hear(usize),
    /// Takes all up to an empty line.
    HearHeader,
    Say(Vec<u8>),
    /// Says that again and again.
    Flood(Vec<u8>),
    /// Says nothing more, and reads.
    Silence,
    /// Passes octets on to this port.
    PassTo(u16),
}

use Act::{Flood, Hear, HearHeader, PassTo, Say, Silence};

/// A proxy that acts the same on each connection, or first in one way and then in
/// another; what it heard.
struct Scripted {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

fn scripted(scripts: &[&[Act]]) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let scripts: Vec<Vec<Act>> = scripts.iter().map(|acts| acts.to_vec()).collect();
    let told = heard.clone();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let acts = scripts[number.min(scripts.len() - 1)].clone();
            let told = told.clone();
            std::thread::spawn(move || drop(stream.and_then(|stream| act(stream, &acts, &told))));
        }
        std::io::Result::Ok(())
    });
    Scripted { port, heard }
}

fn act(mut stream: TcpStream, acts: &[Act], told: &Mutex<Vec<Vec<u8>>>) -> std::io::Result<()> {
    for act in acts {
        match act {
            Hear(count) => {
                let mut octets = vec![0; *count];
                stream.read_exact(&mut octets)?;
                told.lock().expect("nobody panics with it").push(octets);
            }
            HearHeader => {
                let mut octets = Vec::new();
                while !octets.ends_with(b"\r\n\r\n") {
                    let mut octet = [0];
                    stream.read_exact(&mut octet)?;
                    octets.push(octet[0]);
                }
                told.lock().expect("nobody panics with it").push(octets);
            }
            Say(octets) => stream.write_all(octets)?,
            Flood(octets) => loop {
                stream.write_all(octets)?;
            },
            Silence => {
                std::io::copy(&mut stream, &mut std::io::sink())?;
            }
            PassTo(port) => {
                let mut server = TcpStream::connect(("127.0.0.1", *port))?;
                let (mut from, mut to) = (stream.try_clone()?, server.try_clone()?);
                let there = std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
                std::io::copy(&mut server, &mut stream)?;
                stream.shutdown(Shutdown::Write)?;
                let _ = there.join();
            }
        }
    }
    Ok(())
}

/// Replies of SOCKS5: no login wanted; connected.
const NO_LOGIN: &[u8] = b"\x05\x00";
const CONNECTED: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";

/// Octets of a request of SOCKS5 for this name.
fn request_length(host: &str) -> usize {
    4 + 1 + host.len() + 2
}

fn socks(server: &Server, host: &str) -> Vec<Act> {
    vec![
        Hear(3),
        Say(NO_LOGIN.into()),
        Hear(request_length(host)),
        Say(CONNECTED.into()),
        PassTo(server.port()),
    ]
}

fn http(server: &Server) -> Vec<Act> {
    let reply = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n";
    vec![HearHeader, Say(reply.to_vec()), PassTo(server.port())]
}

fn by(protocol: Protocol, port: u16) -> Option<Proxy> {
    Some(Proxy::Server(ProxyServer {
        protocol,
        host: "127.0.0.1".into(),
        port,
        user: None,
    }))
}

/// A name that no resolver of ours knows (RFC 6761 §6.4).
const UNKNOWN: &str = "mx.invalid";

fn to(server: &Server, host: &str, proxy: Option<Proxy>) -> Request {
    let mut all = request(server);
    all.host = host.into();
    all.proxy = proxy;
    all
}

fn assert_proxy_failed(ended: &Ended, kind: FailureKind, words: &str) {
    ended.assert_failed(kind, Phase::Proxy);
    let text = &ended.failure().text;
    assert!(text.contains(words), "{words:?} is not in {text:?}");
}

#[test]
fn the_proxy_looks_the_name_up() {
    let server = start(options());
    let begin = |protocol, scripted: &Scripted| {
        let mut all = to(&server, UNKNOWN, by(protocol, scripted.port));
        all.plan.security = Security::Never;
        deliver(all).assert_accepted();
    };
    let proxy = scripted(&[&socks(&server, UNKNOWN)]);
    begin(Protocol::Socks5, &proxy);
    let mut wanted = vec![5, 1, 0, 3, UNKNOWN.len() as u8];
    wanted.extend(UNKNOWN.as_bytes());
    wanted.extend(server.port().to_be_bytes());
    assert_eq!(
        *proxy.heard.lock().expect("it is over"),
        [vec![5, 1, 0], wanted]
    );

    let proxy = scripted(&[&http(&server)]);
    begin(Protocol::Http, &proxy);
    let target = format!("{UNKNOWN}:{}", server.port());
    let wanted = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    assert_eq!(
        *proxy.heard.lock().expect("it is over"),
        [wanted.into_bytes()]
    );
    assert_eq!(server.messages().len(), 2);
}

/// The server may speak in the same packet as the proxy, before or after TLS.
#[test]
fn the_greeting_behind_the_proxy_s_last_octet_is_not_lost() {
    let greeting = b"554 5.3.2 go away\r\n";
    let reply = [b"HTTP/1.1 200 ok\r\n\r\n", greeting.as_slice()].concat();
    let bound = [CONNECTED, greeting].concat();
    let table: [(Protocol, Vec<Act>); 2] = [
        (Protocol::Http, vec![HearHeader, Say(reply)]),
        (
            Protocol::Socks5,
            vec![Hear(3), Say(NO_LOGIN.into()), Hear(16), Say(bound)],
        ),
    ];
    for (protocol, acts) in table {
        let server = start(options());
        let proxy = scripted(&[&acts]);
        let ended = deliver(to(&server, "localhost", by(protocol, proxy.port)));
        ended.assert_failed(FailureKind::Refused, Phase::Greeting);
        assert_eq!(ended.failure().code, Some(554));
    }
}

#[test]
fn the_certificate_has_to_be_the_server_s() {
    for implicit in [false, true] {
        let mut with = options();
        with.ssl = implicit;
        let server = start(with);
        let security = match implicit {
            true => Security::Implicit,
            false => Security::Required,
        };
        let try_host = |host: &str| {
            let proxy = scripted(&[&socks(&server, host)]);
            let mut all = to(&server, host, by(Protocol::Socks5, proxy.port));
            all.plan.security = security;
            deliver_untrusting(all)
        };
        try_host("localhost").assert_accepted();
        try_host(UNKNOWN).assert_failed(FailureKind::Certificate, Phase::Handshake);
    }
}

#[test]
fn what_proxies_get_wrong_ends_in_time_and_is_told_as_theirs() {
    let server = start(options());
    let refused = [b"\x05\x05\x00\x01".to_vec(), vec![0; 6]].concat();
    let header = b"X-Long: 1234567890\r\n".to_vec();
    let begun = b"HTTP/1.1 200 ok\r\n".to_vec();
    let socks5 = |acts: &[Act]| (Protocol::Socks5, acts.to_vec());
    let http = |acts: &[Act]| (Protocol::Http, acts.to_vec());
    let connect = FailureKind::Connect;
    let timeout = FailureKind::Timeout;
    let table = [
        (socks5(&[]), connect, "did not pass us on: "),
        (socks5(&[Hear(3)]), connect, "closed the connection"),
        (socks5(&[Silence]), timeout, "does not answer"),
        (
            socks5(&[Hear(3), Say(vec![5])]),
            connect,
            "closed the connection",
        ),
        (
            socks5(&[Hear(3), Say(vec![5]), Silence]),
            timeout,
            "does not answer",
        ),
        (
            socks5(&[Hear(3), Say(vec![4, 90])]),
            connect,
            "does not speak SOCKS5",
        ),
        (
            socks5(&[Say(b"HTTP/1.1 400\r\n\r\n".to_vec()), Silence]),
            connect,
            "speaks HTTP",
        ),
        (
            socks5(&[Say(b"220 mx\r\n".to_vec()), Silence]),
            connect,
            "does not speak SOCKS5",
        ),
        (
            socks5(&[Hear(3), Say(vec![5, 9])]),
            connect,
            "not known here (9)",
        ),
        (
            socks5(&[Hear(3), Say(vec![5, 0]), Hear(16), Say(refused)]),
            connect,
            "refused",
        ),
        (
            socks5(&[Hear(3), Say(vec![5, 0]), Hear(16), Silence]),
            timeout,
            "does not answer",
        ),
        (socks5(&[Flood(vec![5, 0xff])]), connect, ""),
        (http(&[HearHeader]), connect, "closed the connection"),
        (http(&[Silence]), timeout, "does not answer"),
        (
            http(&[Say(b"220 mx ESMTP\r\n\r\n".to_vec()), Silence]),
            connect,
            "not speak HTTP: 220",
        ),
        (
            http(&[Say(begun.clone()), Flood(header)]),
            connect,
            "talks without end",
        ),
        (http(&[Flood(vec![0])]), connect, "talks without end"),
        (http(&[Say(begun), Silence]), timeout, "does not answer"),
        (
            http(&[
                HearHeader,
                Say(b"HTTP/1.1 403 \x1b[31mNo\r\n\r\n".to_vec()),
                Silence,
            ]),
            connect,
            "403 ^[[31mNo",
        ),
    ];
    in_parallel(&table, 6, |((protocol, acts), kind, words)| {
        let proxy = scripted(&[acts]);
        let mut all = to(&server, "localhost", by(*protocol, proxy.port));
        all.limits = hasty();
        let ended = deliver_answering(all, |question| match question {
            Question::ProxyLogin { .. } => Some(Answer::Login(None)),
            other => panic!("unexpected: {other:?}"),
        });
        assert_proxy_failed(&ended, *kind, words);
        let name = match protocol {
            Protocol::Http => format!("the HTTP proxy 127.0.0.1:{}", proxy.port),
            Protocol::Socks5 => format!("the SOCKS5 proxy 127.0.0.1:{}", proxy.port),
        };
        assert!(
            ended.failure().text.starts_with(&name),
            "{}",
            ended.failure().text
        );
    });
    assert_eq!(server.report().sessions, 0);
}

#[test]
fn a_proxy_that_is_not_there() {
    let server = start(options());
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("bound");
    let ended = deliver(to(&server, "localhost", by(Protocol::Socks5, free.port())));
    assert_proxy_failed(&ended, FailureKind::Connect, "connection refused");
    let mut nowhere = to(&server, "localhost", by(Protocol::Http, 80));
    if let Some(Proxy::Server(proxy)) = &mut nowhere.proxy {
        proxy.host = UNKNOWN.into();
    }
    let ended = deliver(nowhere);
    assert_proxy_failed(
        &ended,
        FailureKind::Connect,
        "the HTTP proxy mx.invalid:80: mx.invalid",
    );
}

/// First without a login; then with the one that the answer brings.
#[test]
fn a_proxy_that_wants_a_login_gets_it_once_it_was_asked_for() {
    let server = start(options());
    let pair = 1 + 1 + USER.len() + 1 + PASSWORD.len();
    let with_login: &[Act] = &[
        Hear(4),
        Say(vec![5, 2]),
        Hear(pair),
        Say(vec![1, 0]),
        Hear(request_length("localhost")),
        Say(CONNECTED.into()),
        PassTo(server.port()),
    ];
    let wants: &[Act] = &[Hear(3), Say(vec![5, 0xff]), Silence];
    let needed = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=x\r\n\r\n".to_vec();
    let wants_basic: &[Act] = &[HearHeader, Say(needed.clone()), Silence];
    for (protocol, first, second) in [
        (Protocol::Socks5, wants, with_login),
        (Protocol::Http, wants_basic, http(&server).as_slice()),
    ] {
        let proxy = scripted(&[first, second]);
        let mut asked = 0;
        let all = to(&server, "localhost", by(protocol, proxy.port));
        let ended = deliver_answering(all, |question| match question {
            Question::ProxyLogin {
                port, again: false, ..
            } if *port == proxy.port => {
                asked += 1;
                Some(Answer::Login(Some(login(PASSWORD, &[Mechanism::Plain]))))
            }
            other => panic!("unexpected: {other:?}"),
        });
        ended.assert_accepted();
        assert_eq!(asked, 1);
        let heard = proxy.heard.lock().expect("it is over").concat();
        let secret = match protocol {
            Protocol::Socks5 => PASSWORD.into(),
            Protocol::Http => {
                use base64::Engine as _;
                let pair = format!("{USER}:{PASSWORD}");
                base64::engine::general_purpose::STANDARD.encode(pair)
            }
        };
        assert!(String::from_utf8_lossy(&heard).contains(&secret));

        // Nobody has one; or it is refused, in words that quote it.
        let nobody = scripted(&[first]);
        let all = to(&server, "localhost", by(protocol, nobody.port));
        let ended = deliver_answering(all, |_| Some(Answer::Login(None)));
        assert_proxy_failed(&ended, FailureKind::Connect, "wants a login");
        let quoting = format!("HTTP/1.1 407 {PASSWORD}\r\nProxy-Authenticate: basic\r\n\r\n");
        let refuses: Vec<Act> = match protocol {
            Protocol::Socks5 => vec![Hear(4), Say(vec![5, 2]), Hear(pair), Say(vec![1, 1])],
            Protocol::Http => vec![HearHeader, Say(quoting.into_bytes())],
        };
        let refusing = scripted(&[first, &refuses]);
        let all = to(&server, "localhost", by(protocol, refusing.port));
        let mut asked = Vec::new();
        let ended = deliver_answering(all, |question| match question {
            Question::ProxyLogin { again, .. } => {
                asked.push(*again);
                Some(Answer::Login(Some(login(PASSWORD, &[Mechanism::Plain]))))
            }
            other => panic!("unexpected: {other:?}"),
        });
        assert_proxy_failed(&ended, FailureKind::Connect, "refused");
        assert_eq!(asked, [false, true]);
    }
    assert_eq!(server.messages().len(), 2);
}

#[test]
fn a_stop_ends_the_wait_for_a_proxy() {
    let server = start(options());
    let silent = scripted(&[&[Silence]]);
    let sleeper = Proxy::Command(program(&["sleep", "1000"]));
    for proxy in [by(Protocol::Http, silent.port), Some(sleeper)] {
        let mut under = Under::begin(to(&server, "localhost", proxy));
        under.until(|event| matches!(event, Event::Phase(Phase::Proxy)));
        assert!(!under.delivery.cancel(), "nothing was sent");
        let ended = under.finish(|_| None);
        ended.assert_failed(FailureKind::Cancelled, Phase::Proxy);
    }
    assert_no_children();
}

fn program(arguments: &[&str]) -> Program {
    Program {
        arguments: arguments
            .iter()
            .map(|argument| (*argument).to_owned())
            .collect(),
        environment: vec![("PATH".into(), std::env::var("PATH").expect("a PATH"))],
    }
}

/// A relay on standard input and output, as netcat is; it ends after so many octets
/// of ours, if that is given.
const RELAY: &str = "
import os, socket, sys, threading
server = socket.create_connection((sys.argv[1], int(sys.argv[2])))
limit = int(sys.argv[3]) if len(sys.argv) > 3 else None
def there():
    passed = 0
    while octets := os.read(0, 4096):
        passed += len(octets)
        if limit is not None and passed > limit:
            os.write(2, b'gate: I had enough\\n')
            os._exit(3)
        server.sendall(octets)
    server.shutdown(socket.SHUT_WR)
threading.Thread(target=there, daemon=True).start()
while octets := server.recv(4096):
    os.write(1, octets)
";

fn relay(more: &[&str]) -> Option<Proxy> {
    let arguments = ["python3", "-c", RELAY, "%h", "%p"];
    Some(Proxy::Command(program(&[&arguments, more].concat())))
}

/// Nothing that we have started is left, dead or alive.
fn assert_no_children() {
    let children = || -> String {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        let lists = tasks.flatten().map(|task| task.path().join("children"));
        lists.flat_map(std::fs::read_to_string).collect()
    };
    let end = std::time::Instant::now() + GONE_WITHIN;
    while !children().trim().is_empty() {
        assert!(std::time::Instant::now() < end, "children: {}", children());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One test: the others would see its children.
#[test]
fn a_command_is_the_connection_and_goes_with_it() {
    let server = start(options());
    let mut all = to(&server, "localhost", relay(&[]));
    all.plan.security = Security::Required;
    let ended = deliver(all);
    ended.assert_accepted();
    assert!(
        ended
            .trace()
            .contains("connected to localhost by the command python3")
    );
    assert_no_children();
    let log = server.transcript(1).expect("a session");
    assert!(
        log.contains("C: QUIT"),
        "it had the time to pass that on: {log}"
    );

    // With TLS from the first octet, we speak first.
    let mut with = options();
    with.ssl = true;
    let implicit = start(with);
    let mut all = to(&implicit, "localhost", relay(&[]));
    all.plan.security = Security::Implicit;
    deliver(all).assert_accepted();

    let failing = |command: &[&str], security, kind, words: &str| {
        let mut all = to(&server, "localhost", Some(Proxy::Command(program(command))));
        all.limits = hasty();
        all.plan.security = security;
        assert_proxy_failed(&deliver(all), kind, words);
    };
    let denied = "echo 'gate: Permission denied (publickey).' >&2; exit 255";
    let told = "the command sh ended with status 255: gate: Permission denied (publickey).";
    for security in [Security::Never, Security::Implicit] {
        failing(&["sh", "-c", denied], security, FailureKind::Connect, told);
    }
    let missing = &["/nowhere/at-all"];
    let told = "the command at-all cannot be started";
    failing(missing, Security::Never, FailureKind::Connect, told);
    let hanging = &["sh", "-c", "echo 'Password for gate: ' >&2; sleep 1000"];
    let told = "nothing came by the command sh; it says: Password for gate:";
    failing(hanging, Security::Never, FailureKind::Timeout, told);
    assert_no_children();

    // In the middle of the text: the message's fate is that of any broken line.
    let server = start(without_chunking(options()));
    let mut all = to(&server, "localhost", relay(&["2000"]));
    all.plan.security = Security::Never;
    all.messages[0].text = smtpmail_core::delivery::Text::Bytes(large_text(500_000));
    let ended = deliver(all);
    ended.assert_failed(FailureKind::Closed, Phase::Text);
    let text = &ended.failure().text;
    let told = "the command python3 ended with status 3: gate: I had enough";
    assert!(text.contains(told), "{text}");
    assert_no_children();
}

#[test]
fn a_connection_by_a_proxy_is_kept_for_its_like_only() {
    let server = start(options());
    let proxy = scripted(&[&socks(&server, "localhost")]);
    let send = |proxy: Option<Proxy>| {
        let mut all = to(&server, "localhost", proxy);
        all.keep.time = Duration::from_secs(30);
        deliver(all).assert_accepted();
    };
    let sessions = || server.report().sessions;
    send(by(Protocol::Socks5, proxy.port));
    send(by(Protocol::Socks5, proxy.port));
    assert_eq!(sessions(), 1);
    send(None);
    assert_eq!(sessions(), 2);
    close_kept();
}

#[test]
fn a_probe_tells_of_the_proxy() {
    let server = start(options());
    let mut all = to(&server, "localhost", None);
    all.messages.clear();
    all.probe = Some(Probe { envelope: None });
    let refusing = scripted(&[&[Hear(3), Say(vec![5, 0]), Hear(16), Say(vec![5, 4, 0, 1])]]);
    all.proxy = by(Protocol::Socks5, refusing.port);
    let mut under = Under::begin(all);
    while under.until(|event| matches!(event, Event::Probed(_))) {}
    let probed = under.events.iter().find_map(|event| match event {
        Event::Probed(failure) => failure.clone(),
        _ => None,
    });
    let failure = probed.expect("it cannot succeed");
    assert_eq!(
        (failure.kind, failure.phase),
        (FailureKind::Connect, Phase::Proxy)
    );
    let address = format!("127.0.0.1:{}", refusing.port);
    assert!(
        under
            .events
            .iter()
            .any(|event| { matches!(event, Event::Address(told, None) if *told == address) })
    );
}
