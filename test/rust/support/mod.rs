//! What the delivery tests share: a server with a spool of its own, a request
//! for it, and a runner that answers questions, keeps all events and holds each
//! delivery to rules that no test may break: it ends in time, its courier goes
//! away, and no event shows the password.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use smtpmail_core::delivery::{
    Answer, Delivery, Envelope, Event, Keep, MailObject, Question, QuestionId, Report, Request,
    Text, TimeLimits, TlsFiles, TrustAnswer, Verdict, forget_faults,
};
use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath};
use smtpmail_core::smtp::dialogue::{LoginAnswer, Plan, RefusedRecipients, SaslContext, Security};
use smtpmail_core::smtp::failure::{Failure, FailureKind, Phase};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_core::smtp::sasl::{Credentials, Mechanism};
use smtpmail_core::smtp::secret::Secret;
use smtpmail_test_server::{Options, Server};

/// The user of the servers that have one.
pub const USER: &str = "ada@example.org";

/// The right password: it must turn up nowhere.
pub const PASSWORD: &str = "k4narienVogel+im.Bergwerk";

/// A wrong one, which must turn up nowhere either.
pub const WRONG: &str = "falscherKanarienVogel/77";

/// No delivery of these tests may take longer: a hang is a failure.
pub const WATCHDOG: Duration = Duration::from_secs(40);

/// A courier that is told to stop, or that has reported, is gone by then.
pub const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A folder of this process, where cargo keeps what `cargo clean` removes.
static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("delivery-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a writable folder for temporary files");
    path
});

/// A path in a folder of this program that nobody else uses.
pub fn scratch(name: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    SCRATCH.join(format!("{number}-{name}"))
}

/// Where the authority and the certificates of all servers here are.
pub fn certificates() -> PathBuf {
    SCRATCH.join("certs")
}

/// Options of a server with a spool of its own and the common authority.
pub fn options() -> Options {
    let mut options = Options::new(scratch("spool"));
    options.certs = Some(certificates());
    options
}

/// Such a server, misbehaving by these rules.
pub fn options_on(rules: &[&str]) -> Options {
    rules
        .iter()
        .fold(options(), |options, rule| options.on(rule))
}

/// The same, without CHUNKING: the text comes by DATA.
pub fn without_chunking(mut options: Options) -> Options {
    options.no_chunking = true;
    options
}

/// A server whose spool goes when it goes.
pub struct Fixture(Option<Server>);

impl std::ops::Deref for Fixture {
    type Target = Server;
    fn deref(&self) -> &Server {
        self.0.as_ref().expect("taken in drop only")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(server) = self.0.take() {
            let spool = server.spool().to_owned();
            drop(server);
            drop(std::fs::remove_dir_all(spool));
        }
    }
}

pub fn start(options: Options) -> Fixture {
    let server = Server::start(options).expect("a server");
    // The system may have given its port to the server of another test before.
    for host in ["localhost", "127.0.0.1"] {
        forget_faults(host, server.port());
    }
    Fixture(Some(server))
}

/// Limits that no test reaches but by a hang.
pub fn patient() -> TimeLimits {
    TimeLimits {
        connect: Duration::from_secs(30),
        reply: Duration::from_secs(30),
    }
}

/// Limits for servers that never answer: longer than an honest answer takes on
/// a machine with much else to do.
pub fn hasty() -> TimeLimits {
    TimeLimits {
        connect: Duration::from_millis(1500),
        reply: Duration::from_millis(1500),
    }
}

/// A short message with everything that makes trouble at line ends.
pub const TEXT: &[u8] = b"Subject: \xc3\xa4\n\n.\n..two dots\nFrom here\r\nlast line";

/// [`TEXT`] as it must arrive.
pub const TEXT_ARRIVED: &[u8] =
    b"Subject: \xc3\xa4\r\n\r\n.\r\n..two dots\r\nFrom here\r\nlast line\r\n";

