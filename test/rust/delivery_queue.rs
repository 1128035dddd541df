//! Entries of the outbox delivered to the test server: many over one connection,
//! each with its own end, whatever happens to the others.

mod outbox_support;
mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use smtpmail_core::delivery::{
    Envelope, Event, MailObject, QueuePlace, Report, Request, Text, Verdict,
};
use smtpmail_core::outbox::{Listed, NewEntry, State, Text as EntryText};
use smtpmail_core::smtp::address::ReversePath;
use smtpmail_core::smtp::dialogue::FIRST_MESSAGES_IN_FLIGHT;
use smtpmail_core::smtp::failure::{Failure, FailureKind};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_test_server::Server;

use self::outbox_support::{Scratch, entry};
use self::support::*;

/// Tells a process of the two-process test which queue to flush to which port.
const FLUSH_PORT: &str = "SMTPMAIL_TEST_FLUSH_PORT";
const FLUSH_QUEUE: &str = "SMTPMAIL_TEST_FLUSH_QUEUE";
const FLUSH_AUTHORITY: &str = "SMTPMAIL_TEST_FLUSH_AUTHORITY";

/// A queue of `count` messages, each for a recipient of its own.
fn queue(count: usize) -> Scratch {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    for number in 0..count {
        let text = format!("Subject: {number}\n\nmessage {number}\n.\n");
        let recipient = format!("r{number}@example.net");
        let new = NewEntry {
            text: EntryText::Bytes(text.as_bytes()),
            ..entry(&recipient, State::Waiting, b"")
        };
        outbox.add(new, &AtomicBool::new(false)).expect("durable");
    }
    scratch
}

fn entries(scratch: &Scratch) -> Vec<Listed> {
    let listing = scratch.outbox().entries().expect("readable");
    assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    listing.entries
}

/// A request for all entries, as they were listed.
fn flush_of(directory: PathBuf, listed: &[Listed], base: Request) -> Request {
    let messages = listed.iter().enumerate().map(|(number, entry)| MailObject {
        number,
        envelope: Envelope {
            options: DeliveryOptions::default(),
            reverse_path: ReversePath::parse("ada@example.org").expect("a good address"),
            recipients: mailboxes(
                &entry
                    .recipients
                    .iter()
                    .map(String::as_str)
                    .collect::<Vec<_>>(),
            ),
        },
        text: Text::Entry(entry.name.clone()),
    });
    Request {
        messages: messages.collect(),
        queue: Some(QueuePlace {
            directory,
            index: "index".into(),
        }),
        ..base
    }
}

fn flush(scratch: &Scratch, server: &Server) -> Ended {
    deliver(flush_of(
        scratch.queue(),
        &entries(scratch),
        request(server),
    ))
}

/// The subjects that arrived, in order.
fn arrived(server: &Server) -> Vec<usize> {
    let subject = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).into_owned();
        let line = text.lines().find_map(|l| l.strip_prefix("Subject: "));
        line.and_then(|l| l.trim().parse().ok())
            .expect("one of ours")
    };
    let messages = server.messages();
    messages
        .iter()
        .map(|stored| subject(&std::fs::read(&stored.path).expect("stored")))
        .collect()
}

/// The state of each entry left, by its subject.
fn left(scratch: &Scratch) -> BTreeMap<usize, State> {
    let number = |entry: &Listed| {
        let subject = entry.facts.subject.as_deref().expect("a subject");
        subject.parse().expect("a number")
    };
    entries(scratch)
        .iter()
        .map(|e| (number(e), e.state))
        .collect()
}

fn verdicts(ended: &Ended) -> BTreeMap<usize, &Verdict> {
    let all: BTreeMap<_, _> = ended
        .reports
        .iter()
        .map(|(n, r)| (*n, &r.verdict))
        .collect();
    assert_eq!(
        all.len(),
        ended.reports.len(),
        "one report for each message"
    );
    all
}

fn failure(verdict: &Verdict) -> &Failure {
    match verdict {
        Verdict::Failed(failure) => failure,
        other => panic!("not failed but {other:?}"),
    }
}

fn is_waiting(state: &State) -> bool {
    matches!(state, State::Waiting | State::Deferred { .. })
}

#[test]
fn two_hundred_go_over_one_connection_once_and_in_order() {
    let server = start(options());
    let scratch = queue(200);
    let ended = flush(&scratch, &server);
    assert_eq!(ended.warning, None);
    assert!(
        verdicts(&ended)
            .values()
            .all(|v| matches!(v, Verdict::Accepted(_)))
    );
    let order: Vec<_> = ended.reports.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..200).collect::<Vec<_>>());
    assert_eq!(arrived(&server), order);
    assert_eq!(server.sessions(), 1);
    // Nothing but the empty index and what belongs to the outbox itself.
    assert_eq!(scratch.files().into_iter().collect::<Vec<_>>(), ["index"]);
    assert!(scratch.index().is_empty());
}

