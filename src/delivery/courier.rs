//! One message's way to its end: connections, questions, retries, recipients
//! split over transactions. It decides; the session below it moves octets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::mailbox::{
    Answer, Event, Mailbox, Question, QuestionId, RecipientReport, Report, Verdict,
};
use super::queue::Entry;
use super::request::{Content, Request, Text};
use super::session::{Happening, Session};
use crate::net::signal::Signal;
use crate::smtp::capabilities::Capabilities;
use crate::smtp::content::survey;
use crate::smtp::dialogue::{
    self, CredentialsReason, Input, LoginAnswer, Message, Outcome, Plan, RecipientVerdict,
    RefusedRecipients,
};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Longest pause between two tries, in seconds: somebody may be waiting.
const MAX_PAUSE: u64 = 30;

/// Deliver `request` and post how it went, whatever happens.
pub(super) fn run(mut request: Request, mailbox: &Mailbox) {
    let work = AssertUnwindSafe(|| match content(&mut request) {
        Ok(content) => settled(
            &content,
            Courier::new(&request, &content, mailbox).deliver(),
        ),
        Err(failure) => failure.into(),
    });
    let report = catch_unwind(work).unwrap_or_else(|_| {
        let text = "internal error; please report it";
        Failure::new(FailureKind::Protocol, Phase::Idle, text).into()
    });
    mailbox.post(Event::Finished(report));
}

/// The report after it is written down in the outbox, where the message is from.
fn settled(content: &Content, report: Report) -> Report {
    match content.entry.as_ref().map(|entry| entry.settle(&report)) {
        // Marked as being sent and without an outcome, it is unknown to the next
        // reader; so it is for this one.
        Some(Err(failure)) if matches!(report.verdict, Verdict::Accepted(_)) => Report {
            verdict: Verdict::Unknown(failure),
            ..report
        },
        _ => report,
    }
}

/// The text of the message and its facts.
fn content(request: &mut Request) -> Result<Content, Failure> {
    let unsendable = |text| Failure::new(FailureKind::Content, Phase::Mail, text);
    let entry = match &request.text {
        Text::Entry(place, name) => {
            let recipients = request.envelope.recipients.len();
            Some(Entry::claim(place, name, recipients)?)
        }
        _ => None,
    };
    let text = match &entry {
        Some(entry) => entry.text()?,
        None => request.text.take().map_err(|error| {
            unsendable(format!("the text of the message cannot be read: {error}"))
        })?,
    };
    let facts = survey(&text);
    match facts.first_nul {
        Some(offset) => Err(unsendable(format!(
            "the message contains a NUL character (octet {offset}), which no server has to take"
        ))),
        None => Ok(Content { text, facts, entry }),
    }
}

struct Courier<'a> {
    request: &'a Request,
    content: &'a Content,
    mailbox: &'a Mailbox,
    /// As in the request, with what was learnt from answers.
    plan: Plan,
    recipients: Vec<Recipient>,
    /// Most recipients of a transaction, once the server has shown its limit.
    batch_limit: Option<usize>,
    /// The server's words on the last acceptance.
    accepted: Option<String>,
    tries: u32,
    /// Times that the whole text went out in vain.
    texts_refused: u32,
    demanded: bool,
    /// There are no credentials: nobody is asked a second time unless they are
    /// demanded.
    declined: bool,
    logged_in: bool,
}

struct Recipient {
    report: RecipientReport,
    /// Whether it still has to be told to a server.
    waiting: bool,
}

/// How a connection ended for the courier.
enum End {
    Over(Verdict),
    /// Not now: again after a pause.
    Again(Failure),
    /// The answer needed is in hand now.
    Reconnect,
}

/// A question that Lisp has not answered yet.
struct Open {
    id: QuestionId,
    kind: Kind,
}

enum Kind {
    /// With the refusal of the last ones.
    Credentials(Option<Failure>),
    /// After a refusal of the message, which stands without credentials.
    DemandedCredentials(Failure),
    ClearLogin,
    RefusedRecipients,
}

impl<'a> Courier<'a> {
    fn new(request: &'a Request, content: &'a Content, mailbox: &'a Mailbox) -> Self {
        let recipients = request.envelope.recipients.iter().map(|mailbox| Recipient {
            report: RecipientReport {
                address: mailbox.to_string(),
                accepted: false,
                failure: None,
            },
            waiting: true,
        });
        Self {
            request,
            content,
            mailbox,
            plan: request.plan.clone(),
            recipients: recipients.collect(),
            batch_limit: None,
            accepted: None,
            tries: 0,
            texts_refused: 0,
            demanded: false,
            declined: false,
            logged_in: false,
        }
    }

