//! Killed with -9 at every step of queueing and flushing; many processes at once.
//!
//! The program starts itself again as the process to be killed: the ignored
//! test [`child`] does what the environment tells it.

mod outbox_support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use outbox_support::{Scratch, add, id_of, states, text};
use smtpmail_core::outbox::{Claim, Outbox, Outcome, State, Step};

const KILL: i32 = 9;
/// The flush's window in these tests.
const WINDOW: usize = 3;

/// Appends a line in one write, as the server's own memory of what it accepted.
fn log(directory: &Path, file: &str, line: &str) {
    let mut options = OpenOptions::new();
    let mut log = options
        .append(true)
        .create(true)
        .open(directory.join(file))
        .expect("writable");
    log.write_all(format!("{line}\n").as_bytes())
        .expect("writable");
}

fn read_log(scratch: &Scratch, file: &str) -> Vec<String> {
    let text = fs::read_to_string(scratch.path().join(file)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Counts steps and dies at one of them.
#[derive(Clone)]
struct Fate {
    directory: std::path::PathBuf,
    kill_at: Option<usize>,
    steps: Arc<AtomicUsize>,
}

impl Fate {
    fn step(&self, what: &str) {
        if self.kill_at == Some(self.steps.fetch_add(1, Ordering::Relaxed)) {
            let this = rustix::process::getpid();
            rustix::process::kill_process(this, rustix::process::Signal::KILL).expect("allowed");
            unreachable!("nobody survives a SIGKILL");
        }
        if self.kill_at.is_some() {
            log(&self.directory, "steps", what);
        }
    }

    fn outbox(&self) -> Outbox {
        let fate = self.clone();
        let hook = move |step: Step, path: &Path| {
            fate.step(&format!("{step:?} {}", path.display()));
            Ok(())
        };
        Outbox::open_with(&self.directory.join("queue"), "index", Some(Arc::new(hook)))
            .expect("good names")
    }
}

/// Sends everything that may be sent, window by window, to the log `accepted`.
/// Messages named `later…` get a 451, `never…` a 550.
fn flush(fate: &Fate, outbox: &Outbox) -> usize {
    let mut sent = 0;
    let listing = outbox.entries().expect("readable");
    for names in listing.entries.chunks(WINDOW) {
        let mut claims: Vec<Claim> = names
            .iter()
            .filter_map(|entry| outbox.claim(&entry.name).expect("lockable"))
            .collect();
        claims.retain(|claim| claim.state().is_sendable(SystemTime::now()));
        let texts: Vec<_> = claims
            .iter()
            .map(|claim| id_of(&claim.text().expect("readable")))
            .collect();
        let unmarked = outbox.mark_sending(&mut claims).expect("marked");
        for (claim, id) in claims.iter_mut().zip(texts) {
            if unmarked.iter().any(|other| other.name == *claim.name()) {
                continue;
            }
            fate.step("before the dot");
            let outcome = if id.starts_with("later") {
                let next_try = SystemTime::now() + Duration::from_secs(600);
                Outcome::Deferred {
                    reply: "451 later".into(),
                    next_try,
                }
            } else if id.starts_with("never") {
                Outcome::Refused {
                    reply: "550 no".into(),
                }
            } else {
                log(&fate.directory, "accepted", &id);
                Outcome::Accepted
            };
            fate.step("before the outcome");
            claim.settle(outcome).expect("settled");
            sent += 1;
        }
        drop(claims);
        outbox.sync().expect("durable");
    }
    sent
}

/// What a child process does; nothing unless the environment says so.
#[test]
#[ignore = "run by the other tests, in processes of its own"]
fn child() {
    let Ok(task) = std::env::var("OUTBOX_TEST_TASK") else {
        return;
    };
    let directory = std::env::var("OUTBOX_TEST_DIRECTORY")
        .expect("given with the task")
        .into();
    let kill_at = std::env::var("OUTBOX_TEST_KILL_AT")
        .ok()
        .map(|step| step.parse().expect("a number"));
    let fate = Fate {
        directory,
        kill_at,
        steps: Arc::default(),
    };
    let outbox = fate.outbox();
    let (task, argument) = task.split_once(' ').expect("task and argument");
    match task {
        "add" => {
            let state = if argument == "held" {
                State::Held
            } else {
                State::Waiting
            };
            let added = add(&outbox, "new", state).expect("queued");
            log(&fate.directory, "reported", added.name.as_str());
        }
        "add-many" => (0..40).for_each(|count| {
            let added =
                add(&outbox, &format!("{argument}-{count}"), State::Waiting).expect("queued");
            assert_eq!(added.index_error, None);
        }),
        "flush" => {
            flush(&fate, &outbox);
        }
        "mark-in-vain" => {
            let listing = outbox.entries().expect("readable");
            let names: Vec<_> = listing.entries.into_iter().map(|e| e.name).collect();
            let claims = outbox.claim_all(&names).into_iter();
            let mut claims: Vec<_> = claims
                .map(|claim| claim.expect("lockable").expect("free"))
                .collect();
            outbox.mark_sending(&mut claims).expect("marked");
            outbox.unmark(&mut claims).expect("taken back");
        }
        "flush-until-idle" => {
            let wanted: usize = argument.parse().expect("a number");
            let start = SystemTime::now();
            while fs::read_to_string(fate.directory.join("accepted"))
                .unwrap_or_default()
                .lines()
                .count()
                < wanted
            {
                flush(&fate, &outbox);
                assert!(
                    start
                        .elapsed()
                        .is_ok_and(|time| time < Duration::from_secs(100)),
                    "too slow"
                );
            }
        }
        other => panic!("no such task: {other}"),
    }
}

fn start(scratch: &Scratch, task: &str, kill_at: Option<usize>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    command
        .env("OUTBOX_TEST_TASK", task)
        .env("OUTBOX_TEST_DIRECTORY", scratch.path());
    if let Some(step) = kill_at {
        command.env("OUTBOX_TEST_KILL_AT", step.to_string());
    }
    command.spawn().expect("this program starts")
}

fn run(scratch: &Scratch, task: &str, kill_at: Option<usize>) -> ExitStatus {
    start(scratch, task, kill_at)
        .wait()
        .expect("a child of ours")
}

/// Runs a task with a kill at step 0, 1, 2… until it survives; gives the number of steps.
fn at_every_step(task: &str, prepare: impl Fn(&Scratch), check: impl Fn(&Scratch, usize)) -> usize {
    for step in 0.. {
        let scratch = Scratch::new();
        prepare(&scratch);
        let status = run(&scratch, task, Some(step));
        check(&scratch, step);
        if status.signal() != Some(KILL) {
            assert!(status.success(), "step {step}: {status}");
            return step;
        }
    }
    unreachable!("the range has no end")
}

/// What every next use must find, whatever happened before.
fn check_order(scratch: &Scratch, step: usize) {
    let listing = scratch.outbox().entries().expect("readable");
    let sendable: Vec<_> = listing
        .entries
        .iter()
        .filter(|entry| entry.state.is_sendable(SystemTime::now()))
        .map(|entry| entry.name.to_string())
        .collect();
    assert_eq!(scratch.index(), sendable, "step {step}");
    for entry in &listing.entries {
        let is_plain = scratch.file(entry.name.as_str()).exists();
        assert_eq!(
            is_plain,
            entry.state.is_sendable(SystemTime::now()),
            "step {step}: {entry:?}"
        );
    }
    let left: Vec<_> = scratch
        .files()
        .into_iter()
        .filter(|file| {
            [".new", ".done", ".window"]
                .iter()
                .any(|end| file.ends_with(end))
        })
        .collect();
    assert!(left.is_empty(), "step {step}: {left:?}");
}

#[test]
fn killed_at_every_step_of_queueing() {
    // A held entry changes no index: four steps less.
    for (state, least) in [("waiting", 13), ("held", 9)] {
        let steps = at_every_step(
            &format!("add {state}"),
            |scratch| {
                add(&scratch.outbox(), "before", State::Waiting).expect("queued");
            },
            |scratch, step| {
                let reported = read_log(scratch, "reported").len();
                // Before any repair: whatever has metadata has its text too.
                for file in scratch.files() {
                    if let Some(name) = file.strip_suffix(".el") {
                        let hidden = scratch.file(&format!(".smtpmail-{name}.text"));
                        assert!(
                            scratch.file(name).exists() || hidden.exists(),
                            "step {step}: {name}"
                        );
                    }
                }
                let before_repair = fs::read_to_string(scratch.file("index")).expect("an index");
                assert!(
                    before_repair.ends_with('\n'),
                    "step {step}: the index is always whole"
                );
                check_order(scratch, step);
                let listing = scratch.outbox().entries().expect("readable");
                let ids: Vec<_> = states(&listing).into_iter().map(|(id, _)| id).collect();
                let expected: &[&str] = if ids.len() == 2 {
                    &["before", "new"]
                } else {
                    &["before"]
                };
                assert_eq!(ids, expected, "step {step}");
                assert!(
                    ids.len() == 2 || reported == 0,
                    "step {step}: reported as queued, and lost"
                );
                for entry in &listing.entries {
                    let claim = scratch
                        .outbox()
                        .claim(&entry.name)
                        .expect("lockable")
                        .expect("its owner is dead");
                    let id = id_of(&claim.text().expect("readable"));
                    assert_eq!(
                        claim.text().expect("readable"),
                        text(&id).as_bytes(),
                        "step {step}: whole"
                    );
                }
                add(&scratch.outbox(), "after", State::Waiting).expect("the outbox works");
            },
        );
        assert!(steps >= least, "only {steps} steps");
    }
}

#[test]
fn killed_at_every_step_of_flushing() {
    // Two windows; entries of ours and of the built-in, and every kind of outcome.
    let ids = ["a", "later-b", "stock", "never-c", "d"];
    let steps = at_every_step(
        "flush all",
        |scratch| {
            add(&scratch.outbox(), "a", State::Waiting).expect("queued");
            add(&scratch.outbox(), "later-b", State::Waiting).expect("queued");
            scratch.add_as_built_in("2026-01-01_00:00:00_1", "a@x", &text("stock"));
            add(&scratch.outbox(), "never-c", State::Waiting).expect("queued");
            add(&scratch.outbox(), "d", State::Waiting).expect("queued");
        },
        |scratch, step| {
            let steps = read_log(scratch, "steps");
            let accepted = read_log(scratch, "accepted");
            check_order(scratch, step);
            let listing = scratch.outbox().entries().expect("readable");
            let outbox: BTreeMap<String, State> = states(&listing).into_iter().collect();
            assert_eq!(
                outbox.len(),
                listing.entries.len(),
                "step {step}: one entry a message"
            );
            let was_marked = steps
                .iter()
                .any(|line| line.starts_with("Rename") && line.ends_with(".window"));
            for id in ids {
                let times = accepted.iter().filter(|line| *line == id).count();
                let state = outbox.get(id).copied();
                match (times, state) {
                    (0, Some(state)) => assert!(
                        state != State::Unknown || was_marked,
                        "step {step}: {id} was never marked"
                    ),
                    (1, None | Some(State::Unknown)) => {}
                    other => panic!("step {step}: {id}: {other:?}\n{steps:#?}"),
                }
            }
            // The next flush works, and after the user's word all is told right.
            let fate = Fate {
                directory: scratch.path().to_owned(),
                kill_at: None,
                steps: Arc::default(),
            };
            flush(&fate, &scratch.outbox());
            let accepted = read_log(scratch, "accepted");
            let listing = scratch.outbox().entries().expect("readable");
            let outbox: BTreeMap<String, State> = states(&listing).into_iter().collect();
            for id in ["a", "stock", "d"] {
                let times = accepted.iter().filter(|line| *line == id).count();
                match (times, outbox.get(id)) {
                    (1, None | Some(State::Unknown)) | (0, Some(State::Unknown)) => {}
                    other => panic!("step {step}: after the next flush {id}: {other:?}"),
                }
            }
        },
    );
    assert!(steps >= 40, "only {steps} steps");
}

#[test]
fn killed_at_every_step_of_taking_marks_back() {
    let steps = at_every_step(
        "mark-in-vain all",
        |scratch| {
            for id in ["a", "b", "c"] {
                add(&scratch.outbox(), id, State::Waiting).expect("queued");
            }
        },
        |scratch, step| {
            let steps = read_log(scratch, "steps");
            let was_marked = steps
                .iter()
                .any(|line| line.starts_with("Rename") && line.ends_with(".window"));
            // The step that is logged last was done, unless it was the one to be killed at.
            let is_taken_back = steps[..steps.len().min(step)]
                .iter()
                .any(|line| line.starts_with("Remove") && line.ends_with(".window"));
            check_order(scratch, step);
            let listing = scratch.outbox().entries().expect("readable");
            assert_eq!(listing.entries.len(), 3, "step {step}: none is lost");
            for (id, state) in states(&listing) {
                let may_be_unknown = was_marked && !is_taken_back;
                assert!(
                    state == State::Waiting || may_be_unknown && state == State::Unknown,
                    "step {step}: {id}: {state:?}"
                );
            }
        },
    );
    assert!(steps > 15, "only {steps} steps");
}

#[test]
fn killed_at_every_step_of_a_repair() {
    // The state of affairs after two kills: in a queueing and past a mark.
    let steps = at_every_step(
        "flush nothing-more",
        |scratch| {
            for id in ["a", "b", "c", "d"] {
                add(&scratch.outbox(), id, State::Waiting).expect("queued");
            }
            let status = run(
                scratch,
                "flush all",
                Some(first_step_named(scratch, "before the outcome")),
            );
            assert_eq!(status.signal(), Some(KILL));
            fs::write(scratch.file(".smtpmail-dead.new"), "x").expect("writable");
            fs::remove_file(scratch.path().join("steps")).expect("written by the child");
        },
        |scratch, step| {
            check_order(scratch, step);
            let accepted = read_log(scratch, "accepted");
            let listing = scratch.outbox().entries().expect("readable");
            let outbox: BTreeMap<String, State> = states(&listing).into_iter().collect();
            for id in ["a", "b", "c"] {
                assert_eq!(outbox.get(id), Some(&State::Unknown), "step {step}: {id}");
            }
            let times = |id: &str| accepted.iter().filter(|line| *line == id).count();
            assert_eq!(
                (times("a"), times("b"), times("c")),
                (1, 0, 0),
                "step {step}"
            );
            match (times("d"), outbox.get("d")) {
                (0, Some(State::Waiting | State::Unknown)) | (1, None | Some(State::Unknown)) => {}
                other => panic!("step {step}: d: {other:?}"),
            }
        },
    );
    assert!(steps >= 20, "only {steps} steps");
}

/// The number of the step with that name in a flush of a queue like this one.
fn first_step_named(scratch: &Scratch, name: &str) -> usize {
    let copy = Scratch::new();
    for entry in scratch.outbox().entries().expect("readable").entries {
        let id = entry.facts.message_id.expect("given");
        add(&copy.outbox(), id.trim_matches(['<', '>']), State::Waiting).expect("queued");
    }
    // Counts without ever reaching its own end.
    assert!(run(&copy, "flush all", Some(usize::MAX)).success());
    read_log(&copy, "steps")
        .iter()
        .position(|line| line == name)
        .expect("such a step")
}

#[test]
fn many_processes_queue_and_flush_and_each_message_goes_once() {
    let scratch = Scratch::new();
    let writers = ["v", "w", "x", "y"];
    let wanted = writers.len() * 40;
    let mut children: Vec<Child> = writers
        .iter()
        .map(|writer| start(&scratch, &format!("add-many {writer}"), None))
        .collect();
    children.extend((0..3).map(|_| start(&scratch, &format!("flush-until-idle {wanted}"), None)));
    for mut child in children {
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }
    let mut accepted = read_log(&scratch, "accepted");
    accepted.sort();
    let mut expected: Vec<_> = writers
        .iter()
        .flat_map(|writer| (0..40).map(move |count| format!("{writer}-{count}")))
        .collect();
    expected.sort();
    assert_eq!(accepted, expected);
    check_order(&scratch, 0);
    assert_eq!(scratch.files(), ["index".to_owned()].into());
}

#[test]
fn two_processes_flush_two_hundred_together() {
    let scratch = Scratch::new();
    let outbox = scratch.outbox();
    for count in 0..200 {
        add(&outbox, &format!("m{count}"), State::Waiting).expect("queued");
    }
    let children: Vec<_> = (0..2)
        .map(|_| start(&scratch, "flush-until-idle 200", None))
        .collect();
    for mut child in children {
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }
    let mut accepted = read_log(&scratch, "accepted");
    accepted.sort();
    accepted.dedup();
    assert_eq!(
        (accepted.len(), read_log(&scratch, "accepted").len()),
        (200, 200)
    );
    assert_eq!(scratch.outbox().entries().expect("readable").entries, []);
}

#[test]
fn a_claim_of_another_process_ends_with_its_death() {
    let scratch = Scratch::new();
    let name = add(&scratch.outbox(), "a", State::Waiting)
        .expect("queued")
        .name;
    let at = first_step_named(&scratch, "before the dot");
    let mut child = start(&scratch, "flush all", None);
    let status = child.wait().expect("a child of ours");
    assert!(status.success());
    assert_eq!(read_log(&scratch, "accepted"), ["a"]);
    assert!(scratch.outbox().claim(&name).expect("gone").is_none());

    let name = add(&scratch.outbox(), "b", State::Waiting)
        .expect("queued")
        .name;
    assert_eq!(run(&scratch, "flush all", Some(at)).signal(), Some(KILL));
    let claim = scratch
        .outbox()
        .claim(&name)
        .expect("lockable")
        .expect("its owner is dead");
    assert_eq!(claim.state(), State::Unknown);
}