/// A message of about `octets`, with dots at line starts, that differs
/// everywhere: an exchanged or repeated block is seen.
pub fn large_text(octets: usize) -> Vec<u8> {
    let mut text = b"Subject: large\n\n".to_vec();
    let mut state = 1u64;
    while text.len() < octets {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        if state >> 60 == 0 {
            text.push(b'.');
        }
        text.extend_from_slice(BASE64.encode(state.to_be_bytes().repeat(6)).as_bytes());
        text.push(b'\n');
    }
    text
}

/// The wire form without dot-stuffing, made without the code under test.
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 50);
    for octet in text {
        if *octet == b'\n' {
            out.push(b'\r');
        }
        out.push(*octet);
    }
    out
}

pub fn mailboxes(addresses: &[&str]) -> Vec<Mailbox> {
    let parse = |address: &&str| Mailbox::parse(address).expect("a good address");
    addresses.iter().map(parse).collect()
}

/// A request to `server` with opportunistic STARTTLS and our authority trusted.
pub fn request(server: &Server) -> Request {
    request_to(server.port(), server.ca_path().to_owned())
}

pub fn request_to(port: u16, authority: PathBuf) -> Request {
    Request {
        host: "localhost".into(),
        port,
        proxy: None,
        plan: Plan {
            ehlo_name: EhloName::parse("client.example.org").expect("a good name"),
            security: Security::Opportunistic,
            clear_login_allowed: false,
            login_required: false,
            login: None,
            sasl: SaslContext {
                nonce: "rOprNGfwEbeRWgbNEkqO8888".into(),
                host: "localhost".into(),
                port,
            },
            verb: false,
            refused_recipients: RefusedRecipients::Abort,
            strict_content: false,
            without: Vec::new(),
        },
        tls: TlsFiles {
            trust: vec![authority],
            ..TlsFiles::default()
        },
        messages: vec![MailObject {
            number: 0,
            envelope: Envelope {
                options: DeliveryOptions::default(),
                reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
                recipients: mailboxes(&["bob@example.net"]),
            },
            text: Text::Bytes(TEXT.to_vec()),
        }],
        probe: None,
        unsendable: Vec::new(),
        queue: None,
        despite_readers: false,
        attempts: 1,
        limits: patient(),
        traced_octets: 0,
        keep: Keep {
            account: String::new(),
            time: Duration::ZERO,
        },
    }
}

/// Credentials with these mechanisms, in this order.
pub fn login(password: &str, mechanisms: &[Mechanism]) -> LoginAnswer {
    LoginAnswer {
        credentials: Arc::new(Credentials {
            user: USER.into(),
            secret: Secret::from(password),
            authzid: None,
        }),
        mechanisms: mechanisms.to_vec(),
        required: false,
    }
}

/// The usual credentials.
pub fn good_login() -> Answer {
    Answer::Login(Some(login(PASSWORD, &[Mechanism::Plain, Mechanism::Login])))
}

/// A delivery under way.
pub struct Under {
    pub delivery: Delivery,
    bell: Receiver<()>,
    /// Held by the bell, which the courier lets go of when it ends.
    alive: Arc<()>,
    pub events: Vec<Event>,
    began: Instant,
}

/// A delivery that ended.
pub struct Ended {
    /// The last one.
    pub report: Report,
    /// All, with their messages' numbers, in the order of their events.
    pub reports: Vec<(usize, Report)>,
    pub warning: Option<Failure>,
    pub events: Vec<Event>,
    pub took: Duration,
}