    fn deliver(&mut self) -> Report {
        let verdict = loop {
            self.tries += 1;
            match self.connection() {
                End::Over(verdict) => break verdict,
                End::Reconnect => {}
                End::Again(failure) if !self.may_retry(&failure) => break Verdict::Failed(failure),
                End::Again(failure) => {
                    let seconds = (1 << (self.tries - 1).min(16)).min(MAX_PAUSE);
                    self.mailbox.post(Event::Retry(failure, seconds));
                    if !self.pause(Duration::from_secs(seconds)) {
                        break Verdict::Failed(Signal::stopped_failure(Phase::Idle));
                    }
                }
            }
        };
        // Those who wait in vain have their refusal in their report; the others
        // have got the message.
        let verdict = match (verdict, &self.accepted) {
            (Verdict::Failed(failure), Some(words)) if self.all_answered(&failure) => {
                Verdict::Accepted(words.clone())
            }
            (verdict, _) => verdict,
        };
        Report {
            verdict,
            recipients: self
                .recipients
                .iter()
                .map(|recipient| recipient.report.clone())
                .collect(),
            logged_in: self.logged_in,
        }
    }

    /// After a message was taken for some, with the user's will, and the others
    /// were refused for now: is every one of them accounted for?
    fn all_answered(&self, failure: &Failure) -> bool {
        failure.phase == Phase::Recipient
            && self.plan.refused_recipients == RefusedRecipients::SendRest
            && self
                .recipients
                .iter()
                .all(|r| r.report.accepted || r.report.failure.is_some())
    }

    fn may_retry(&self, failure: &Failure) -> bool {
        failure.is_transient() && self.tries < self.request.attempts && self.texts_refused < 2
    }

