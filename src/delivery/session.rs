//! One connection: drives a dialogue over a wire. It moves octets, keeps the
//! clocks and the trace; what to do about anything is the courier's.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::TimeLimits;
use super::mailbox::{Event, Mailbox};
use super::pool::{self, Kept};
use super::request::{Content, Request};
use super::trace::Trace;
use crate::net::connect::connect;
use crate::net::resolve::resolve;
use crate::net::signal::{Signal, Waited};
use crate::net::tls::{self, TlsFacts, TlsSettings};
use crate::net::wire::Wire;
use crate::net::words::words;
use crate::smtp::content::{Encoder, Framing};
use crate::smtp::dialogue::{
    Dialogue, Input, Message, MessageId, Outcome, Output, Plan, Question, Security, Verdict,
};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::reply::{Reply, ReplyReader};
use crate::smtp::secret::Secret;

/// Octets of text made ready at once: large writes, and still a lively progress.
const BLOCK: usize = 256 * 1024;

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
    /// The connection is over.
    Ended(Option<Failure>),
    /// Somebody rang: an answer or a stop.
    Rung,
}

/// A message's text on its way to the wire.
struct Sending {
    id: MessageId,
    content: Rc<Content>,
    encoder: Encoder,
    encoded_all: bool,
    octets: u64,
    reported: Instant,
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
    /// What was said in AUTH, in base64: not to be repeated in trace or error.
    secrets: Vec<Secret>,
    /// Octets to write, from `written` on.
    outgoing: Vec<u8>,
    written: usize,
    incoming: Vec<u8>,
    sending: Option<Sending>,
    /// The message whose end was written last.
    ended: Option<MessageId>,
    /// The last time that anything went forward.
    progress: Instant,
    phase: Option<Phase>,
    happened: VecDeque<Happening>,
    tls: Option<TlsFacts>,
    /// Whether the connection was kept after other messages, and the server has
    /// said nothing since, or only that it goes (421).
    unproven: bool,
    last_reply: Instant,
}

impl<'a> Session<'a> {
    /// Connect, and shake hands where TLS comes first.
    ///
    /// # Errors
    /// `Resolve`, `Connect`, `Timeout`, `Cancelled`, `Tls` or `Certificate`.
    pub fn open(request: &'a Request, plan: Plan, mailbox: &'a Mailbox) -> Result<Self, Failure> {
        let mut trace = Trace::new();
        let signal: &Arc<Signal> = &mailbox.signal;
        let deadline = Instant::now() + request.limits.limit(Phase::Connect);
        let opened = || -> Result<Wire, Failure> {
            mailbox.post(Event::Phase(Phase::Resolve));
            let addresses = resolve(&request.host, request.port, deadline, signal)?;
            mailbox.post(Event::Phase(Phase::Connect));
            let socket = connect(addresses, deadline, signal)?;
            Wire::new(socket, signal.clone()).map_err(|error| broken(Phase::Connect, &error))
        };
        let wire = opened().inspect_err(|failure| trace.note(mailbox, &failure.text))?;
        trace.note(
            mailbox,
            &format!("connected to {} ({})", request.host, wire.peer()),
        );
        mailbox.post(Event::Connected(wire.peer().to_string()));
        let implicit = plan.security == Security::Implicit;
        let mut session = Self {
            request,
            mailbox,
            contents: HashMap::new(),
            trace,
            wire,
            dialogue: Dialogue::new(plan),
            reader: ReplyReader::default(),
            secrets: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            incoming: Vec::new(),
            sending: None,
            ended: None,
            progress: Instant::now(),
            phase: None,
            happened: VecDeque::new(),
            tls: None,
            unproven: false,
            last_reply: Instant::now(),
        };
        if implicit {
            session.start_tls()?;
        }
        Ok(session)
    }

    /// Go on with a connection that was kept, if there is one; it takes messages.
    pub fn resume(request: &'a Request, mailbox: &'a Mailbox) -> Option<Self> {
        let mut kept = pool::take(request)?;
        kept.wire.ring_with(mailbox.signal.clone());
        let mut trace = Trace::new();
        let idle = kept.last_reply.elapsed().as_secs_f64();
        let peer = kept.wire.peer();
        let text = format!("the connection to {peer} is used again after {idle:.1} s");
        trace.note(mailbox, &text);
        mailbox.post(Event::Connected(peer.to_string()));
        Some(Self {
            request,
            mailbox,
            contents: HashMap::new(),
            trace,
            wire: kept.wire,
            dialogue: kept.dialogue,
            reader: ReplyReader::default(),
            secrets: kept.secrets,
            outgoing: Vec::new(),
            written: 0,
            incoming: Vec::new(),
            sending: None,
            ended: None,
            progress: Instant::now(),
            phase: None,
            happened: VecDeque::new(),
            tls: kept.tls,
            unproven: true,
            last_reply: kept.last_reply,
        })
    }

