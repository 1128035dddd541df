//! What a delivery knows of its server beside the request, and what it learns: the
//! pins, whether TLS was spoken before, and how accounts logged in.
//!
//! Nothing is asked here; the courier does that.

use std::path::PathBuf;

use super::mailbox::{Event, Mailbox};
use super::request::Request;
use crate::net::known::{self, Fact, KnownServers};
use crate::net::tls::{self, Refused, TlsFacts, Trust};
use crate::smtp::dialogue::Security;
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::Mechanism;
use crate::smtp::visible::visible;

/// Longest user name shown, in octets.
const MAX_USER: usize = 100;

/// What one connection has to know.
#[derive(Clone, Debug)]
pub(super) struct SessionTrust {
    /// By what the server is accepted.
    pub server: Trust,
    /// Whether a certificate is asked about although nothing speaks against it.
    pub ask_new: bool,
    /// How users logged in: name and keyword.
    pub logins: Vec<(String, String)>,
}

impl SessionTrust {
    /// For a connection that ends when the certificate was seen.
    pub fn look() -> Self {
        Self {
            server: Trust::Look,
            ask_new: false,
            logins: Vec::new(),
        }
    }

    /// By what the server is accepted, alike for alike.
    pub fn accepted(&self) -> Trust {
        match &self.server {
            Trust::Pins(pins) => {
                let mut pins = pins.clone();
                pins.sort_unstable();
                pins.dedup();
                Trust::Pins(pins)
            }
            other => other.clone(),
        }
    }

    /// Let the session go on, unless its certificate has to be asked about.
    pub fn admit(&self, host: &str, facts: TlsFacts) -> Result<TlsFacts, Refused> {
        match &facts.certificate {
            Some(certificate) if self.ask_new && self.server == Trust::Authorities => {
                Err(Refused {
                    failure: tls::not_seen_before(host, certificate),
                    certificate: Some(Box::new(certificate.clone())),
                })
            }
            _ => Ok(facts),
        }
    }

    /// What to say of a login that is weaker than what the account used.
    pub fn weaker(&self, host: &str, user: &str, mechanism: Mechanism) -> Option<String> {
        let (_, before) = self.logins.iter().find(|(name, _)| name == user)?;
        let was = Mechanism::from_keyword(before)?.strength()?;
        (mechanism.strength()? < was).then(|| {
            let user = visible(user.as_bytes(), MAX_USER);
            format!(
                "{user} logs in at {host} by {now} now; it was {before} before, which is safer.  If that is how it is to be: M-x smtpmail-forget-server",
                now = mechanism.keyword()
            )
        })
    }
}

/// What is known of the server of a delivery.
#[derive(Debug)]
pub(super) struct ServerTrust {
    file: Option<PathBuf>,
    host: String,
    port: u16,
    ask_new: bool,
    /// Of the settings: then no other one counts.
    settled: Vec<String>,
    /// Trusted in this delivery.
    once: Vec<String>,
    /// From the file, or trusted in this delivery where it cannot be written.
    pins: Vec<String>,
    tls_seen: bool,
    /// The user has said that it may go without.
    without_tls: bool,
    logins: Vec<(String, String)>,
}

impl ServerTrust {
    pub fn new(request: &Request) -> Self {
        Self {
            file: request.tls.known.clone(),
            host: request.host.clone(),
            port: request.port,
            ask_new: request.tls.ask_new,
            settled: request.tls.pins.clone(),
            once: Vec::new(),
            pins: Vec::new(),
            tls_seen: false,
            without_tls: false,
            logins: Vec::new(),
        }
    }

    /// Read the file, which another Emacs may have changed.
    ///
    /// # Errors
    /// `Disk`: it cannot be used. To go on would be to forget what it says.
    pub fn load(&mut self) -> Result<(), Failure> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let known = KnownServers::load(file)
            .map_err(|text| Failure::new(FailureKind::Disk, Phase::Connect, text))?;
        (self.tls_seen, self.pins, self.logins) = (false, Vec::new(), Vec::new());
        for fact in known.of(&self.host, self.port) {
            match fact {
                Fact::Tls => self.tls_seen = true,
                Fact::Pin(pin) => self.pins.push(pin.clone()),
                Fact::Login { user, mechanism } => {
                    self.logins.push((user.clone(), mechanism.clone()));
                }
            }
        }
        Ok(())
    }

    /// For the next connection.
    pub fn session(&self) -> SessionTrust {
        let pins: Vec<_> = self.once.iter().chain(&self.pins).cloned().collect();
        SessionTrust {
            server: match (self.settled.is_empty(), pins.is_empty()) {
                (false, _) => Trust::Settled(self.settled.clone()),
                (true, true) => Trust::Authorities,
                (true, false) => Trust::Pins(pins),
            },
            ask_new: self.ask_new,
            logins: self.logins.clone(),
        }
    }

    /// Whether somebody has decided on a certificate: another one is not asked about.
    pub fn is_pinned(&self) -> bool {
        !self.settled.is_empty() || !self.pins.is_empty() || !self.once.is_empty()
    }

    /// What becomes of the protection wished for: a server that spoke TLS has to do
    /// so again, unless the user wants none at all.
    pub fn security(&self, wished: Security) -> Security {
        match wished {
            Security::Opportunistic if self.tls_seen && !self.without_tls => Security::Required,
            other => other,
        }
    }

    /// Whether `failure`, for want of TLS, is none where the server is not known.
    pub fn misses_tls(&self, wished: Security, failure: &Failure) -> bool {
        failure.kind == FailureKind::Insecure
            && failure.phase == Phase::StartTls
            && self.security(wished) != wished
    }

    /// The user wants to go on without TLS.
    pub fn allow_without_tls(&mut self) {
        self.without_tls = true;
    }

    /// The user trusts a certificate.
    pub fn trust_certificate(&mut self, fingerprint: String, always: bool, mailbox: &Mailbox) {
        if always {
            let fact = Fact::Pin(fingerprint.clone());
            match &self.file {
                None => {}
                Some(file) => {
                    if let Err(text) = known::remember(file, &self.host, self.port, fact) {
                        mailbox.post(Event::Warning(text));
                    }
                }
            }
        }
        // Also where it is not in the file, for whatever reason.
        self.once.push(fingerprint);
    }

    /// A connection is ready, under TLS or not.
    pub fn note_tls(&mut self, protected: bool) {
        if protected && !self.tls_seen {
            self.tls_seen = true;
            self.remember(Fact::Tls);
        }
    }

    /// A login was accepted; the strongest mechanism is kept.
    pub fn note_login(&mut self, user: &str, mechanism: Mechanism) {
        let Some(strength) = mechanism.strength() else {
            return;
        };
        let before = self.logins.iter().find(|(name, _)| name == user);
        let before = before.and_then(|(_, keyword)| Mechanism::from_keyword(keyword)?.strength());
        if user.is_empty() || before.is_some_and(|before| before >= strength) {
            return;
        }
        self.logins.retain(|(name, _)| name != user);
        self.logins.push((user.into(), mechanism.keyword().into()));
        self.remember(Fact::Login {
            user: user.into(),
            mechanism: mechanism.keyword().into(),
        });
    }

    /// Keep `fact`. What cannot be kept stops no mail: a read-only home is no error.
    fn remember(&self, fact: Fact) {
        if let Some(file) = &self.file {
            let _ = known::remember(file, &self.host, self.port, fact);
        }
    }
}