    /// One connection from its beginning to its end.
    fn connection(&mut self) -> End {
        let mut session =
            match Session::open(self.request, self.content, self.plan.clone(), self.mailbox) {
                Ok(session) => session,
                Err(failure) => return End::Over(Verdict::Failed(failure)),
            };
        let mut open: Option<Open> = None;
        let mut batch = Vec::new();
        // Whether Lisp waits for the reply to a line.
        let mut line_due = false;
        loop {
            match session.next() {
                Happening::Ready => {
                    self.note_login(&session);
                    let others = &session.dialogue().capabilities().others;
                    if !others.is_empty() {
                        self.mailbox.post(Event::UnknownExtensions(others.clone()));
                    }
                    batch = self.batch(session.dialogue().capabilities());
                    session.feed(Input::NextMessage(self.message(&batch)));
                }
                Happening::Heard(reply) => {
                    line_due = false;
                    self.mailbox.post(Event::Heard(Some(reply)));
                }
                Happening::Asked(dialogue::Question::Credentials {
                    reason: CredentialsReason::Offered,
                    ..
                }) if self.declined => session.feed(Input::Login(None)),
                Happening::Asked(question) => open = Some(self.ask(question, &batch, &session)),
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
                        && let Some(end) =
                            self.apply(answer, asked.kind, Some((&mut session, &batch)))
                    {
                        session.quit();
                        return end;
                    }
                }
                // The connection went away under an open question; what counts is
                // the answer.
                Happening::Finished(outcome)
                    if open.is_some()
                        && matches!(outcome.verdict, dialogue::Verdict::Failed(_)) => {}
                Happening::Finished(outcome) => {
                    self.note_login(&session);
                    match self.settle(&batch, outcome) {
                        Settled::NextBatch => {
                            batch = self.batch(session.dialogue().capabilities());
                            session.feed(Input::NextMessage(self.message(&batch)));
                        }
                        Settled::Demanded(failure) => {
                            let question = Question::Credentials {
                                offered: session.dialogue().capabilities().auth.clone(),
                                refused: None,
                                demanded: Some(failure.clone()),
                                protected: session.is_protected(),
                            };
                            let id = self.mailbox.ask(question);
                            open = Some(Open {
                                id,
                                kind: Kind::DemandedCredentials(failure),
                            });
                        }
                        Settled::End(end) => {
                            session.quit();
                            return end;
                        }
                    }
                }
                Happening::Ended(failure) => {
                    // Nobody's thinking or waiting shall hold a dead socket.
                    drop(session);
                    if line_due {
                        self.mailbox.post(Event::Heard(None));
                    }
                    let stopped = self.mailbox.signal.is_stopped();
                    return match (open, failure) {
                        (Some(open), _) if !stopped => self.await_offline(open),
                        (_, Some(failure)) if failure.is_transient() => End::Again(failure),
                        (_, Some(failure)) => End::Over(Verdict::Failed(failure)),
                        (_, None) => End::Over(Verdict::Failed(Failure::new(
                            FailureKind::Closed,
                            Phase::Idle,
                            "the connection ended early",
                        ))),
                    };
                }
            }
        }
    }

    fn note_login(&mut self, session: &Session<'_>) {
        if session.dialogue().is_logged_in() && !std::mem::replace(&mut self.logged_in, true) {
            self.mailbox.post(Event::LoggedIn);
        }
    }

    /// The recipients of the next transaction.
    fn batch(&self, capabilities: &Capabilities) -> Vec<usize> {
        let limit = [capabilities.max_recipients, self.batch_limit]
            .into_iter()
            .flatten()
            .min();
        let waiting = (0..self.recipients.len()).filter(|index| self.recipients[*index].waiting);
        let mut waiting: Vec<_> = waiting.collect();
        if let Some(limit) = limit.filter(|limit| *limit < waiting.len()) {
            // Who was refused for now must not keep out who was not tried yet.
            waiting.sort_by_key(|index| self.recipients[*index].report.failure.is_some());
            waiting.truncate(limit);
        }
        waiting
    }

    fn message(&self, batch: &[usize]) -> Message {
        let envelope = &self.request.envelope;
        Message {
            id: 0,
            reverse_path: envelope.reverse_path.clone(),
            recipients: batch
                .iter()
                .map(|index| envelope.recipients[*index].clone())
                .collect(),
            octets: self.content.facts.wire_len,
            eight_bit: self.content.facts.eight_bit,
        }
    }

    fn ask(&self, question: dialogue::Question, batch: &[usize], session: &Session<'_>) -> Open {
        let (question, kind) = match question {
            dialogue::Question::Credentials { offered, reason } => {
                let refused = match reason {
                    CredentialsReason::Offered => None,
                    CredentialsReason::Refused(failure) => Some(failure),
                };
                let question = Question::Credentials {
                    offered,
                    refused: refused.clone(),
                    demanded: None,
                    protected: session.is_protected(),
                };
                (question, Kind::Credentials(refused))
            }
            dialogue::Question::ClearLogin => (Question::ClearLogin, Kind::ClearLogin),
            dialogue::Question::RefusedRecipients(_, verdicts) => {
                let addresses = batch
                    .iter()
                    .map(|index| &self.recipients[*index].report.address);
                let reports = addresses
                    .zip(verdicts)
                    .map(|(address, verdict)| RecipientReport {
                        address: address.clone(),
                        accepted: verdict == RecipientVerdict::Accepted,
                        failure: match verdict {
                            RecipientVerdict::Refused(failure) => Some(failure),
                            _ => None,
                        },
                    });
                (
                    Question::RefusedRecipients(reports.collect()),
                    Kind::RefusedRecipients,
                )
            }
        };
        Open {
            id: self.mailbox.ask(question),
            kind,
        }
    }

    /// Make use of an answer, on the connection where it still stands.
    fn apply(
        &mut self,
        answer: Answer,
        kind: Kind,
        session: Option<(&mut Session<'_>, &[usize])>,
    ) -> Option<End> {
        let demanded = matches!(kind, Kind::DemandedCredentials(_));
        match (answer, kind) {
            (Answer::Login(login), Kind::Credentials(refused)) => {
                self.keep(login.as_ref());
                match (session, refused) {
                    (Some((session, _)), _) => session.feed(Input::Login(login)),
                    (None, Some(refused)) if login.is_none() => {
                        let failure = refused.of_kind(FailureKind::Authentication);
                        return Some(End::Over(Verdict::Failed(failure)));
                    }
                    (None, _) => {}
                }
            }
            (Answer::LoggedIn, Kind::Credentials(_) | Kind::DemandedCredentials(_))
                if session.is_some() =>
            {
                if let Some((session, batch)) = session {
                    session.feed(Input::LoggedIn);
                    if demanded {
                        session.feed(Input::NextMessage(self.message(batch)));
                    }
                }
            }
            (Answer::Login(Some(login)), Kind::DemandedCredentials(_)) => {
                self.keep(Some(&login));
                if let Some((session, batch)) = session {
                    session.feed(Input::Login(Some(login)));
                    session.feed(Input::NextMessage(self.message(batch)));
                }
            }
            (_, Kind::DemandedCredentials(failure)) => {
                return Some(End::Over(Verdict::Failed(failure)));
            }
            (Answer::Yes(yes), Kind::ClearLogin) => {
                self.plan.clear_login_allowed = yes;
                if let Some((session, _)) = session {
                    session.feed(Input::ClearLogin(yes));
                }
            }
            (Answer::Yes(yes), Kind::RefusedRecipients) => {
                if yes {
                    self.plan.refused_recipients = RefusedRecipients::SendRest;
                } else {
                    self.plan.refused_recipients = RefusedRecipients::Abort;
                }
                if let Some((session, _)) = session {
                    session.feed(Input::SendRest(yes));
                }
            }
            // Our own Lisp answered another question: as good as a refusal.
            (_, _) => {
                let text = "the question was not answered";
                return Some(End::Over(Verdict::Failed(Failure::new(
                    FailureKind::Cancelled,
                    Phase::Idle,
                    text,
                ))));
            }
        }
        None
    }

    fn keep(&mut self, login: Option<&LoginAnswer>) {
        self.plan.login = login.cloned();
        self.declined = login.is_none();
    }

    /// The server left while the user thinks: the answer serves a new connection.
    fn await_offline(&mut self, open: Open) -> End {
        loop {
            if self.mailbox.signal.is_stopped() {
                return End::Over(Verdict::Failed(Signal::stopped_failure(Phase::Idle)));
            }
            match self.mailbox.take_answer(open.id) {
                Some(Answer::Say(_)) => self.mailbox.post(Event::Heard(None)),
                Some(answer) => {
                    self.tries -= 1;
                    return self
                        .apply(answer, open.kind, None)
                        .unwrap_or(End::Reconnect);
                }
                None => {}
            }
            if let Err(error) = self.mailbox.signal.wait(&[], None) {
                return End::Over(Verdict::Failed(Failure::new(
                    FailureKind::Closed,
                    Phase::Idle,
                    error.to_string(),
                )));
            }
        }
    }

    /// A transaction is over: note every recipient and say what comes next.
    fn settle(&mut self, batch: &[usize], outcome: Outcome) -> Settled {
        let taken = matches!(outcome.verdict, dialogue::Verdict::Accepted(_));
        let mut postponed = false;
        for (index, verdict) in batch.iter().zip(&outcome.recipients) {
            let recipient = &mut self.recipients[*index];
            match verdict {
                RecipientVerdict::Accepted => {
                    recipient.report.accepted = taken;
                    recipient.report.failure = None;
                    recipient.waiting = !taken;
                }
                RecipientVerdict::Refused(failure) => {
                    recipient.waiting = !taken || failure.is_transient();
                    recipient.report.failure = Some(failure.clone());
                }
                RecipientVerdict::Postponed(_) => postponed = true,
                RecipientVerdict::Untried => {}
            }
        }
        match outcome.verdict {
            dialogue::Verdict::Accepted(reply) => {
                self.accepted = Some(reply.text());
                if postponed {
                    let accepted = outcome
                        .recipients
                        .iter()
                        .filter(|v| **v == RecipientVerdict::Accepted);
                    self.batch_limit = Some(accepted.count().max(1));
                }
                self.after_acceptance()
            }
            dialogue::Verdict::Failed(failure) => {
                self.texts_refused += u32::from(failure.phase == Phase::Final);
                Settled::End(match failure.is_transient() {
                    true => End::Again(failure),
                    false => End::Over(Verdict::Failed(failure)),
                })
            }
            dialogue::Verdict::LoginDemanded(failure) => {
                match std::mem::replace(&mut self.demanded, true) {
                    true => Settled::End(End::Over(Verdict::Failed(failure))),
                    false => Settled::Demanded(failure),
                }
            }
            dialogue::Verdict::Unknown(failure) => {
                Settled::End(End::Over(Verdict::Unknown(failure)))
            }
        }
    }

    /// The server took the message for some: who is left?
    fn after_acceptance(&self) -> Settled {
        let mut waiting = self
            .recipients
            .iter()
            .filter(|recipient| recipient.waiting)
            .peekable();
        if waiting.peek().is_none() {
            let words = self.accepted.clone().unwrap_or_default();
            return Settled::End(End::Over(Verdict::Accepted(words)));
        }
        // Those refused for now come after a pause, those only postponed at once.
        match waiting
            .map(|recipient| recipient.report.failure.clone())
            .collect::<Option<Vec<_>>>()
        {
            Some(failures) => match failures.into_iter().next() {
                Some(failure) => Settled::End(End::Again(failure)),
                None => Settled::NextBatch,
            },
            None => Settled::NextBatch,
        }
    }

    /// Wait; false when stopped.
    fn pause(&self, length: Duration) -> bool {
        let end = Instant::now() + length;
        while !self.mailbox.signal.is_stopped() {
            match self.mailbox.signal.wait(&[], Some(end)) {
                Ok(_) if Instant::now() < end => {}
                _ => break,
            }
        }
        !self.mailbox.signal.is_stopped()
    }
}

/// What comes after a transaction.
enum Settled {
    NextBatch,
    Demanded(Failure),
    End(End),
}
