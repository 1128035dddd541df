//! Runs `test/transcripts/*.txt` against the reply reader and the dialogue and
//! asserts both directions: every line that we say and every word told to the
//! local side must stand in the file, in its order, and nothing else may come.
//!
//! | line | meaning |
//! |---|---|
//! | `# …` | comment |
//! | `plan: …` | first of all, once: [`reading::plan`] |
//! | `message: …` | a message is fed now; numbered from 1: [`reading::message`] |
//! | `S: …` | the server sends this line |
//! | `C: …` | we send this line; those of one flight follow each other |
//! | `L: …` | told to the local side ([`shown`]) or by it ([`reading::Event::parse`]) |
//!
//! Before anything is fed in, all that came out must have been expected. Every
//! file runs three ways: what the server sends at once arrives whole, octet by
//! octet, and with the beginning of what it sends next behind it.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use smtpmail_core::smtp::command::{Command, Line};
use smtpmail_core::smtp::content::Framing;
use smtpmail_core::smtp::dialogue::{
    CredentialsReason, Dialogue, Input, Outcome, Output, Question, RecipientVerdict, Verdict,
};
use smtpmail_core::smtp::failure::{Failure, FailureKind, Phase};
use smtpmail_core::smtp::reply::ReplyReader;
use smtpmail_core::smtp::secret::Secret;

#[path = "transcripts/reading.rs"]
mod reading;

use reading::{Event, Transcript, parse};

/// What `L: closed` and `L: timeout` give as the reason.
const CLOSED: &str = "the connection is gone";

/// How the server's octets arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrival {
    Whole,
    Bytewise,
    Trailing,
}

fn failure_shown(failure: &Failure) -> String {
    let kind = format!("{:?}", failure.kind).to_lowercase();
    format!("{kind} {} {failure}", failure.phase.name())
}

fn verdicts_shown(verdicts: &[RecipientVerdict]) -> String {
    let words: Vec<String> = verdicts
        .iter()
        .map(|verdict| match verdict {
            RecipientVerdict::Accepted => "accepted".into(),
            RecipientVerdict::Postponed(reply) => format!("postponed {}", reply.code()),
            RecipientVerdict::Refused(failure) => {
                format!("refused {}", failure.code.unwrap_or_default())
            }
            RecipientVerdict::Untried => "untried".into(),
        })
        .collect();
    format!("[{}]", words.join(", "))
}

fn outcome_shown(outcome: &Outcome) -> String {
    let verdict = match &outcome.verdict {
        Verdict::Accepted(reply) => format!("accepted {}", reply.text()),
        Verdict::Failed(failure) => format!("failed {}", failure_shown(failure)),
        Verdict::LoginDemanded(failure) => format!("login-demanded {}", failure_shown(failure)),
        Verdict::Unknown(failure) => format!("unknown {}", failure_shown(failure)),
        Verdict::Untried(failure) => format!("untried {}", failure_shown(failure)),
    };
    format!("{} {verdict}", verdicts_shown(&outcome.recipients))
}

/// An output as the lines of a transcript.
fn shown(output: &Output) -> Vec<String> {
    let line = match output {
        Output::Send(commands) => return commands.iter().map(wire_shown).collect(),
        Output::StartTls => "tls".into(),
        Output::SendText(id, Framing::Data) => format!("text {id}"),
        Output::SendText(id, Framing::Chunk) => format!("chunk {id}"),
        Output::LoggingIn => "logging in".into(),
        Output::SwitchOff(speed_up, failure) => {
            format!("off {} {}", speed_up.name(), failure_shown(failure))
        }
        Output::Heard(reply) => format!("heard {}", reply.text()),
        Output::Ready => "ready".into(),
        Output::Ask(Question::Credentials { offered, reason }) => match reason {
            CredentialsReason::Offered => format!("ask credentials for {}", offered.join(" ")),
            CredentialsReason::Refused(failure) => format!("ask credentials after {failure}"),
        },
        Output::Ask(Question::ClearLogin) => "ask clear-login".into(),
        Output::Ask(Question::RefusedRecipients(id, verdicts)) => {
            format!("ask recipients {id} {}", verdicts_shown(verdicts))
        }
        Output::Finished(id, outcome) => format!("finished {id} {}", outcome_shown(outcome)),
        Output::Done(None) => "done".into(),
        Output::Note(text) => format!("note {text}"),
        Output::LeftOut(text) => format!("left out {text}"),
        Output::Done(Some(failure)) => format!("done {}", failure_shown(failure)),
    };
    vec![format!("L: {line}")]
}

