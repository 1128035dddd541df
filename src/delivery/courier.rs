//! The messages' way to their ends: connections, questions, retries, which
//! message goes when. It decides; the session below it moves octets, and what
//! became of a message's recipients is known by its [`Mail`].
//!
//! Messages go in order over one connection, the next one given to it while the
//! last reply to the one before is awaited. A single message is the list of one.

mod feeding;
mod loading;
mod probing;
mod questions;
mod telling;
mod trust;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::loading::Leisure;
use self::questions::{Kind, Open};
use super::entries::Entries;
use super::mail::{Mail, Settled};
use super::mailbox::{Answer, Event, Mailbox, Question, Report, Verdict};
use super::request::{Request, Text};
use super::servers;
use super::session::{Happening, Session};
use super::trust::ServerTrust;
use crate::net::certificate::CertificateFacts;
use crate::net::signal::Signal;
use crate::smtp::command::Command;
use crate::smtp::dialogue::{self, Input, MessageId, Outcome, Plan};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::Credentials;
use crate::smtp::secret::Secret;

/// Longest pause between two tries, in seconds: somebody may be waiting.
const MAX_PAUSE: u64 = 30;

/// Connections in a row that are lost without a reply to any message, until no
/// further one is tried: the first may be the fault of one message.
const MAX_BARREN_CONNECTIONS: u32 = 2;

/// Deliver what `request` holds and post how it went, whatever happens.
pub(super) fn run(mut request: Request, mailbox: &Mailbox) {
    for (number, failure) in std::mem::take(&mut request.unsendable) {
        mailbox.post(Event::Finished(number, failure.into()));
    }
    let numbers: Vec<usize> = request.messages.iter().map(|m| m.number).collect();
    let open = RefCell::new(numbers);
    let mails = std::mem::take(&mut request.messages)
        .into_iter()
        .map(Mail::new);
    let mails = mails.collect();
    let work = AssertUnwindSafe(|| Courier::new(&request, mails, &open, mailbox).run());
    let warning = catch_unwind(work).unwrap_or_else(|_| {
        let text = "internal error; please report it";
        let failure = Failure::new(FailureKind::Protocol, Phase::Idle, text);
        for number in open.borrow_mut().drain(..) {
            let mut report = Report::from(failure.clone());
            if mailbox.is_past_point_of_no_return() {
                report.verdict = Verdict::Unknown(failure.clone());
            }
            mailbox.post(Event::Finished(number, report));
        }
        None
    });
    mailbox.post(Event::Done(warning));
}

struct Courier<'a> {
    request: &'a Request,
    mailbox: &'a Mailbox,
    /// Numbers of messages that are not reported yet.
    open: &'a RefCell<Vec<usize>>,
    /// As in the request, with what was learnt from answers.
    plan: Plan,
    mails: Vec<Mail>,
    /// Places in `mails` of those that wait for their turn, …
    line: VecDeque<usize>,
    /// … of those given to the connection, …
    aboard: VecDeque<usize>,
    /// … and of those that wait for another try.
    later: VecDeque<usize>,
    /// … The ends of others, by their places, that are not told yet.
    untold: VecDeque<(usize, Report)>,
    /// Why the first of those that wait for another try was refused for now.
    refused_for_now: Option<Failure>,
    entries: Option<Rc<RefCell<Entries>>>,
    tries: u32,
    /// Connections begun.
    connections: u32,
    barren: u32,
    /// Messages given to this connection.
    given: usize,
    /// Whether a message came to its end on this connection, and whether one did
    /// by a reply of the server.
    finished: bool,
    answered: bool,
    demanded: bool,
    /// There are no credentials: nobody is asked a second time unless they are
    /// demanded.
    declined: bool,
    logged_in: bool,
    /// What is known of the server.
    server: ServerTrust,
    /// The certificate for which the last connection was given up.
    refused_certificate: Option<Box<CertificateFacts>>,
    /// Commands of the probe whose replies are still to come.
    trial: VecDeque<Command>,
    /// Of our key, from the answer to its use.
    passphrase: Option<Secret>,
    /// For the proxy, from the answer to its question.
    proxy_login: Option<Arc<Credentials>>,
    /// How often that was asked for.
    proxy_asked: u32,
}

/// How a connection ended for the courier.
enum End {
    /// Nobody is in line any more.
    Over,
    /// The answer needed is in hand now.
    Reconnect,
    /// For those still in line, as it stood.
    Lost(Failure),
    /// Nothing further is to be tried.
    GiveUp(Failure),
}

