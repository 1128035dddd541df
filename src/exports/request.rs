//! Plists to requests and credentials.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use emacs::{Error, Result};

use super::Content;
use super::lisp::Plist;
use crate::delivery::{Envelope, Request, Text, TimeLimits, TlsFiles};
use crate::smtp::address::{AddressError, EhloName, Mailbox, ReversePath, host_to_ascii};
use crate::smtp::dialogue::{LoginAnswer, Plan, RefusedRecipients, SaslContext, Security};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::{Credentials, Mechanism};
use crate::smtp::secret::Secret;

/// Octets of randomness in a SASL nonce: 144 bits, as RFC 5802's own example.
const NONCE_OCTETS: usize = 18;

/// The request that `plist` describes; a failure where an address or a name in
/// it cannot be said in SMTP.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn parse(plist: Plist<'_>) -> Result<std::result::Result<Request, Failure>> {
    let host: String = plist.required(":host")?;
    let port: u16 = plist.required(":port")?;
    let text = match plist.value(":content")? {
        value if value.is_not_nil() => {
            let file = value.into_ref_mut::<Content>()?.0.take();
            Text::File(file.ok_or_else(|| Error::msg("the content was handed over already"))?)
        }
        _ => Text::Bytes(plist.required(":text")?),
    };
    let names = match names(&host, plist)? {
        Ok(names) => names,
        Err(error) => {
            return Ok(Err(Failure::new(
                FailureKind::Content,
                Phase::Mail,
                error.to_string(),
            )));
        }
    };
    let plan = Plan {
        ehlo_name: names.ehlo,
        security: match plist.symbol(":security")?.as_str() {
            "implicit" => Security::Implicit,
            "never" => Security::Never,
            "opportunistic" => Security::Opportunistic,
            "required" => Security::Required,
            other => return Err(Error::msg(format!("unknown security {other}"))),
        },
        clear_login_allowed: plist.flag(":clear-login")?,
        login_required: plist.flag(":login-required")?,
        login: None,
        sasl: SaslContext {
            nonce: nonce()?,
            host,
            port,
        },
        verb: plist.flag(":verb")?,
        refused_recipients: match plist.symbol(":refused-recipients")?.as_str() {
            "abort" => RefusedRecipients::Abort,
            "ask" => RefusedRecipients::Ask,
            "send-rest" => RefusedRecipients::SendRest,
            other => return Err(Error::msg(format!("unknown policy {other}"))),
        },
    };
    let key: Option<String> = plist.optional(":client-key")?;
    let certificate: Option<String> = plist.optional(":client-certificate")?;
    Ok(Ok(Request {
        host: names.host,
        port,
        plan,
        tls: TlsFiles {
            trust: plist
                .strings(":trust-files")?
                .into_iter()
                .map(PathBuf::from)
                .collect(),
            client: key
                .zip(certificate)
                .map(|(key, certificate)| (key.into(), certificate.into())),
        },
        envelope: names.envelope,
        text,
        attempts: plist.required(":attempts")?,
        limits: TimeLimits {
            connect: Duration::from_secs(plist.required(":connect-timeout")?),
            reply: Duration::from_secs(plist.required(":timeout")?),
        },
        traced_octets: plist.required(":traced-octets")?,
    }))
}

/// Everything of a request that SMTP must be able to say.
struct Names {
    host: String,
    ehlo: EhloName,
    envelope: Envelope,
}

fn names(host: &str, plist: Plist<'_>) -> Result<std::result::Result<Names, AddressError>> {
    let ehlo: String = plist.required(":ehlo-name")?;
    let sender: String = plist.required(":sender")?;
    let recipients = plist.strings(":recipients")?;
    if recipients.is_empty() {
        return Err(Error::msg("a request needs a recipient"));
    }
    let parse = || -> std::result::Result<Names, AddressError> {
        Ok(Names {
            host: host_to_ascii(host)?,
            ehlo: EhloName::parse(&ehlo)?,
            envelope: Envelope {
                reverse_path: ReversePath::parse(&sender)?,
                recipients: recipients
                    .iter()
                    .map(|r| Mailbox::parse(r))
                    .collect::<std::result::Result<_, _>>()?,
            },
        })
    };
    Ok(parse())
}

/// Credentials as the user gave them.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn login(plist: Plist<'_>) -> Result<LoginAnswer> {
    let secret: Vec<u8> = plist.required(":secret")?;
    let mechanisms = plist.strings(":mechanisms")?;
    Ok(LoginAnswer {
        credentials: Arc::new(Credentials {
            user: plist.required(":user")?,
            secret: Secret::from(secret),
            authzid: None,
        }),
        // What the engine does not know, it cannot use.
        mechanisms: mechanisms
            .iter()
            .filter_map(|name| Mechanism::from_keyword(name))
            .collect(),
        required: plist.flag(":required")?,
    })
}

fn nonce() -> Result<String> {
    use base64::Engine;
    let mut octets = [0; NONCE_OCTETS];
    getrandom::fill(&mut octets).map_err(|error| Error::msg(error.to_string()))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(octets))
}
