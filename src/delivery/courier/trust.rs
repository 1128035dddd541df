//! Where a connection ends for want of trust: what is asked then.
//!
//! Each of these questions is asked when no connection stands: nobody's thinking
//! holds one open, and nothing was sent on it.

use super::questions::{Kind, Open};
use super::{Courier, End};
use crate::delivery::mailbox::Question;
use crate::delivery::session::{Happening, Session};
use crate::delivery::trust::SessionTrust;
use crate::net::certificate::CertificateFacts;
use crate::net::client::{self, Unlocked};
use crate::net::proxy::{Protocol, Proxy};
use crate::net::tls;
use crate::smtp::dialogue::Security;
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::Credentials;

/// Passphrases tried for one key.
const MAX_PASSPHRASES: u32 = 3;

/// Logins tried at a proxy.
const MAX_PROXY_LOGINS: u32 = 2;

impl Courier<'_> {
    /// What the next connection has to know: the file of known servers is read, and
    /// our key is unlocked.
    pub(super) fn prepare_trust(&mut self) -> Result<SessionTrust, End> {
        self.server.load().map_err(End::GiveUp)?;
        if self.plan.security != Security::Never {
            self.unlock_key()?;
        }
        Ok(self.server.session())
    }

    /// Have our key ready, asking for its passphrase where it has one.
    fn unlock_key(&mut self) -> Result<(), End> {
        let Some(files) = self.request.tls.client() else {
            return Ok(());
        };
        for tried in 0..=MAX_PASSPHRASES {
            // Wiped when dropped, whatever comes of it.
            let passphrase = self.passphrase.take();
            match client::unlock(&files, passphrase.as_ref()).map_err(End::GiveUp)? {
                Unlocked::Yes => return Ok(()),
                Unlocked::No if tried == MAX_PASSPHRASES => break,
                Unlocked::No => {}
            }
            let question = Question::Passphrase {
                file: files.key.display().to_string(),
                again: tried > 0,
            };
            match self.ask_offline(question, Kind::Passphrase) {
                // No connection was tried for it, so none is given back.
                End::Reconnect => self.tries += 1,
                end => return Err(end),
            }
        }
        Err(End::GiveUp(self.locked_key()))
    }

    /// The failure of a key that stays locked.
    pub(super) fn locked_key(&self) -> Failure {
        let files = self.request.tls.client();
        let key = files.map_or(String::new(), |files| files.key.display().to_string());
        let text = format!(
            "{key}: the key of the client certificate has a passphrase, and nobody gave the right one"
        );
        Failure::new(FailureKind::Tls, Phase::Handshake, text)
    }

    /// A connection is over: what it lacked may be a word of the user.
    pub(super) fn reconsider(&mut self, end: End) -> End {
        let failure = match end {
            End::GiveUp(failure) => failure,
            other => return other,
        };
        if failure.phase == Phase::Proxy {
            return self.reconsider_proxy(failure);
        }
        if failure.kind == FailureKind::Certificate {
            return self.reconsider_certificate(failure);
        }
        if self.server.misses_tls(self.plan.security, &failure) {
            let text = format!(
                "{} spoke TLS before and does not offer it now: somebody may be hiding it.  If that is how it is to be: M-x smtpmail-forget-server",
                self.request.host
            );
            let failure = Failure::new(FailureKind::Insecure, Phase::Ehlo, text);
            return self.ask_offline(Question::WithoutTls, Kind::WithoutTls(failure));
        }
        End::GiveUp(failure)
    }

    /// A proxy that wants a login gets one if there is one.
    fn reconsider_proxy(&mut self, failure: Failure) -> End {
        let server = match &self.request.proxy {
            Some(Proxy::Server(server)) if failure.kind == FailureKind::Authentication => server,
            _ => return End::GiveUp(failure),
        };
        // No login at the mail server: that one may rest after a refusal.
        let failure = failure.of_kind(FailureKind::Connect);
        if self.proxy_asked >= MAX_PROXY_LOGINS {
            return End::GiveUp(failure);
        }
        self.proxy_asked += 1;
        let question = Question::ProxyLogin {
            host: server.host.clone(),
            port: server.port,
            user: server.user.clone(),
            socks: server.protocol == Protocol::Socks5,
            failure: failure.clone(),
            again: self.proxy_login.is_some(),
        };
        self.ask_offline(question, Kind::ProxyLogin(failure))
    }

    /// For the proxy of the next connection.
    pub(super) fn proxy_login(&self) -> Option<&Credentials> {
        self.proxy_login.as_deref()
    }

    fn reconsider_certificate(&mut self, failure: Failure) -> End {
        let seen = self.refused_certificate.take();
        // Somebody decided on another certificate, and is not to be talked out of it.
        if self.server.is_pinned() {
            return End::GiveUp(failure);
        }
        let (certificate, failure) = match seen {
            Some(certificate) => (certificate, failure),
            // The library refused it and does not show it.
            None => match self.look() {
                None => return End::GiveUp(failure),
                Some(certificate) => {
                    let reason = tls::reason_of(&failure);
                    let told = tls::not_accepted(&self.request.host, &certificate, reason);
                    (certificate, told)
                }
            },
        };
        let kind = Kind::Certificate(certificate.fingerprint.clone(), failure.clone());
        let question = Question::Certificate {
            certificate,
            failure,
        };
        self.ask_offline(question, kind)
    }

    /// The server's certificate, seen on a connection of its own that ends there.
    fn look(&mut self) -> Option<Box<CertificateFacts>> {
        let mut plan = self.plan.clone();
        // Without TLS there is nothing to see, and nothing must be said.
        if plan.security != Security::Implicit {
            plan.security = Security::Required;
        }
        let trust = SessionTrust::look();
        let login = self.proxy_login();
        let mut session = Session::open(self.request, plan, trust, login, self.mailbox).ok()?;
        loop {
            match session.next(None) {
                Happening::Ended(_) => return session.take_refused_certificate(),
                Happening::Rung => {}
                _ => return None,
            }
        }
    }

    fn ask_offline(&mut self, question: Question, kind: Kind) -> End {
        if self.mailbox.signal.is_stopped() {
            return End::GiveUp(crate::net::signal::Signal::stopped_failure(Phase::Idle));
        }
        let id = self.mailbox.ask(question);
        self.await_offline(Open { id, kind })
    }
}