impl<'a> Courier<'a> {
    fn new(
        request: &'a Request,
        mails: Vec<Mail>,
        open: &'a RefCell<Vec<usize>>,
        mailbox: &'a Mailbox,
    ) -> Self {
        Self {
            request,
            mailbox,
            open,
            plan: request.plan.clone(),
            line: (0..mails.len()).collect(),
            mails,
            aboard: VecDeque::new(),
            later: VecDeque::new(),
            untold: VecDeque::new(),
            refused_for_now: None,
            entries: None,
            tries: 0,
            connections: 0,
            barren: 0,
            given: 0,
            finished: false,
            answered: false,
            demanded: false,
            declined: false,
            logged_in: false,
            server: ServerTrust::new(request),
            refused_certificate: None,
            trial: VecDeque::new(),
            passphrase: None,
            proxy_login: None,
            proxy_asked: 0,
        }
    }

    /// Deliver all; what the disk did not take in the end.
    fn run(mut self) -> Option<Failure> {
        match self.open_entries() {
            Ok(()) if self.request.probe.is_some() => self.probe(),
            Ok(()) => self.deliver(),
            Err(failure) => self.give_up(&failure),
        }
        self.tell_all();
        self.entries
            .and_then(|entries| entries.borrow_mut().sync().err())
    }

    fn open_entries(&mut self) -> Result<(), Failure> {
        if let Some(place) = &self.request.queue {
            let named = self
                .mails
                .iter()
                .filter_map(|mail| match &mail.object.text {
                    Text::Entry(name) => {
                        Some((name.clone(), mail.object.envelope.recipients.len()))
                    }
                    _ => None,
                });
            let signal = self.mailbox.signal.clone();
            let despite_readers = self.request.despite_readers;
            let entries = Entries::new(place, named.collect(), despite_readers, signal)?;
            self.entries = Some(Rc::new(RefCell::new(entries)));
        }
        Ok(())
    }

    fn deliver(&mut self) {
        loop {
            if self.mailbox.is_closing() {
                return self.give_up(&Signal::stopped_failure(Phase::Idle));
            }
            let loaded = self.load_first();
            self.tell_all();
            if loaded {
                self.tries += 1;
                (self.given, self.finished, self.answered) = (0, false, false);
                let end = self.connection();
                self.fall_back();
                self.tell_all();
                let end = self.reconsider(end);
                // In order, before those that were not given to it.
                while let Some(place) = self.aboard.pop_back() {
                    self.line.push_front(place);
                }
                if let Err(failure) = self.after_connection(end) {
                    return self.give_up(&failure);
                }
            }
            if let Some(failure) = self.refused_for_now.take_if(|_| self.line.is_empty()) {
                if !self.pause_for(failure) {
                    return self.give_up(&Signal::stopped_failure(Phase::Idle));
                }
                self.line.append(&mut self.later);
            }
            if self.line.is_empty() {
                return;
            }
        }
    }

    /// What the end of a connection means for those still in line.
    ///
    /// # Errors
    /// Nothing further is to be tried.
    fn after_connection(&mut self, end: End) -> Result<(), Failure> {
        match end {
            End::Over | End::Reconnect => Ok(()),
            End::GiveUp(failure) => Err(failure),
            End::Lost(_) if self.line.is_empty() => Ok(()),
            // The server itself has said "not now" (RFC 5321 §3.8).
            End::Lost(failure) if failure.is_transient() => {
                if self.tries >= self.request.attempts {
                    return Err(failure);
                }
                self.later.append(&mut self.line);
                self.refused_for_now = Some(failure);
                Ok(())
            }
            End::Lost(failure) => {
                self.barren = if self.answered { 0 } else { self.barren + 1 };
                match self.finished && self.barren < MAX_BARREN_CONNECTIONS {
                    true => Ok(()),
                    false => Err(failure),
                }
            }
        }
    }

    /// Nothing more is tried: this is why for all that are left.
    fn give_up(&mut self, failure: &Failure) {
        for list in [&mut self.line, &mut self.later] {
            self.aboard.append(list);
        }
        while let Some(place) = self.aboard.pop_front() {
            self.finish(place, Verdict::Failed(failure.clone()));
        }
    }

