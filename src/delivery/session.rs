//! One connection: drives a dialogue over a wire. It moves octets, keeps the
//! clocks and the trace; what to do about anything is the courier's.

mod ending;
mod opening;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::ending::broken;
use super::TimeLimits;
use super::body::BLOCK;
use super::mailbox::{Event, Mailbox};
use super::pool;
use super::request::{Content, Request};
use super::trace::Trace;
use super::trust::SessionTrust;
use crate::net::certificate::CertificateFacts;
use crate::net::signal::{Signal, Waited};
use crate::net::tls::TlsFacts;
use crate::net::wire::Wire;
use crate::smtp::command::Command;
use crate::smtp::content::{Encoder, Framing};
use crate::smtp::dialogue::{
    Dialogue, Input, Message, MessageId, Outcome, Output, Question, SpeedUp, Verdict,
};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::reply::{Reply, ReplyReader};
use crate::smtp::secret::Secret;

/// Octets of the final dot, which `Facts::stuffed_len` leaves out.
const END_OF_TEXT: u64 = 3;

/// Shortest time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Something for the courier to decide on.
#[derive(Debug)]
pub(super) enum Happening {
    /// The connection takes messages.
    Ready,
    /// A question came up.
    Asked(Question),
    /// A message came to its end.
    Finished(MessageId, Outcome),
    /// The reply to a line of a login from outside.
    Heard(Reply),
    /// A message given now rides behind the login under way.
    LoggingIn,
    /// The server gets this wrong, as the failure tells.
    SwitchedOff(SpeedUp, Failure),
    /// The connection is over.
    Ended(Option<Failure>),
    /// Nothing went either way for as long as the courier wanted to wait.
    Quiet,
    /// Somebody rang: an answer or a stop.
    Rung,
}

/// A message's text on its way to the wire.
struct Sending {
    id: MessageId,
    content: Rc<Content>,
    encoder: Encoder,
    encoded_all: bool,
    /// Written, of so many.
    octets: u64,
    of: u64,
    reported: Instant,
}

impl Sending {
    /// Fill `outgoing` up to a block with the wire form; `buffer` is for what must be
    /// read.
    ///
    /// # Errors
    /// `Content` or `Disk`: it must not go on.
    fn make_ready(&mut self, buffer: &mut Vec<u8>, outgoing: &mut Vec<u8>) -> Result<(), Failure> {
        let text = &self.content.text;
        let at = self.encoder.taken();
        let rest = text.piece(at, buffer).map_err(|error| {
            let text = format!("the text of the message cannot be read: {error}");
            Failure::new(FailureKind::Content, Phase::Text, text)
        })?;
        let is_last = at + rest.len() == text.len();
        let room = BLOCK - outgoing.len();
        self.encoded_all = self.encoder.fill(rest, is_last, outgoing, room);
        match &self.content.entry {
            Some(entry) if self.encoded_all => entry.mark_sending(),
            _ => Ok(()),
        }
    }
}

pub(super) struct Session<'a> {
    request: &'a Request,
    mailbox: &'a Mailbox,
    /// The texts of the messages given to the dialogue and not finished.
    contents: HashMap<MessageId, Rc<Content>>,
    trace: Trace,
    wire: Wire,
    dialogue: Dialogue,
    reader: ReplyReader,
    /// Whether anything came from the server.
    heard: bool,
    /// The password, and what was said in AUTH, in base64: not to be repeated in
    /// trace or error.
    secrets: Vec<Secret>,
    /// Octets to write, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    incoming: Vec<u8>,
    /// Where a text that lies in a file is read to.
    block: Vec<u8>,
    sending: Option<Sending>,
    /// The messages whose ends are written and which are not over.
    ended: VecDeque<MessageId>,
    /// The last time that anything went forward.
    progress: Instant,
    phase: Option<Phase>,
    happened: VecDeque<Happening>,
    tls: Option<TlsFacts>,
    trust: SessionTrust,
    /// The certificate for which the connection was given up.
    refused_certificate: Option<Box<CertificateFacts>>,
    /// What another delivery must have in common to be given the connection.
    pool_key: String,
    /// Whether the connection was kept after other messages, and the server has
    /// said nothing since, or only that it goes (421).
    unproven: bool,
    last_reply: Instant,
    /// Nothing more is said: the words on what was sent are awaited.
    closing: bool,
}

