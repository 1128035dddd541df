//! What the courier has to ask, and what it makes of the answers.

use super::{Courier, End, place_of};
use crate::delivery::mailbox::{Answer, Event, Question, QuestionId, TrustAnswer};
use crate::delivery::session::Session;
use crate::net::signal::Signal;
use crate::smtp::dialogue::{self, CredentialsReason, Input, LoginAnswer, RefusedRecipients};
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// A question that Lisp has not answered yet.
pub(super) struct Open {
    pub(super) id: QuestionId,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// With the refusal of the last ones.
    Credentials(Option<Failure>),
    /// After a refusal of the message first in line, which stands without
    /// credentials.
    DemandedCredentials(Failure),
    ClearLogin,
    /// Of the mail at this place.
    RefusedRecipients(usize),
    /// Of a certificate that was not accepted, by its SHA-256, and why.
    Certificate(String, Failure),
    /// Of our key.
    Passphrase,
    /// After the failure for want of a login at the proxy.
    ProxyLogin(Failure),
    /// After the failure for want of TLS.
    WithoutTls(Failure),
}

impl Courier<'_> {
    /// Ask, unless the answer is known.
    pub(super) fn ask(
        &mut self,
        question: dialogue::Question,
        session: &mut Session<'_>,
    ) -> Option<Open> {
        let (question, kind) = match question {
            dialogue::Question::Credentials {
                reason: CredentialsReason::Offered,
                ..
            } if self.declined => {
                session.feed(Input::Login(None));
                return None;
            }
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
            dialogue::Question::RefusedRecipients(id, verdicts) => {
                let place = place_of(id);
                let mail = &self.mails[place];
                if let Some(policy) = mail.refused_recipients {
                    session.feed(Input::SendRest(policy == RefusedRecipients::SendRest));
                    return None;
                }
                let reports = mail.batch_reports(verdicts);
                (
                    Question::RefusedRecipients(reports),
                    Kind::RefusedRecipients(place),
                )
            }
        };
        Some(Open {
            id: self.mailbox.ask(question),
            kind,
        })
    }

    /// Make use of an answer, on the connection where it still stands.
    ///
    /// # Errors
    /// Nothing further can be tried.
    pub(super) fn apply(
        &mut self,
        answer: Answer,
        kind: Kind,
        session: Option<&mut Session<'_>>,
    ) -> Result<(), Failure> {
        let demanded = matches!(kind, Kind::DemandedCredentials(_));
        match (answer, kind, session) {
            (Answer::Login(login), Kind::Credentials(refused), session) => {
                self.keep(login.as_ref());
                match (session, refused) {
                    (Some(session), _) => {
                        session.feed(Input::Login(login));
                        self.mark_ahead();
                    }
                    (None, Some(refused)) if login.is_none() => {
                        return Err(refused.of_kind(FailureKind::Authentication));
                    }
                    (None, _) => {}
                }
            }
            (
                Answer::LoggedIn,
                Kind::Credentials(_) | Kind::DemandedCredentials(_),
                Some(session),
            ) => {
                session.feed(Input::LoggedIn);
                if demanded {
                    self.feed(session);
                }
            }
            (Answer::Login(Some(login)), Kind::DemandedCredentials(_), session) => {
                self.keep(Some(&login));
                if let Some(session) = session {
                    session.feed(Input::Login(Some(login)));
                    self.feed(session);
                }
            }
            (_, Kind::DemandedCredentials(failure), session) => {
                if let Some(place) = self.line.pop_front() {
                    self.without_login(place, failure);
                }
                if let Some(session) = session {
                    self.feed(session);
                }
            }
            (Answer::Yes(yes), Kind::ClearLogin, session) => {
                self.plan.clear_login_allowed = yes;
                if let Some(session) = session {
                    session.feed(Input::ClearLogin(yes));
                }
            }
            (Answer::Yes(yes), Kind::RefusedRecipients(place), session) => {
                self.mails[place].refused_recipients = Some(match yes {
                    true => RefusedRecipients::SendRest,
                    false => RefusedRecipients::Abort,
                });
                if let Some(session) = session {
                    session.feed(Input::SendRest(yes));
                }
            }
            (Answer::Trust(answer), Kind::Certificate(fingerprint, failure), _) => match answer {
                TrustAnswer::No => return Err(failure),
                TrustAnswer::Once | TrustAnswer::Always => {
                    let always = answer == TrustAnswer::Always;
                    self.server
                        .trust_certificate(fingerprint, always, self.mailbox);
                }
            },
            (Answer::Passphrase(Some(passphrase)), Kind::Passphrase, _) => {
                self.passphrase = Some(passphrase);
            }
            (Answer::Passphrase(None), Kind::Passphrase, _) => {
                return Err(self.locked_key());
            }
            (Answer::Login(Some(login)), Kind::ProxyLogin(_), _) => {
                self.proxy_login = Some(login.credentials);
            }
            (Answer::Login(None), Kind::ProxyLogin(failure), _) => return Err(failure),
            (Answer::Yes(true), Kind::WithoutTls(_), _) => self.server.allow_without_tls(),
            (Answer::Yes(false), Kind::WithoutTls(failure), _) => return Err(failure),
            // Our own Lisp answered another question: as good as a refusal.
            (..) => {
                let text = "the question was not answered";
                return Err(Failure::new(FailureKind::Cancelled, Phase::Idle, text));
            }
        }
        Ok(())
    }

    fn keep(&mut self, login: Option<&LoginAnswer>) {
        self.plan.login = login.cloned();
        self.declined = login.is_none();
    }

    /// The server left while the user thinks: the answer serves a new connection.
    pub(super) fn await_offline(&mut self, open: Open) -> End {
        self.fall_back();
        self.tell_all();
        loop {
            if self.mailbox.signal.is_stopped() {
                return End::GiveUp(Signal::stopped_failure(Phase::Idle));
            }
            match self.mailbox.take_answer(open.id) {
                Some(Answer::Say(_)) => self.mailbox.post(Event::Heard(None)),
                Some(answer) => {
                    self.tries -= 1;
                    return match self.apply(answer, open.kind, None) {
                        Ok(()) => End::Reconnect,
                        Err(failure) => End::GiveUp(failure),
                    };
                }
                None => {}
            }
            if let Err(error) = self.mailbox.signal.wait(&[], None) {
                let text = error.to_string();
                return End::GiveUp(Failure::new(FailureKind::Closed, Phase::Idle, text));
            }
        }
    }
}
