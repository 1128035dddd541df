//! How a session comes to its connection, new or kept, goes under TLS, and gives the
//! connection to the next delivery. What is said over it is not decided here.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::Session;
use crate::delivery::mailbox::{Event, Mailbox};
use crate::delivery::pool::{self, Kept};
use crate::delivery::reach::reach;
use crate::delivery::request::Request;
use crate::delivery::trace::Trace;
use crate::delivery::trust::SessionTrust;
use crate::net::wire::Wire;
use crate::smtp::dialogue::{Dialogue, Input, Plan, Security};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::reply::ReplyReader;
use crate::smtp::sasl::Credentials;

impl<'a> Session<'a> {
    /// Connect, and shake hands where TLS comes first: how that failed, if it did, is
    /// told as the end of the connection.
    ///
    /// # Errors
    /// As [`reach`].
    pub fn open(
        request: &'a Request,
        plan: Plan,
        trust: SessionTrust,
        proxy_login: Option<&Credentials>,
        mailbox: &'a Mailbox,
    ) -> Result<Self, Failure> {
        let mut trace = Trace::new();
        let implicit = plan.security == Security::Implicit;
        let wire = reach(request, proxy_login, implicit, mailbox)
            .inspect_err(|failure| trace.note(mailbox, &failure.text))?;
        let way = match request.proxy {
            Some(_) => format!("by {}", wire.peer()),
            None => format!("({})", wire.peer()),
        };
        trace.note(mailbox, &format!("connected to {} {way}", request.host));
        mailbox.post(Event::Connected(wire.peer().to_owned()));
        let pool_key = pool::key(request, &plan, &trust);
        let login = plan.login.iter();
        let secrets = login.map(|login| login.credentials.secret.clone());
        let secrets = secrets.collect();
        let parts = (wire, Dialogue::new(plan), trace);
        let mut session = Self::over(request, mailbox, parts, trust, pool_key);
        session.secrets = secrets;
        if implicit && let Err(failure) = session.start_tls() {
            session.feed(Input::Closed(failure));
        }
        Ok(session)
    }

    /// A session in which nothing was said yet.
    fn over(
        request: &'a Request,
        mailbox: &'a Mailbox,
        (wire, dialogue, trace): (Wire, Dialogue, Trace),
        trust: SessionTrust,
        pool_key: String,
    ) -> Self {
        Self {
            request,
            mailbox,
            contents: HashMap::new(),
            trace,
            wire,
            dialogue,
            reader: ReplyReader::default(),
            heard: false,
            secrets: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            incoming: Vec::new(),
            block: Vec::new(),
            sending: None,
            ended: VecDeque::new(),
            progress: Instant::now(),
            phase: None,
            happened: VecDeque::new(),
            tls: None,
            trust,
            refused_certificate: None,
            pool_key,
            unproven: false,
            last_reply: Instant::now(),
        }
    }

    /// Go on with a connection that was kept, if there is one that serves: it takes
    /// messages, and has had so many.
    pub fn resume(
        request: &'a Request,
        plan: &Plan,
        trust: &SessionTrust,
        mailbox: &'a Mailbox,
    ) -> Option<(Self, usize)> {
        // A probe is to see a connection begin.
        if request.probe.is_some() {
            return None;
        }
        let pool_key = pool::key(request, plan, trust);
        let mut kept = pool::take(&pool_key)?;
        kept.wire.ring_with(mailbox.signal.clone());
        let mut trace = Trace::new();
        let idle = kept.last_reply.elapsed();
        kept.dialogue.resume(idle > pool::ONE_FLIGHT);
        let peer = kept.wire.peer().to_owned();
        let text = format!(
            "the connection to {peer} is used again after {:.1} s",
            idle.as_secs_f64()
        );
        trace.note(mailbox, &text);
        mailbox.post(Event::Connected(peer));
        let parts = (kept.wire, kept.dialogue, trace);
        let session = Self {
            secrets: kept.secrets,
            tls: kept.tls,
            unproven: true,
            last_reply: kept.last_reply,
            ..Self::over(request, mailbox, parts, trust.clone(), pool_key)
        };
        Some((session, kept.given))
    }

    /// The last message is over: keep the connection if the request wants that,
    /// and nothing is on its way in either direction.
    pub fn keep_or_quit(mut self, given: usize) {
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
            given,
        };
        pool::keep(kept, self.pool_key, self.request.keep.time);
    }

    /// Shake hands; what comes of it goes into the trace.
    ///
    /// # Errors
    /// `Tls`, `Certificate`, `Timeout`, `Closed` or `Cancelled`.
    pub(super) fn start_tls(&mut self) -> Result<(), Failure> {
        self.mailbox.post(Event::Phase(Phase::Handshake));
        // Whatever stands behind the 220 was not said under TLS and may have been
        // put there by somebody else (RFC 3207 §5).
        if self.reader.has_leftovers() {
            let text = "the server sent something after its answer to STARTTLS and before TLS: an attack, or a broken server";
            self.trace.note(self.mailbox, text);
            return Err(Failure::new(FailureKind::Tls, Phase::Handshake, text));
        }
        let deadline = Instant::now() + self.request.limits.limit(Phase::Handshake);
        let settings = self.request.tls.settings(self.trust.server.clone());
        let started = self
            .wire
            .start_tls(&settings, &self.request.host, deadline)
            .and_then(|facts| self.trust.admit(&self.request.host, facts));
        let facts = started.map_err(|refused| {
            let failure = self.with_last_words(refused.failure);
            self.trace.note(self.mailbox, &failure.text);
            self.refused_certificate = refused.certificate;
            failure
        })?;
        self.trace.note(
            self.mailbox,
            &format!("{}, {}", facts.version, facts.cipher),
        );
        if let Some(certificate) = &facts.certificate {
            self.trace.note(self.mailbox, &certificate.describe());
        }
        if let Some(end_point) = &facts.end_point {
            self.dialogue.bind_channel(end_point.clone());
        }
        self.mailbox.post(Event::Secured(facts.clone()));
        self.tls = Some(facts);
        self.progress = Instant::now();
        Ok(())
    }
}