    /// One connection from its beginning to its end.
    fn connection(&mut self) -> End {
        let trust = match self.prepare_trust() {
            Ok(trust) => trust,
            Err(end) => return end,
        };
        let mut plan = self.plan.clone();
        plan.security = self.server.security(plan.security);
        // A nonce serves one connection (RFC 5802 §5.1); a dialogue makes its own of it
        // for further exchanges by a number without this mark.
        if self.connections > 0 {
            plan.sasl.nonce += &format!("-{}-", self.connections);
        }
        self.connections += 1;
        let switched_off = servers::switched_off(&self.request.host, self.request.port);
        plan.without
            .extend(switched_off.iter().map(|off| off.speed_up));
        let mut ready = false;
        let resumed = Session::resume(self.request, &plan, &trust, self.mailbox);
        let mut session = match resumed {
            Some((mut session, given)) => {
                ready = true;
                self.given = given;
                self.note_login(&session);
                self.feed(&mut session);
                session
            }
            None => {
                match Session::open(self.request, plan, trust, self.proxy_login(), self.mailbox) {
                    Ok(session) => {
                        self.mark_ahead();
                        session
                    }
                    Err(failure) => return End::GiveUp(failure),
                }
            }
        };
        for off in switched_off {
            session.note(&format!("without {}: {}", off.speed_up.name(), off.reason));
        }
        let mut another_way = false;
        let mut open: Option<Open> = None;
        // Whether Lisp waits for the reply to a line.
        let mut line_due = false;
        loop {
            let leisure = self.leisure();
            match session.next(leisure.as_ref().map(Leisure::patience)) {
                Happening::Quiet => {
                    if let Some(leisure) = leisure {
                        self.use_leisure(leisure);
                    }
                }
                Happening::Ready => {
                    ready = true;
                    self.server.note_tls(session.is_protected());
                    self.note_login(&session);
                    let others = &session.dialogue().capabilities().others;
                    if !others.is_empty() {
                        self.mailbox.post(Event::UnknownExtensions(others.clone()));
                    }
                    self.feed(&mut session);
                    self.begin_trial(&mut session);
                }
                Happening::LoggingIn => self.feed(&mut session),
                Happening::SwitchedOff(speed_up, failure) => {
                    self.switch_off(speed_up, &failure, &mut session);
                    another_way = true;
                }
                Happening::Heard(reply) if !self.trial.is_empty() => {
                    self.continue_trial(reply, &mut session)
                }
                Happening::Heard(reply) => {
                    line_due = false;
                    self.mailbox.post(Event::Heard(Some(reply)));
                }
                Happening::Asked(question) => {
                    open = self.ask(question, &mut session);
                }
                Happening::Rung => {
                    // Others ring too: without an answer the question stays open.
                    let answer = open
                        .as_ref()
                        .and_then(|open| self.mailbox.take_answer(open.id));
                    let answer = match answer {
                        // The question stays open until the lines said are a login.
                        Some(Answer::Say(line)) => {
                            line_due = true;
                            session.feed(Input::Say(line));
                            None
                        }
                        other => other,
                    };
                    if let Some(answer) = answer
                        && let Some(asked) = open.take()
                        && let Err(failure) = self.apply(answer, asked.kind, Some(&mut session))
                    {
                        session.quit();
                        return End::GiveUp(failure);
                    }
                    if ready && open.is_none() {
                        // Those whose texts waited for the disk.
                        self.feed(&mut session);
                    }
                }
                // The connection went away under an open question; what counts is
                // the answer.
                Happening::Finished(_, outcome)
                    if open.is_some()
                        && matches!(outcome.verdict, dialogue::Verdict::Failed(_)) => {}
                Happening::Finished(_, outcome)
                    if session.is_unproven()
                        && matches!(outcome.verdict, dialogue::Verdict::Failed(_))
                        && !self.mailbox.signal.is_stopped() => {}
                Happening::Finished(id, outcome) => {
                    self.note_login(&session);
                    open = self.settle(id, outcome, &session).or(open);
                    if open.is_none() {
                        self.feed(&mut session);
                    }
                }
                Happening::Ended(failure) => {
                    let unproven = session.is_unproven();
                    self.refused_certificate = session.take_refused_certificate();
                    // Nobody's thinking or waiting shall hold a dead socket.
                    drop(session);
                    if line_due {
                        self.mailbox.post(Event::Heard(None));
                    }
                    let failure = failure.unwrap_or_else(|| {
                        let text = "the connection ended early";
                        Failure::new(FailureKind::Closed, Phase::Idle, text)
                    });
                    return match open {
                        _ if self.mailbox.signal.is_stopped() => End::GiveUp(failure),
                        _ if self.mailbox.is_closing() => {
                            End::GiveUp(Signal::stopped_failure(Phase::Idle))
                        }
                        Some(open) => self.await_offline(open),
                        // It died while it was kept; that was no try.
                        None if unproven || another_way => {
                            self.tries -= 1;
                            End::Reconnect
                        }
                        None if ready || failure.is_transient() => End::Lost(failure),
                        None => End::GiveUp(failure),
                    };
                }
            }
            let idle = self.line.is_empty() && self.aboard.is_empty() && self.trial.is_empty();
            if open.is_none() && ready && idle {
                match self.is_spent(&session) || self.request.probe.is_some() {
                    true => session.quit(),
                    false => session.keep_or_quit(self.given),
                }
                return End::Over;
            }
            if open.is_none() && ready && self.aboard.is_empty() && self.is_spent(&session) {
                session.quit();
                self.tries -= 1;
                return End::Reconnect;
            }
        }
    }