#[test]
fn a_refused_one_stays_and_stops_nobody() {
    for rule in [
        "mail#4=reply 550 5.7.1 no",
        "rcpt#4=reply 550 5.1.1 no",
        "dot#4=reply 554 5.6.0 no",
    ] {
        let server = start(options_on(&[rule]));
        let scratch = queue(8);
        let ended = flush(&scratch, &server);
        let mut expected: Vec<_> = (0..8).collect();
        expected.remove(3);
        assert_eq!(arrived(&server), expected, "{rule}\n{}", ended.trace());
        assert_eq!(failure(verdicts(&ended)[&3]).kind, FailureKind::Refused);
        assert_eq!(
            left(&scratch),
            BTreeMap::from([(3, State::Refused)]),
            "{rule}"
        );
        assert_eq!(scratch.index(), [] as [String; 0]);
    }
}

#[test]
fn one_refused_for_now_waits_and_stops_nobody() {
    let server = start(options_on(&["rcpt#2=reply 450 4.2.0 greylisted"]));
    let scratch = queue(4);
    let ended = flush(&scratch, &server);
    assert_eq!(arrived(&server), [0, 2, 3]);
    assert_eq!(ended.pauses(), [] as [u64; 0]);
    let left = left(&scratch);
    assert!(
        left.len() == 1 && matches!(left[&1], State::Deferred { .. }),
        "{left:?}"
    );
    assert_eq!(scratch.index().len(), 1, "any program may send it");
}

#[test]
fn closed_before_a_dot_all_others_go_over_another_connection() {
    for rule in ["mail#5=close", "data#5=close", "rcpt#5=reset"] {
        let server = start(without_chunking(options_on(&[rule])));
        let scratch = queue(20);
        let ended = flush(&scratch, &server);
        let context = ended.trace();
        let left = left(&scratch);
        assert!(left.values().all(is_waiting), "{rule}: {left:?}\n{context}");
        let mut all = arrived(&server);
        all.extend(left.keys());
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<_>>(), "{rule}\n{context}");
        assert!(left.len() <= 1, "{rule}: {left:?}\n{context}");
        assert_eq!(server.sessions(), 2, "{rule}\n{context}");
    }
}

#[test]
fn closed_after_a_dot_that_one_is_unknown_and_the_others_go() {
    for rule in ["dot#5=close", "dot#5=accept-close"] {
        let server = start(options_on(&[rule]));
        let scratch = queue(20);
        let ended = flush(&scratch, &server);
        let left = left(&scratch);
        assert_eq!(
            left,
            BTreeMap::from([(4, State::Unknown)]),
            "{rule}\n{}",
            ended.trace()
        );
        assert!(matches!(verdicts(&ended)[&4], Verdict::Unknown(_)));
        let mut got = arrived(&server);
        got.retain(|number| *number != 4);
        assert_eq!(got.len(), 19, "{rule}: {got:?}");
        assert_eq!(scratch.index(), [] as [String; 0]);
        // Never again by itself.
        assert_eq!(
            entries(&scratch)
                .iter()
                .filter(|e| e.state.is_sendable(SystemTime::now()))
                .count(),
            0
        );
    }
}

#[test]
fn closed_after_a_chunk_all_whose_ends_were_out_are_unknown() {
    for rule in ["bdat#5=accept-close", "bdat#5=close", "mail#5=close"] {
        let server = start(options_on(&[rule]));
        let scratch = queue(40);
        let ended = flush(&scratch, &server);
        let context = format!("{rule}\n{}", ended.trace());
        let left = left(&scratch);
        let unknown = |state: &State| matches!(state, State::Unknown);
        assert!(left.values().all(unknown), "{left:?}\n{context}");
        // One more for each of the four that were accepted.
        let most = FIRST_MESSAGES_IN_FLIGHT + 4;
        assert!((1..=most).contains(&left.len()), "{left:?}\n{context}");
        let arrived = arrived(&server);
        let mut once = arrived.clone();
        once.dedup();
        assert_eq!(once, arrived, "never twice: {context}");
        let mut all = arrived;
        all.extend(left.keys());
        all.sort_unstable();
        all.dedup();
        assert_eq!(all, (0..40).collect::<Vec<_>>(), "never lost: {context}");
    }
}