fn wire_shown(command: &Command) -> String {
    let mut wire = Vec::new();
    command.write_to(&mut wire);
    let text = String::from_utf8(wire).expect("commands are UTF-8");
    let line = text.strip_suffix("\r\n").expect("commands end with CRLF");
    assert!(
        !line.contains(['\r', '\n']),
        "one command, one line: {line:?}"
    );
    format!("C: {line}")
}

struct Run<'a> {
    transcript: &'a Transcript,
    dialogue: Dialogue,
    reader: ReplyReader,
    came_out: VecDeque<String>,
    /// The outputs of the kind of the last question decide what yes and no mean.
    clear_login_asked: bool,
    done: bool,
}

impl<'a> Run<'a> {
    fn new(transcript: &'a Transcript) -> Self {
        Self {
            transcript,
            dialogue: Dialogue::new(transcript.plan.clone()),
            reader: ReplyReader::default(),
            came_out: VecDeque::new(),
            clear_login_asked: false,
            done: false,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.dialogue.next_output() {
            assert!(!self.done, "after the end: {output:?}");
            match &output {
                Output::Done(_) => self.done = true,
                Output::Ask(Question::ClearLogin) => self.clear_login_asked = true,
                Output::Ask(_) => self.clear_login_asked = false,
                Output::Send(commands) => self.check_trace(commands),
                _ => {}
            }
            self.came_out.extend(shown(&output));
        }
    }

    fn check_trace(&self, commands: &[Command]) {
        for command in commands {
            let line = command.to_string();
            for secret in &self.transcript.secrets {
                assert!(
                    !line.contains(secret.as_str()),
                    "a secret is traced: {line}"
                );
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.dialogue.handle(input);
        self.drain();
    }

    fn receive(&mut self, octets: &[u8]) {
        self.reader.feed(octets);
        loop {
            match self.reader.next_reply() {
                Ok(Some(reply)) => self.handle(Input::Reply(reply)),
                Ok(None) => return,
                Err(error) => {
                    let phase = self.dialogue.phase();
                    let failure = Failure::new(FailureKind::Protocol, phase, error.to_string());
                    return self.handle(Input::Closed(failure));
                }
            }
        }
    }

    /// Run; errors name the event's number.
    fn run(mut self, arrival: Arrival) -> Result<(), String> {
        self.drain();
        let mut ahead = 0;
        for (index, event) in self.transcript.events.iter().enumerate() {
            if let Event::Expect(line) = event {
                match self.came_out.pop_front() {
                    Some(came) if came == *line => continue,
                    came => return Err(format!("expected {line:?}\n came out {came:?}")),
                }
            }
            if let Some(line) = self.came_out.front() {
                return Err(format!("event {index}: not expected: {line:?}"));
            }
            match event.clone() {
                Event::Expect(_) => {}
                Event::Server(octets) => {
                    let mut octets = octets[ahead..].to_vec();
                    ahead = 0;
                    if arrival == Arrival::Trailing {
                        let begin = self.beginning_of_next(index);
                        ahead = begin.len();
                        octets.extend(begin);
                    }
                    match arrival {
                        Arrival::Bytewise => octets.iter().for_each(|o| self.receive(&[*o])),
                        _ => self.receive(&octets),
                    }
                }
                Event::Message(message) => self.handle(Input::NextMessage(message)),
                Event::Login(login) => self.handle(Input::Login(login)),
                Event::Yes(yes) if self.clear_login_asked => self.handle(Input::ClearLogin(yes)),
                Event::Yes(yes) => self.handle(Input::SendRest(yes)),
                Event::TlsReady => {
                    assert!(!self.reader.has_leftovers(), "octets from before TLS");
                    self.handle(Input::TlsReady);
                }
                Event::TextSent => self.handle(Input::TextSent),
                Event::TextLost => {
                    let failure = Failure::new(FailureKind::Disk, Phase::Text, "no disk");
                    self.handle(Input::TextLost(failure));
                }
                Event::Say(line) => {
                    let line = Line::new(Secret::from(line.as_str())).expect("one line");
                    self.handle(Input::Say(line));
                }
                Event::LoggedInOutside => self.handle(Input::LoggedIn),
                Event::NoMoreMessages => self.handle(Input::NoMoreMessages),
                Event::Closed(kind) => {
                    let phase = self.dialogue.phase();
                    let failure = Failure::new(kind, phase, CLOSED);
                    self.handle(Input::Closed(failure));
                }
                Event::Phase(name) => {
                    let phase = self.dialogue.phase().name();
                    if phase != name || !self.dialogue.is_waiting() {
                        return Err(format!("waits for {phase}, not for {name}"));
                    }
                }
                Event::NoClock if self.dialogue.is_waiting() => {
                    return Err(format!("event {index}: a clock runs"));
                }
                Event::LoggedIn if !self.dialogue.is_logged_in() => {
                    return Err(format!("event {index}: not logged in"));
                }
                Event::Leftovers if !self.reader.has_leftovers() => {
                    return Err(format!("event {index}: nothing is left over"));
                }
                Event::NoClock | Event::LoggedIn | Event::Leftovers => {}
            }
        }
        if let Some(line) = self.came_out.front() {
            return Err(format!("at the end, not expected: {line:?}"));
        }
        if self.done {
            // Nothing comes after the end, whatever goes in; `drain` panics.
            self.receive(b"\r\n250 late\r\n");
            self.handle(Input::TextSent);
            self.handle(Input::NoMoreMessages);
            self.handle(Input::Login(None));
        }
        Ok(())
    }

    /// The first octets of what the server sends next, short of a line: what a
    /// read may well bring along. Never over TLS, where they are an attack.
    fn beginning_of_next(&self, index: usize) -> Vec<u8> {
        for event in &self.transcript.events[index + 1..] {
            match event {
                Event::Server(octets) => return octets[..2].to_vec(),
                Event::TlsReady | Event::Closed(_) | Event::Leftovers => break,
                _ => {}
            }
        }
        Vec::new()
    }
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("test/transcripts");
    let entries = fs::read_dir(&directory).expect("the directory of transcripts");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a directory entry").path())
        .inspect(|path| assert!(path.extension().is_some_and(|e| e == "txt"), "{path:?}"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_transcript() {
    let files = files();
    assert!(!files.is_empty(), "no transcripts");
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().expect("a file").to_string_lossy();
        let text = fs::read_to_string(file).expect("a transcript is UTF-8");
        let attempt = std::panic::catch_unwind(|| {
            let transcript = parse(&text);
            for arrival in [Arrival::Whole, Arrival::Bytewise, Arrival::Trailing] {
                Run::new(&transcript)
                    .run(arrival)
                    .map_err(|error| format!("{arrival:?}: {error}"))?;
            }
            Ok::<(), String>(())
        });
        match attempt {
            Ok(Ok(())) => {}
            Ok(Err(error)) => wrong.push(format!("{name}: {error}")),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                wrong.push(format!("{name}: panic: {}", text.unwrap_or_default()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "\n{}\n{} of {}",
        wrong.join("\n"),
        wrong.len(),
        files.len()
    );
}

#[test]
fn the_runner_can_fail() {
    let head = "plan: security=never\nS: 220 mx\nC: EHLO client.example.org\n";
    let run = |rest: &str| Run::new(&parse(&format!("{head}{rest}"))).run(Arrival::Whole);
    assert_eq!(run("S: 250 mx\nL: ready\n"), Ok(()));
    for wrong in [
        "C: NOOP\n",
        "S: 250 mx\n",
        "S: 250 mx\nL: ready\nC: QUIT\n",
        "S: 250 mx\nL: ready\nL: logged in\n",
        "L: no clock\n",
        "L: phase mail\n",
        "L: leftovers\n",
    ] {
        assert!(run(wrong).is_err(), "{wrong}");
    }
    for unreadable in ["X: 1\n", "plan: verb\n", "L: answer\n", "hello\n"] {
        let text = format!("{head}{unreadable}");
        assert!(
            std::panic::catch_unwind(|| parse(&text)).is_err(),
            "{unreadable}"
        );
    }
    for setting in ["plan: verbose\n", "plan: security=maybe\n"] {
        assert!(
            std::panic::catch_unwind(|| parse(setting)).is_err(),
            "{setting}"
        );
    }
}