    fn note_login(&mut self, session: &Session<'_>) {
        if session.dialogue().is_logged_in() && !std::mem::replace(&mut self.logged_in, true) {
            self.mailbox.post(Event::LoggedIn);
            if let Some((user, mechanism)) = session.dialogue().login() {
                self.server.note_login(user, mechanism);
            }
        }
    }

    /// The transaction `id` is over; perhaps a question comes of it.
    fn settle(&mut self, id: MessageId, outcome: Outcome, session: &Session<'_>) -> Option<Open> {
        let place = place_of(id);
        if is_a_reply(&outcome) || is_for_anothers_sake(&outcome) {
            self.answered = true;
        }
        let settled = self.mails[place].settle(outcome);
        if !matches!(settled, Settled::Untried) {
            self.aboard.retain(|aboard| *aboard != place);
        }
        match settled {
            // It goes back to the line with the end of the connection.
            Settled::Untried => {}
            Settled::NextBatch => self.line.push_front(place),
            Settled::Again(failure) => self.try_later(place, failure),
            Settled::Over(verdict) => self.finish(place, verdict),
            Settled::Demanded(_) if self.mailbox.is_closing() => self.line.push_front(place),
            Settled::Demanded(failure) if std::mem::replace(&mut self.demanded, true) => {
                self.without_login(place, failure);
            }
            Settled::Demanded(failure) => {
                self.line.push_front(place);
                let question = Question::Credentials {
                    offered: session.dialogue().capabilities().auth.clone(),
                    refused: None,
                    demanded: Some(failure.clone()),
                    protected: session.is_protected(),
                };
                return Some(Open {
                    id: self.mailbox.ask(question),
                    kind: Kind::DemandedCredentials(failure),
                });
            }
        }
        None
    }

    /// The mail at `place` was refused for now: it waits for another try, if there is
    /// to be one.
    fn try_later(&mut self, place: usize, failure: Failure) {
        let may_retry = self.tries < self.request.attempts && self.mails[place].texts_refused < 2;
        match may_retry {
            true => {
                self.later.push_back(place);
                self.refused_for_now.get_or_insert(failure);
            }
            false => self.finish(place, Verdict::Failed(failure)),
        }
    }

    /// The refusal that might have meant a login stands: there is none.
    fn without_login(&mut self, place: usize, failure: Failure) {
        match failure.is_transient() {
            true => self.try_later(place, failure),
            false => self.finish(place, Verdict::Failed(failure)),
        }
    }

    /// Wait after `failure`, longer each time; false when stopped.
    fn pause_for(&self, failure: Failure) -> bool {
        let doublings = self.tries.saturating_sub(1).min(16);
        let seconds = (1 << doublings).min(MAX_PAUSE);
        self.mailbox.post(Event::Retry(failure, seconds));
        let end = Instant::now() + Duration::from_secs(seconds);
        while !self.mailbox.signal.is_stopped() {
            match self.mailbox.signal.wait(&[], Some(end)) {
                Ok(_) if Instant::now() < end => {}
                _ => break,
            }
        }
        !self.mailbox.signal.is_stopped()
    }
}

/// Messages bear their places as their ids.
fn place_of(id: MessageId) -> usize {
    usize::try_from(id).expect("made of a usize by `feed`")
}

/// Whether the server had a word on the message itself.
fn is_a_reply(outcome: &Outcome) -> bool {
    match &outcome.verdict {
        dialogue::Verdict::Accepted(_) | dialogue::Verdict::LoginDemanded(_) => true,
        dialogue::Verdict::Failed(failure) => failure.code.is_some_and(|code| code != 421),
        dialogue::Verdict::Unknown(_) | dialogue::Verdict::Untried(_) => false,
    }
}

/// Whether it was us who did not go on with the message: no fault of the connection.
fn is_for_anothers_sake(outcome: &Outcome) -> bool {
    use FailureKind::{Busy, ReadElsewhere};
    matches!(&outcome.verdict, dialogue::Verdict::Failed(failure)
        if matches!(failure.kind, Busy | ReadElsewhere))
}