/// Time between two looks for events that do not ring.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl Under {
    pub fn begin(request: Request) -> Self {
        let (ring, bell) = channel();
        let alive = Arc::new(());
        let held = alive.clone();
        let delivery = Delivery::open(
            request,
            Box::new(move || {
                let _held = &held;
                // The test may be over already.
                let _ = ring.send(());
            }),
        )
        .expect("a thread and two descriptors");
        Self {
            delivery,
            bell,
            alive,
            events: Vec::new(),
            began: Instant::now(),
        }
    }

    /// Take events until `stop` says true of one; whether the delivery still goes
    /// on then.
    pub fn until(&mut self, stop: impl FnMut(&Event) -> bool) -> bool {
        self.until_either(stop, || false)
    }

    /// The same, or until `elsewhere` says true.
    pub fn until_either(
        &mut self,
        mut stop: impl FnMut(&Event) -> bool,
        elsewhere: impl Fn() -> bool,
    ) -> bool {
        loop {
            let hangs = self.began.elapsed() > WATCHDOG;
            match self.bell.recv_timeout(LOOK_INTERVAL) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) if elsewhere() => return true,
                Err(RecvTimeoutError::Disconnected) => panic!("no report: {}", self.told()),
                // Not all events ring.
                Err(RecvTimeoutError::Timeout) if !hangs => {}
                Err(RecvTimeoutError::Timeout) => panic!("it hangs: {}", self.told()),
            }
            let mut found = false;
            let mut over = false;
            for event in self.delivery.events() {
                assert!(!over, "an event after the last one");
                found |= stop(&event);
                over |= matches!(event, Event::Done(_));
                self.events.push(event);
            }
            if found || over {
                return !over;
            }
        }
    }

    /// Run to the end; `answer` is asked about every question.
    pub fn finish(mut self, mut answer: impl FnMut(&Question) -> Option<Answer>) -> Ended {
        let mut seen = 0;
        loop {
            if let Some(Event::Done(_)) = self.events.last() {
                break;
            }
            self.answer_from(&mut seen, &mut answer);
            self.until(|event| matches!(event, Event::Question(..)));
        }
        let took = self.began.elapsed();
        let Some(Event::Done(warning)) = self.events.pop() else {
            unreachable!("the loop ends with it");
        };
        let mut reports = Vec::new();
        self.events = std::mem::take(&mut self.events)
            .into_iter()
            .filter_map(|event| match event {
                Event::Finished(number, report) => {
                    reports.push((number, report));
                    None
                }
                other => Some(other),
            })
            .collect();
        let report_shown = format!("{reports:?}");
        let Some((_, report)) = reports.last().cloned() else {
            panic!("no report: {}", self.told());
        };
        let told = self.told();
        drop(self.delivery);
        let end = Instant::now() + GONE_WITHIN;
        while Arc::strong_count(&self.alive) > 1 {
            assert!(Instant::now() < end, "the courier stays: {told}");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_no_secret(&report_shown);
        for event in &self.events {
            assert_no_secret(&format!("{event:?}"));
        }
        Ended {
            report,
            reports,
            warning,
            events: self.events,
            took,
        }
    }

    fn answer_from(&self, seen: &mut usize, answer: &mut impl FnMut(&Question) -> Option<Answer>) {
        for event in &self.events[*seen..] {
            if let Event::Question(id, question) = event
                && let Some(answer) = answer(question)
            {
                self.delivery.answer(*id, answer);
            }
        }
        *seen = self.events.len();
    }

    /// The id of the last question.
    pub fn question(&self) -> QuestionId {
        let ids = self.events.iter().rev().find_map(|event| match event {
            Event::Question(id, _) => Some(*id),
            _ => None,
        });
        ids.expect("a question was asked")
    }

    fn told(&self) -> String {
        format!("{:#?}", self.events)
    }
}

impl Ended {
    pub fn trace(&self) -> String {
        let lines = self.events.iter().filter_map(|event| match event {
            Event::Trace(line) => Some(line.as_str()),
            _ => None,
        });
        lines.collect()
    }

    /// The failure of a message not taken.
    pub fn failure(&self) -> &Failure {
        match &self.report.verdict {
            Verdict::Failed(failure) => failure,
            other => panic!("not failed but {other:?}\n{}", self.trace()),
        }
    }

    /// The failure behind an unknown fate.
    pub fn unknown(&self) -> &Failure {
        match &self.report.verdict {
            Verdict::Unknown(failure) => failure,
            other => panic!("not unknown but {other:?}\n{}", self.trace()),
        }
    }