impl<'a> Session<'a> {
    /// Whether the server has said nothing yet to what was sent over a connection
    /// that was kept: if it ends now, that says nothing about a message.
    pub fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// Whether the connection is under TLS.
    pub fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    /// The certificate for which the connection was given up, if it was.
    pub fn take_refused_certificate(&mut self) -> Option<Box<CertificateFacts>> {
        self.refused_certificate.take()
    }

    pub fn dialogue(&self) -> &Dialogue {
        &self.dialogue
    }

    /// Write a fact into the trace.
    pub fn note(&mut self, text: &str) {
        self.trace.note(self.mailbox, text);
    }

    /// Tell the dialogue something.
    pub fn feed(&mut self, input: Input) {
        if let Input::Login(Some(login)) = &input {
            self.secrets.push(login.credentials.secret.clone());
        }
        self.dialogue.handle(input);
    }

    /// Let `message` go, with this text, when its turn comes.
    pub fn send(&mut self, message: Message, content: Rc<Content>) {
        self.contents.insert(message.id, content);
        self.feed(Input::NextMessage(message));
    }

    /// Run until something wants the courier, or nothing has gone either way for
    /// `patience`: then it has something else to do.
    pub fn next(&mut self, patience: Option<Duration>) -> Happening {
        let happening = self.run(patience);
        self.trace.post(self.mailbox);
        happening
    }

    fn run(&mut self, patience: Option<Duration>) -> Happening {
        loop {
            self.act();
            if let Some(happening) = self.happened.pop_front() {
                self.note_word(&happening);
                return happening;
            }
            if !self.closing && self.mailbox.is_closing() {
                self.close_after_words();
                continue;
            }
            if !self.fill() {
                continue;
            }
            match self.exchange() {
                Ok(true) => continue,
                Ok(false) if patience == Some(Duration::ZERO) => return Happening::Quiet,
                Ok(false) => {}
                Err(failure) => {
                    self.feed(Input::Closed(failure));
                    continue;
                }
            }
            self.report_phase();
            self.trace.post(self.mailbox);
            let writing = self.written < self.outgoing.len();
            let clock_runs = writing || self.dialogue.is_waiting();
            let limits: &TimeLimits = &self.request.limits;
            let phase = self.dialogue.phase();
            let limit = match self.unproven {
                true => limits.limit(phase).min(pool::FIRST_REPLY),
                false => limits.limit(phase),
            };
            let deadline = clock_runs.then(|| self.progress + limit);
            let quiet = patience.map(|patience| Instant::now() + patience);
            let first = deadline.into_iter().chain(quiet).min();
            match self.wire.wait(writing, first) {
                Ok(Waited::Ready) => {}
                Ok(Waited::Rung) => return Happening::Rung,
                Ok(Waited::TimedOut) if first != deadline => return Happening::Quiet,
                Ok(Waited::TimedOut) => {
                    let seconds = limit.as_secs();
                    let text = format!("no answer within {seconds} s");
                    self.feed(Input::Closed(Failure::new(
                        FailureKind::Timeout,
                        phase,
                        text,
                    )));
                }
                Err(error) => self.feed(Input::Closed(broken(phase, &error))),
            }
        }
    }

    /// The fate of a message whose end was written is told to the courier now.
    fn note_word(&mut self, happening: &Happening) {
        let Happening::Finished(id, outcome) = happening else {
            return;
        };
        let Some(position) = self.ended.iter().position(|ended| ended == id) else {
            return;
        };
        self.ended.remove(position);
        let refused = matches!(
            outcome.verdict,
            Verdict::Failed(_) | Verdict::LoginDemanded(_) | Verdict::Untried(_)
        );
        self.mailbox.note_word(!refused);
    }

    /// Say nothing more, not even what was made ready; the connection ends when the
    /// server's words on the messages are in whose ends were written.
    fn close_after_words(&mut self) {
        self.closing = true;
        self.sending = None;
        self.outgoing.clear();
        self.written = 0;
        let phase = self.dialogue.phase();
        self.feed(Input::TextLost(Signal::stopped_failure(phase)));
    }

    /// Say QUIT as far as it goes without waiting, and close.
    pub fn quit(mut self) {
        self.feed(Input::NoMoreMessages);
        self.act();
        // Best effort: the message's fate is known already.
        let _ = self.exchange();
        self.trace.post(self.mailbox);
        self.wire.close();
    }