    /// Whether the server has said nothing yet to what was sent over a connection
    /// that was kept: if it ends now, that says nothing about a message.
    pub fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// Whether the connection is under TLS.
    pub fn is_protected(&self) -> bool {
        self.tls.is_some()
    }

    pub fn dialogue(&self) -> &Dialogue {
        &self.dialogue
    }

    /// Tell the dialogue something.
    pub fn feed(&mut self, input: Input) {
        self.dialogue.handle(input);
    }

    /// Let `message` go, with this text, when its turn comes.
    pub fn send(&mut self, message: Message, content: Rc<Content>) {
        self.contents.insert(message.id, content);
        self.feed(Input::NextMessage(message));
    }

    /// Run until something wants the courier.
    pub fn next(&mut self) -> Happening {
        loop {
            self.act();
            if let Some(happening) = self.happened.pop_front() {
                return happening;
            }
            self.fill();
            match self.exchange() {
                Ok(true) => continue,
                Ok(false) => {}
                Err(failure) => {
                    self.feed(Input::Closed(failure));
                    continue;
                }
            }
            self.report_phase();
            let writing = self.written < self.outgoing.len();
            let clock_runs = writing || self.dialogue.is_waiting();
            let limits: &TimeLimits = &self.request.limits;
            let phase = self.dialogue.phase();
            let limit = match self.unproven {
                true => limits.limit(phase).min(pool::FIRST_REPLY),
                false => limits.limit(phase),
            };
            let deadline = clock_runs.then(|| self.progress + limit);
            match self.wire.wait(writing, deadline) {
                Ok(Waited::Ready) => {}
                Ok(Waited::Rung) => return Happening::Rung,
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

    /// The last message is over: keep the connection if the request wants that,
    /// and nothing is on its way in either direction.
    pub fn keep_or_quit(mut self) {
        self.act();
        let quiet = self.happened.is_empty()
            && self.sending.is_none()
            && self.written == self.outgoing.len()
            && !self.reader.has_leftovers()
            && !self.dialogue.is_waiting();
        if self.request.keep.time.is_zero() || !quiet {
            return self.quit();
        }
        self.trace.note(self.mailbox, "the connection is kept");
        let kept = Kept {
            wire: self.wire,
            dialogue: self.dialogue,
            tls: self.tls,
            secrets: self.secrets,
            last_reply: self.last_reply,
        };
        pool::keep(kept, self.request);
    }

    /// Say QUIT as far as it goes without waiting, and close.
    pub fn quit(mut self) {
        self.feed(Input::NoMoreMessages);
        self.act();
        // Best effort: the message's fate is known already.
        let _ = self.exchange();
        self.wire.close();
    }

    /// Do what the dialogue wants done.
    fn act(&mut self) {
        while let Some(output) = self.dialogue.next_output() {
            match output {
                Output::Send(commands) => {
                    for command in &commands {
                        self.trace.sent(self.mailbox, command);
                        self.secrets.extend(command.secret());
                        command.write_to(&mut self.outgoing);
                    }
                    self.progress = Instant::now();
                }
                Output::StartTls => {
                    let input = match self.start_tls() {
                        Ok(()) => Input::TlsReady,
                        Err(failure) => Input::Closed(failure),
                    };
                    self.feed(input);
                }
                Output::SendText(id) => {
                    let content = self.contents.get(&id);
                    let content = content.expect("`send` kept the text, `Finished` comes later");
                    let shown = self.request.traced_octets;
                    self.trace
                        .text(self.mailbox, &content.text, content.facts.wire_len, shown);
                    self.sending = Some(Sending {
                        id,
                        content: content.clone(),
                        encoder: Encoder::new(Framing::Data),
                        encoded_all: false,
                        octets: 0,
                        reported: Instant::now(),
                    });
                }
                Output::Ask(question) => self.happened.push_back(Happening::Asked(question)),
                Output::Heard(reply) => self.happened.push_back(Happening::Heard(reply)),
                Output::Ready => self.happened.push_back(Happening::Ready),
                Output::Finished(id, outcome) => {
                    self.contents.remove(&id);
                    // The fate of one message says nothing of another's.
                    if self.ended == Some(id) {
                        match outcome.verdict {
                            Verdict::Unknown(_) | Verdict::Untried(_) => {}
                            Verdict::Accepted(_) => self.mailbox.leave_point_of_no_return(true),
                            Verdict::Failed(_) | Verdict::LoginDemanded(_) => {
                                self.mailbox.leave_point_of_no_return(false);
                            }
                        }
                    }
                    self.happened.push_back(Happening::Finished(id, outcome));
                }
                Output::Done(failure) => {
                    if let Some(failure) = &failure {
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

    fn start_tls(&mut self) -> Result<(), Failure> {
        self.mailbox.post(Event::Phase(Phase::Handshake));
        // Whatever stands behind the 220 was not said under TLS and may have been
        // put there by somebody else (RFC 3207 §5).
        if self.reader.has_leftovers() {
            let text = "the server sent something after its answer to STARTTLS and before TLS: an attack, or a broken server";
            self.trace.note(self.mailbox, text);
            return Err(Failure::new(FailureKind::Tls, Phase::Handshake, text));
        }
        let deadline = Instant::now() + self.request.limits.limit(Phase::Handshake);
        let settings = TlsSettings::from(&self.request.tls);
        let facts = self
            .wire
            .start_tls(&settings, &self.request.host, deadline)
            .inspect_err(|failure| self.trace.note(self.mailbox, &failure.text))?;
        self.trace.note(
            self.mailbox,
            &format!("{}, {}", facts.version, facts.cipher),
        );
        if let Some(certificate) = &facts.certificate {
            self.trace.note(
                self.mailbox,
                &format!(
                    "certificate of {} for {}, signed by {}, until {}, SHA-256 {}",
                    certificate.subject,
                    certificate.names.join(", "),
                    certificate.issuer,
                    certificate.not_after,
                    certificate.fingerprint
                ),
            );
        }
        self.mailbox.post(Event::Secured(facts.clone()));
        self.tls = Some(facts);
        self.progress = Instant::now();
        Ok(())
    }

    /// Make the next block of the text ready.
    fn fill(&mut self) {
        if self.written > 0 && self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        }
        let Some(sending) = &mut self.sending else {
            return;
        };
        if sending.encoded_all || !self.outgoing.is_empty() {
            return;
        }
        sending.encoded_all =
            sending
                .encoder
                .fill(&sending.content.text, &mut self.outgoing, BLOCK);
        if let Some(entry) = &sending.content.entry
            && sending.encoded_all
            && let Err(failure) = entry.mark_sending()
        {
            self.outgoing.clear();
            self.feed(Input::Closed(failure));
        }
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
        let stopped = ends_text && !self.mailbox.pass_point_of_no_return();
        if stopped || self.mailbox.signal.is_stopped() {
            return Err(Signal::stopped_failure(phase));
        }
        let waiting = &self.outgoing[self.written..];
        let progress = self.wire.exchange(waiting, &mut self.incoming);
        self.written += progress.written;
        if ends_text && self.ends_text() {
            // The kernel took a part only, or nothing.
            self.mailbox.leave_point_of_no_return(false);
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
            self.ended = self.sending.take().map(|sending| sending.id);
            self.feed(Input::TextSent);
        }
        if progress.read > 0 {
            self.reader.feed(&self.incoming);
            self.incoming.clear();
            self.read_replies();
        }
        // Told last, and of the phase that what was written and read led to.
        let phase = self.dialogue.phase();
        if let Some(error) = progress.broken {
            return Err(broken(phase, &error));
        }
        if progress.closed {
            let text = format!("{} closed the connection", self.request.host);
            return Err(Failure::new(FailureKind::Closed, phase, text));
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
                    self.trace.received(self.mailbox, &reply);
                    self.feed(Input::Reply(reply));
                    // STARTTLS must see what stands behind its 220.
                    self.act();
                }
                Ok(None) => return,
                Err(error) => {
                    let phase = self.dialogue.phase();
                    let failure = Failure::new(FailureKind::Protocol, phase, error.to_string());
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
            sending.octets += written;
            if sending.reported.elapsed() >= PROGRESS_INTERVAL {
                sending.reported = Instant::now();
                self.mailbox.post(Event::Progress(
                    sending.octets,
                    sending.content.facts.stuffed_len + END_OF_TEXT,
                ));
            }
        }
    }
}

fn broken(phase: Phase, error: &std::io::Error) -> Failure {
    let kind = match tls::is_alert(error) {
        true => FailureKind::Tls,
        false => FailureKind::Closed,
    };
    Failure::new(
        kind,
        phase,
        format!("the connection broke: {}", words(error)),
    )
}