#[test]
fn after_421_all_later_ones_wait() {
    for rule in [
        "mail#4=reply 421 4.3.2 going down",
        "dot#4=reply 421 4.3.2 going down",
    ] {
        let server = start(options_on(&[rule]));
        let scratch = queue(20);
        let ended = flush(&scratch, &server);
        // This server goes on all the same: what it takes of the texts that are on
        // their way is taken.
        let arrived = arrived(&server);
        let context = format!("{rule}: {arrived:?}\n{}", ended.trace());
        assert_eq!(arrived[..3], [0, 1, 2], "{context}");
        assert!(arrived.len() == 3 || rule.starts_with("mail"), "{context}");
        let left = left(&scratch);
        let not_arrived = (3..20).filter(|number| !arrived.contains(number));
        assert_eq!(
            left.keys().copied().collect::<Vec<_>>(),
            not_arrived.collect::<Vec<_>>(),
            "{context}"
        );
        assert!(left.contains_key(&3), "{context}");
        assert!(left.values().all(is_waiting), "{rule}: {left:?}");
        assert_eq!(server.sessions(), 1, "it asked us to go");
        assert_eq!(scratch.index().len(), left.len());
        assert!(
            !scratch.files().iter().any(|f| f.contains("window")),
            "{:?}",
            scratch.files()
        );
    }
}

#[test]
fn a_server_that_always_leaves_is_left_alone_soon() {
    let server = start(without_chunking(options_on(&["mail=close"])));
    let scratch = queue(20);
    let ended = flush(&scratch, &server);
    // The first might be the fault of PIPELINING, the second of one message.
    assert!(server.sessions() <= 3, "{}", ended.trace());
    assert_eq!(
        left(&scratch).values().filter(|s| is_waiting(s)).count(),
        20
    );
    assert_eq!(ended.reports.len(), 20);
}

#[test]
fn after_a_refused_login_nothing_further_is_tried() {
    use smtpmail_core::delivery::{Answer, Question};
    use smtpmail_core::smtp::sasl::Mechanism;
    let server = start(options().user(USER, PASSWORD));
    let scratch = queue(3);
    let request = flush_of(scratch.queue(), &entries(&scratch), request(&server));
    let ended = deliver_answering(request, |question| match question {
        Question::Credentials { refused: None, .. } => {
            Some(Answer::Login(Some(login(WRONG, &[Mechanism::Plain]))))
        }
        Question::Credentials { .. } => Some(Answer::Login(None)),
        other => panic!("unexpected: {other:?}"),
    });
    for verdict in verdicts(&ended).values() {
        assert_eq!(failure(verdict).kind, FailureKind::Authentication);
    }
    assert_eq!((server.sessions(), server.report().auth_attempts), (1, 1));
    assert_eq!(left(&scratch).values().filter(|s| is_waiting(s)).count(), 3);
}

#[test]
fn stopped_in_the_middle_all_is_accounted_for() {
    let server = start(options_on(&["dot#6=delay 400"]));
    let scratch = queue(20);
    let mut under = Under::begin(flush_of(
        scratch.queue(),
        &entries(&scratch),
        request(&server),
    ));
    let mut finished = 0;
    under.until(|event| {
        finished += usize::from(matches!(event, Event::Finished(..)));
        finished == 5
    });
    // The sixth end of text is on the way.
    std::thread::sleep(Duration::from_millis(150));
    assert!(under.delivery.cancel(), "the sixth may be taken");
    let ended = under.finish(|_| None);
    let verdicts = verdicts(&ended);
    for (number, verdict) in &verdicts {
        match verdict {
            Verdict::Accepted(_) => assert!(*number < 5),
            Verdict::Unknown(_) => assert_eq!(*number, 5),
            Verdict::Failed(failure) => {
                assert!(*number > 5 && failure.kind == FailureKind::Cancelled);
            }
        }
    }
    let left = left(&scratch);
    assert_eq!(left[&5], State::Unknown);
    assert!(
        (6..20).all(|number| left[&number] == State::Waiting),
        "{left:?}"
    );
    assert_eq!(left.len(), 15);
}

#[test]
fn an_entry_that_somebody_has_is_left_to_him() {
    let server = start(options());
    let scratch = queue(5);
    let listed = entries(&scratch);
    let outbox = scratch.outbox();
    let claim = outbox
        .claim(&listed[2].name)
        .expect("lockable")
        .expect("free");
    let ended = deliver(flush_of(scratch.queue(), &listed, request(&server)));
    drop(claim);
    assert_eq!(arrived(&server), [0, 1, 3, 4]);
    assert_eq!(failure(verdicts(&ended)[&2]).kind, FailureKind::Busy);
    assert_eq!(left(&scratch), BTreeMap::from([(2, State::Waiting)]));
}

#[test]
fn entries_that_cannot_be_sent_stop_nobody() {
    let server = start(options());
    let scratch = queue(5);
    let listed = entries(&scratch);
    std::fs::write(
        scratch.file(listed[1].name.as_str()),
        b"Subject: 1\n\na\0b\n",
    )
    .expect("ours");
    std::fs::remove_file(scratch.file(listed[3].name.as_str())).expect("ours");
    let ended = deliver(flush_of(scratch.queue(), &listed, request(&server)));
    assert_eq!(arrived(&server), [0, 2, 4], "{}", ended.trace());
    assert_eq!(failure(verdicts(&ended)[&1]).kind, FailureKind::Content);
    assert_eq!(ended.reports.len(), 5);
}