    /// Do what the dialogue wants done.
    fn act(&mut self) {
        while let Some(output) = self.dialogue.next_output() {
            match output {
                Output::Send(_) | Output::SendText(..) | Output::Ask(_) if self.closing => {}
                Output::Send(commands) if self.is_answered_before(&commands) => {
                    let text = "the server answered STARTTLS before it was said: an attack, or a broken server";
                    self.trace.note(self.mailbox, text);
                    let failure = Failure::new(FailureKind::Tls, Phase::StartTls, text);
                    self.feed(Input::Closed(failure));
                }
                Output::Send(commands) => {
                    self.warn_of_weaker_login(&commands);
                    for command in &commands {
                        self.secrets.extend(command.secret());
                        command.write_to(&mut self.outgoing);
                    }
                    self.trace.sent(commands);
                    self.progress = Instant::now();
                }
                Output::StartTls => {
                    let input = match self.start_tls() {
                        Ok(()) => Input::TlsReady,
                        Err(failure) => Input::Closed(failure),
                    };
                    self.feed(input);
                }
                Output::SendText(id, framing) => {
                    let content = self.contents.get(&id);
                    let content = content.expect("`send` kept the text, `Finished` comes later");
                    let shown = self.request.traced_octets;
                    // What cannot be read is told when it is to be sent.
                    let beginning = content.text.piece(0, &mut self.block);
                    let beginning = beginning.unwrap_or_default();
                    self.trace.text(beginning, content.facts.wire_len, shown);
                    self.sending = Some(Sending {
                        id,
                        content: content.clone(),
                        encoder: Encoder::new(framing),
                        encoded_all: false,
                        octets: 0,
                        of: match framing {
                            Framing::Chunk => content.facts.wire_len,
                            Framing::Data => content.facts.stuffed_len + END_OF_TEXT,
                        },
                        reported: Instant::now(),
                    });
                }
                Output::Ask(question) => self.happened.push_back(Happening::Asked(question)),
                Output::Note(text) => self.trace.note(self.mailbox, text),
                Output::LeftOut(text) => self.mailbox.post(Event::LeftOut(text)),
                Output::Heard(reply) => self.happened.push_back(Happening::Heard(reply)),
                Output::LoggingIn => self.happened.push_back(Happening::LoggingIn),
                Output::Ready => self.happened.push_back(Happening::Ready),
                Output::SwitchOff(speed_up, failure) => {
                    (self.happened).push_back(Happening::SwitchedOff(speed_up, failure));
                }
                Output::Finished(id, outcome) => {
                    self.contents.remove(&id);
                    self.happened.push_back(Happening::Finished(id, outcome));
                }
                Output::Done(failure) => {
                    if let Some(failure) = &failure {
                        self.doubt_acceptances(failure);
                        // Nothing more goes out, least of all the rest of a text
                        // whose refusal came early: its final dot would have
                        // the message delivered.
                        self.sending = None;
                        self.outgoing.clear();
                        self.written = 0;
                        self.trace
                            .note(self.mailbox, &format!("connection over: {}", failure.text));
                    }
                    self.happened.push_back(Happening::Ended(failure));
                }
            }
        }
    }

    /// Say, before it goes out, that a login is weaker than what the account used.
    fn warn_of_weaker_login(&mut self, commands: &[Command]) {
        let begins = |command: &Command| matches!(command, Command::Auth(..));
        if !commands.iter().any(begins) {
            return;
        }
        if let Some((user, mechanism)) = self.dialogue.login()
            && let Some(text) = self.trust.weaker(&self.request.host, user, mechanism)
        {
            self.trace.note(self.mailbox, &text);
            self.mailbox.post(Event::Warning(text));
        }
    }

    /// Whether STARTTLS is about to be said and something that could pass for its
    /// answer is here already.
    fn is_answered_before(&self, commands: &[Command]) -> bool {
        commands.iter().any(|c| matches!(c, Command::StartTls)) && self.reader.has_leftovers()
    }

    /// Make the next block of the text ready; false if it is lost, which the dialogue
    /// acts on at once: perhaps nothing more comes that would wake us up.
    fn fill(&mut self) -> bool {
        let Some(sending) = &mut self.sending else {
            return true;
        };
        // Behind the commands before it, in one write.
        let begun = self.written > 0 || self.outgoing.len() >= BLOCK;
        if sending.encoded_all || begun {
            return true;
        }
        let ready = sending.make_ready(&mut self.block, &mut self.outgoing);
        if let Err(failure) = ready {
            self.outgoing.clear();
            self.sending = None;
            self.feed(Input::TextLost(failure));
            return false;
        }
        true
    }