    pub fn assert_accepted(&self) {
        assert!(
            matches!(self.report.verdict, Verdict::Accepted(_)),
            "{:?}\n{}",
            self.report,
            self.trace()
        );
    }

    pub fn assert_failed(&self, kind: FailureKind, phase: Phase) {
        let failure = self.failure();
        assert_eq!(
            (failure.kind, failure.phase),
            (kind, phase),
            "{failure:?}\n{}",
            self.trace()
        );
    }

    pub fn questions(&self) -> Vec<&Question> {
        let questions = self.events.iter().filter_map(|event| match event {
            Event::Question(_, question) => Some(question),
            _ => None,
        });
        questions.collect()
    }

    /// Pauses before further tries, in seconds.
    pub fn pauses(&self) -> Vec<u64> {
        let pauses = self.events.iter().filter_map(|event| match event {
            Event::Retry(_, seconds) => Some(*seconds),
            _ => None,
        });
        pauses.collect()
    }

    /// Which recipients have got the message.
    pub fn accepted(&self) -> Vec<bool> {
        self.report.recipients.iter().map(|r| r.accepted).collect()
    }
}

/// Deliver without expecting a question.
pub fn deliver(request: Request) -> Ended {
    deliver_answering(request, |question| panic!("unexpected: {question:?}"))
}

/// Deliver, trusting no certificate beyond what the authorities vouch for.
pub fn deliver_untrusting(request: Request) -> Ended {
    deliver_answering(request, |question| match question {
        Question::Certificate { .. } => Some(Answer::Trust(TrustAnswer::No)),
        other => panic!("unexpected: {other:?}"),
    })
}

/// Deliver, answering questions.
pub fn deliver_answering(
    request: Request,
    answer: impl FnMut(&Question) -> Option<Answer>,
) -> Ended {
    Under::begin(request).finish(answer)
}

/// Neither a password nor any form in which it goes over the wire is in `text`.
pub fn assert_no_secret(text: &str) {
    for password in [PASSWORD, WRONG] {
        let plain = format!("\0{USER}\0{password}");
        let forms = [
            password.to_owned(),
            BASE64.encode(password),
            BASE64.encode(&plain),
            // What base64 makes of it wherever it stands among other octets.
            aligned(password, 1),
            aligned(password, 2),
        ];
        for form in forms {
            assert!(!text.contains(&form), "a secret is shown: {text}");
        }
    }
    // Debug of octets: "[107, 52, …".
    let octets = format!("{:?}", &PASSWORD.as_bytes()[..6]);
    assert!(
        !text.contains(octets.trim_matches(['[', ']'])),
        "a secret is shown: {text}"
    );
}

/// The inner part of the base64 of `password` behind `before` other octets.
fn aligned(password: &str, before: usize) -> String {
    let encoded = BASE64.encode([&vec![0; before], password.as_bytes()].concat());
    encoded[4..encoded.len() - 4].to_owned()
}

/// Names and ids of this process's threads that are ours.
pub fn our_threads() -> Vec<(String, String)> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    tasks
        .flatten()
        .filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let id = task.file_name().to_string_lossy().into_owned();
            name.starts_with("smtpmail-")
                .then(|| (id, name.trim().to_owned()))
        })
        .collect()
}

/// Waits until no thread of ours is left.
pub fn assert_no_threads() {
    let end = Instant::now() + GONE_WITHIN;
    while !our_threads().is_empty() {
        assert!(Instant::now() < end, "still running: {:?}", our_threads());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Run `work` on every item, `width` at a time: nearly all of it is waiting.
pub fn in_parallel<T: Sync>(items: &[T], width: usize, work: impl Fn(&T) + Sync) {
    let next = AtomicU64::new(0);
    let next = &next;
    std::thread::scope(|scope| {
        for _ in 0..width {
            scope.spawn(|| {
                while let Some(item) = usize::try_from(next.fetch_add(1, Ordering::Relaxed))
                    .ok()
                    .and_then(|index| items.get(index))
                {
                    work(item);
                }
            });
        }
    });
}