/// Not a test by itself: a process of the next one.
#[test]
fn flushing_process() {
    let Ok(port) = std::env::var(FLUSH_PORT) else {
        return;
    };
    let directory = PathBuf::from(std::env::var_os(FLUSH_QUEUE).expect("given"));
    let authority = std::env::var_os(FLUSH_AUTHORITY).expect("given").into();
    let outbox = smtpmail_core::outbox::Outbox::open(&directory, "index").expect("good names");
    let listed = outbox.entries().expect("readable").entries;
    let base = request_to(port.parse().expect("a port"), authority);
    let ended = deliver(flush_of(directory, &listed, base));
    let fair = |report: &Report| match &report.verdict {
        Verdict::Accepted(_) => true,
        Verdict::Failed(failure) => failure.kind == FailureKind::Busy,
        Verdict::Unknown(_) => false,
    };
    for (_, report) in &ended.reports {
        assert!(fair(report), "{report:?}");
    }
}

/// A process that flushes the queue to the server.
fn flushing(scratch: &Scratch, server: &Server) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "flushing_process"])
        .env(FLUSH_PORT, server.port().to_string())
        .env(FLUSH_QUEUE, scratch.queue())
        .env(FLUSH_AUTHORITY, server.ca_path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("a process")
}

/// The courier's own order of marking, sending and settling, against a real
/// socket, killed at moments spread over the whole flush.
#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_goes_twice() {
    const RUNS: u32 = 120;
    // Three windows: one under way, one being marked, one waiting.
    const MESSAGES: usize = 36;
    let whole = {
        let (server, scratch) = (start(options()), queue(MESSAGES));
        let began = Instant::now();
        let mut child = flushing(&scratch, &server);
        assert!(child.wait().expect("ended").success());
        assert_eq!(arrived(&server).len(), MESSAGES);
        began.elapsed()
    };
    let runs: Vec<u32> = (0..RUNS).collect();
    let cut_short = AtomicUsize::new(0);
    in_parallel(&runs, 2, |run| {
        let (server, scratch) = (start(options()), queue(MESSAGES));
        let mut child = flushing(&scratch, &server);
        std::thread::sleep(whole * *run / RUNS);
        // It may have ended already.
        let _ = child.kill();
        child.wait().expect("ended");
        server.wait_until_quiet(Duration::from_secs(10));
        let (before, found) = (arrived(&server), left(&scratch));
        cut_short.fetch_add(
            usize::from(!found.is_empty() && !before.is_empty()),
            Ordering::Relaxed,
        );
        for number in 0..MESSAGES {
            let times = before.iter().filter(|other| **other == number).count();
            match (times, found.get(&number)) {
                (0, Some(State::Waiting | State::Unknown)) | (1, None | Some(State::Unknown)) => {}
                other => panic!("run {run}: {number}: {other:?}"),
            }
        }
        // Those on their way, and those marked with the first of them that was not.
        let unknown =
            |left: &BTreeMap<usize, State>| left.values().filter(|s| **s == State::Unknown).count();
        flush_again(&scratch, &server);
        let after = left(&scratch);
        assert_eq!(after.len(), unknown(&after), "run {run}: {after:?}");
        let mut all = arrived(&server);
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "run {run}: one went twice");
    });
    let cut_short = cut_short.into_inner();
    assert!(
        cut_short > 10,
        "only {cut_short} runs were killed in the middle"
    );
}

/// Flush what may be sent.
fn flush_again(scratch: &Scratch, server: &Server) {
    let mut listed = entries(scratch);
    listed.retain(|entry| entry.state.is_sendable(SystemTime::now()));
    if !listed.is_empty() {
        deliver(flush_of(scratch.queue(), &listed, request(server)));
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_the_reason_of_all() {
    let scratch = queue(20);
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let base = request_to(port, PathBuf::new());
    deliver(flush_of(scratch.queue(), &entries(&scratch), base));
    let left = entries(&scratch);
    assert_eq!(left.len(), 20);
    for entry in left {
        assert!(matches!(entry.state, State::Deferred { .. }), "{entry:?}");
        let reply = entry.facts.last_reply.expect("the reason");
        assert!(reply.contains("refused"), "{reply}");
    }
    assert_eq!(scratch.index().len(), 20);
}

#[test]
fn two_processes_flush_together_and_each_message_goes_once() {
    let server = start(options());
    let scratch = queue(200);
    let children = [flushing(&scratch, &server), flushing(&scratch, &server)];
    for mut child in children {
        assert!(child.wait().expect("ended").success());
    }
    let mut got = arrived(&server);
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert!(entries(&scratch).is_empty());
}