    /// Whether the end of the text is among the octets to be written.
    fn ends_text(&self) -> bool {
        let encoded_all = self.sending.as_ref().is_some_and(|s| s.encoded_all);
        encoded_all && self.written < self.outgoing.len()
    }

    /// Move octets both ways; whether any moved.
    fn exchange(&mut self) -> Result<bool, Failure> {
        let phase = self.dialogue.phase();
        let ends_text = self.ends_text();
        // A stop that came before this moment keeps the end of the text here;
        // one that comes later is told that it may be on the way.
        let kept_here = ends_text && !self.mailbox.pass_point_of_no_return();
        if kept_here && self.mailbox.is_closing() && !self.mailbox.signal.is_stopped() {
            self.close_after_words();
            return Ok(true);
        }
        if kept_here || self.mailbox.signal.is_stopped() {
            return Err(Signal::stopped_failure(phase));
        }
        let waiting = &self.outgoing[self.written..];
        let progress = self.wire.exchange(waiting, &mut self.incoming);
        self.written += progress.written;
        if ends_text && self.ends_text() {
            // The kernel took a part only, or nothing.
            self.mailbox.leave_point_of_no_return();
        }
        if progress.written > 0 {
            self.progress = Instant::now();
            self.report_progress(progress.written as u64);
        }
        let text_written = self.written == self.outgoing.len()
            && self
                .sending
                .as_ref()
                .is_some_and(|sending| sending.encoded_all);
        if text_written {
            self.ended.extend(self.sending.take().map(|s| s.id));
            self.mailbox.await_word();
            self.feed(Input::TextSent);
        }
        // Before replies are read: what they let go begins a write of its own, which
        // a text can join.
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        }
        if progress.read > 0 {
            self.heard = true;
            self.reader.feed(&self.incoming);
            self.incoming.clear();
            self.read_replies();
        }
        // Told last, and of the phase that what was written and read led to.
        let phase = self.dialogue.phase();
        if let Some(error) = progress.broken {
            return Err(self.with_last_words(broken(phase, &error)));
        }
        if progress.closed {
            let text = format!("{} closed the connection", self.request.host);
            let failure = Failure::new(FailureKind::Closed, phase, text);
            return Err(self.with_last_words(failure));
        }
        Ok(progress.read > 0 || progress.written > 0)
    }

    fn read_replies(&mut self) {
        loop {
            match self.reader.next_reply() {
                Ok(Some(reply)) => {
                    let reply = reply.without(&self.secrets);
                    self.progress = Instant::now();
                    self.last_reply = self.progress;
                    self.unproven &= reply.code() == 421;
                    self.trace.received(&reply, self.progress);
                    // A farewell may stand behind any reply (RFC 5321 §3.8).
                    self.feed(match self.reader.next_code() {
                        None | Some(421) => Input::Reply(reply),
                        Some(_) => Input::ReplyAndMore(reply),
                    });
                    // STARTTLS must see what stands behind its 220.
                    self.act();
                }
                Ok(None) => return,
                Err(error) => {
                    let phase = self.dialogue.phase();
                    // It quotes the line, which may quote us.
                    let told = Reply::new(500, vec![error.to_string().into_bytes()]);
                    let told = told.without(&self.secrets);
                    let text = told
                        .lines()
                        .map(String::from_utf8_lossy)
                        .collect::<String>();
                    let failure = Failure::new(FailureKind::Protocol, phase, text);
                    return self.feed(Input::Closed(failure));
                }
            }
        }
    }

    fn report_phase(&mut self) {
        let phase = self.dialogue.phase();
        if self.dialogue.is_waiting() && self.phase.replace(phase) != Some(phase) {
            self.mailbox.post(Event::Phase(phase));
        }
    }

    fn report_progress(&mut self, written: u64) {
        if let Some(sending) = &mut self.sending {
            // What stood before the text was counted with it.
            sending.octets = (sending.octets + written).min(sending.of);
            if sending.reported.elapsed() >= PROGRESS_INTERVAL {
                sending.reported = Instant::now();
                self.mailbox
                    .post(Event::Progress(sending.octets, sending.of));
            }
        }
    }
}
