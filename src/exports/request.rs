//! Plists to requests and credentials.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use emacs::{Error, Result, Value};

use super::Content;
use super::lisp::Plist;
use super::{options, proxy};
use crate::delivery::{
    Envelope, Job, Keep, MailObject, Probe, QueuePlace, QueueRequest, Request, Text, TimeLimits,
    TlsFiles,
};
use crate::net::tls::Version;
use crate::outbox::{EntryName, Facts, Outcome, State, StoredVariables, Value as Stored};
use crate::smtp::address::{AddressError, EhloName, Mailbox, ReversePath, host_to_ascii};
use crate::smtp::dialogue::{LoginAnswer, Plan, RefusedRecipients, SaslContext, Security};
use crate::smtp::failure::{Failure, FailureKind, Phase};
use crate::smtp::sasl::{Credentials, Mechanism};
use crate::smtp::secret::Secret;

/// Octets of randomness in a SASL nonce: 144 bits, as RFC 5802's own example.
const NONCE_OCTETS: usize = 18;

/// The request that `plist` describes; the number of its messages and a failure
/// where a name for all of them cannot be said in SMTP.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn parse(plist: Plist<'_>) -> Result<std::result::Result<Request, (usize, Failure)>> {
    let host: String = plist.required(":host")?;
    let port: u16 = plist.required(":port")?;
    let mut messages = Vec::new();
    let mut unsendable = Vec::new();
    for (number, message) in message_plists(plist)?.into_iter().enumerate() {
        match envelope(message)? {
            Ok(envelope) => messages.push(MailObject {
                number,
                envelope,
                text: match message.optional::<String>(":entry")? {
                    Some(name) => Text::Entry(entry_name(&name)?),
                    None => text(message)?,
                },
            }),
            Err(failure) => unsendable.push((number, failure)),
        }
    }
    let probe = match plist.flag(":probe")? {
        true => match probe(plist)? {
            Ok(probe) => Some(probe),
            Err(failure) => return Ok(Err((1, failure))),
        },
        false => None,
    };
    let ehlo: String = plist.required(":ehlo-name")?;
    let names = || Ok::<_, AddressError>((host_to_ascii(&host)?, EhloName::parse(&ehlo)?));
    let (ascii_host, ehlo_name) = match names() {
        Ok(names) => names,
        Err(error) => {
            let count = messages.len() + unsendable.len() + usize::from(probe.is_some());
            return Ok(Err((count, unsayable(&error))));
        }
    };
    let plan = Plan {
        ehlo_name,
        security: security(plist)?,
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
        strict_content: plist.flag(":strict-content")?,
        without: Vec::new(),
    };
    Ok(Ok(Request {
        host: ascii_host,
        port,
        proxy: proxy::parse(plist)?,
        plan,
        tls: tls_files(plist)?,
        messages,
        probe,
        unsendable,
        queue: plist
            .value(":queue-directory")?
            .is_not_nil()
            .then(|| place(plist))
            .transpose()?,
        attempts: plist.required(":attempts")?,
        limits: TimeLimits {
            connect: Duration::from_secs(plist.required(":connect-timeout")?),
            reply: Duration::from_secs(plist.required(":timeout")?),
        },
        traced_octets: plist.required(":traced-octets")?,
        keep: Keep {
            account: plist.optional(":login-account")?.unwrap_or_default(),
            time: Duration::from_secs(plist.optional(":keep-connection")?.unwrap_or(0)),
        },
    }))
}

fn security(plist: Plist<'_>) -> Result<Security> {
    Ok(match plist.symbol(":security")?.as_str() {
        "implicit" => Security::Implicit,
        "never" => Security::Never,
        "opportunistic" => Security::Opportunistic,
        "required" => Security::Required,
        other => return Err(Error::msg(format!("unknown security {other}"))),
    })
}

fn tls_files(plist: Plist<'_>) -> Result<TlsFiles> {
    let key: Option<String> = plist.optional(":client-key")?;
    let certificate: Option<String> = plist.optional(":client-certificate")?;
    let trust = plist.strings(":trust-files")?;
    Ok(TlsFiles {
        trust: trust.into_iter().map(PathBuf::from).collect(),
        client: key
            .zip(certificate)
            .map(|(key, certificate)| (key.into(), certificate.into())),
        known: plist
            .optional::<String>(":known-servers")?
            .map(PathBuf::from),
        pins: plist.strings(":pins")?,
        ask_new: plist.flag(":ask-new-certificate")?,
        oldest: match plist.flag(":tls-1.3")? {
            true => Version::Tls13,
            false => Version::Tls12,
        },
    })
}

/// What TLS needs, if it is certain that the request that `plist` describes, or
/// begins to, will use it.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn certain_tls(plist: Plist<'_>) -> Result<Option<TlsFiles>> {
    match security(plist)? {
        Security::Implicit | Security::Required => tls_files(plist).map(Some),
        Security::Never | Security::Opportunistic => Ok(None),
    }
}

/// The message's text, in the form that Lisp chose.
fn text(plist: Plist<'_>) -> Result<Text> {
    let content = plist.value(":content")?;
    if !content.is_not_nil() {
        return Ok(Text::Bytes(plist.required(":text")?));
    }
    let file = content.into_ref_mut::<Content>()?.0.take();
    file.map(Text::File)
        .ok_or_else(|| Error::msg("the content was handed over already"))
}

/// The queue that `plist` names.
pub(super) fn place(plist: Plist<'_>) -> Result<QueuePlace> {
    Ok(QueuePlace {
        directory: PathBuf::from(plist.required::<String>(":queue-directory")?),
        index: plist.required(":queue-index")?,
    })
}

fn entry_name(name: &str) -> Result<EntryName> {
    EntryName::new(name).ok_or_else(|| Error::msg("not the name of an entry"))
}

/// The moment before which nothing may go: :not-before, seconds since 1970, an
/// integer or a float.
fn not_before(plist: Plist<'_>) -> Result<Option<SystemTime>> {
    let value = plist.value(":not-before")?;
    if !value.is_not_nil() {
        return Ok(None);
    }
    let seconds: f64 = value.env.call("float", [value])?.into_rust()?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .map(Some)
        .ok_or_else(|| Error::msg("no such time"))
}

/// What `plist` asks of the outbox.
///
/// # Errors
/// Our own Lisp gave something of the wrong type.
pub(super) fn job(plist: Plist<'_>) -> Result<Job> {
    if let Some(file) = plist.optional::<String>(":known-servers")? {
        let file = PathBuf::from(file);
        return Ok(match plist.symbol(":job")?.as_str() {
            "servers" => Job::ListServers(file),
            "forget-server" => {
                Job::ForgetServer(file, plist.required(":host")?, plist.required(":port")?)
            }
            other => return Err(Error::msg(format!("unknown job {other}"))),
        });
    }
    let place = place(plist)?;
    let name = || entry_name(&plist.required::<String>(":entry")?);
    let reply = || plist.required::<String>(":reply");
    let change = |outcome| {
        let expected = match plist.flag(":expected-state")? {
            true => Some(plist.symbol(":expected-state")?),
            false => None,
        };
        Ok::<_, Error>(Job::Change {
            place: place.clone(),
            name: name()?,
            expected,
            outcome,
        })
    };
    Ok(match plist.symbol(":job")?.as_str() {
        "add" => Job::Add(Box::new(QueueRequest {
            place: place.clone(),
            recipients: plist.strings(":recipients")?,
            stored_variables: StoredVariables {
                server: stored(plist, ":stored-server")?,
                stream_type: stored(plist, ":stored-stream-type")?,
                service: stored(plist, ":stored-service")?,
                user: stored(plist, ":stored-user")?,
            },
            facts: Facts {
                account: plist.optional(":account")?,
                sender: plist.optional(":sender")?,
                subject: plist.optional(":subject")?,
                from: plist.optional(":from")?,
                message_id: plist.optional(":message-id")?,
                other: other_facts(plist)?,
                ..Facts::default()
            },
            state: match (plist.flag(":held")?, not_before(plist)?) {
                (true, _) => State::Held,
                (false, Some(until)) => State::Scheduled { until },
                (false, None) => State::Waiting,
            },
            text: text(plist)?,
        })),
        "accepted" => change(Outcome::Accepted)?,
        "drop" => change(Outcome::Dropped)?,
        "hold" => change(Outcome::Held)?,
        "refused" => change(Outcome::Refused { reply: reply()? })?,
        "release" => change(Outcome::Waiting)?,
        "schedule" => change(Outcome::Scheduled {
            until: not_before(plist)?.ok_or_else(|| Error::msg("no :not-before"))?,
        })?,
        "list" => Job::List(place),
        other => return Err(Error::msg(format!("unknown job {other}"))),
    })
}

/// The value of a variable to store, wrapped in a list so that a nil can be told
/// from nothing.
fn stored(plist: Plist<'_>, key: &str) -> Result<Option<Stored>> {
    let cell = plist.value(key)?;
    if !cell.is_not_nil() {
        return Ok(None);
    }
    stored_value(cell.car()?).map(Some)
}

fn stored_value(value: Value<'_>) -> Result<Stored> {
    let kind = value.env.type_of(value)?;
    let is = |name| Ok::<_, Error>(kind == value.env.intern(name)?);
    Ok(if !value.is_not_nil() {
        Stored::Nil
    } else if is("integer")? {
        Stored::Integer(value.into_rust()?)
    } else if is("string")? {
        Stored::Text(value.into_rust()?)
    } else {
        Stored::Symbol(value.env.call("symbol-name", [value])?.into_rust()?)
    })
}

/// What Lisp keeps with an entry for itself: :facts, an alist of symbols.
fn other_facts(plist: Plist<'_>) -> Result<BTreeMap<String, Stored>> {
    let mut rest = plist.value(":facts")?;
    let mut facts = BTreeMap::new();
    while rest.is_not_nil() {
        let fact: Value<'_> = rest.car()?;
        let name: Value<'_> = fact.car()?;
        let name: String = name.env.call("symbol-name", [name])?.into_rust()?;
        facts.insert(name, stored_value(fact.cdr()?)?);
        rest = rest.cdr()?;
    }
    Ok(facts)
}

/// What a probe tries; a failure where SMTP cannot say an address.
fn probe(plist: Plist<'_>) -> Result<std::result::Result<Probe, Failure>> {
    let envelope = match plist.flag(":sender")? {
        true => envelope(plist)?.map(Some),
        false => Ok(None),
    };
    Ok(envelope.map(|envelope| Probe { envelope }))
}

/// The messages of a request: none of a probe, those of :messages, or the request itself.
fn message_plists(plist: Plist<'_>) -> Result<Vec<Plist<'_>>> {
    if plist.flag(":probe")? {
        return Ok(Vec::new());
    }
    let mut rest = plist.value(":messages")?;
    if !rest.is_not_nil() {
        return Ok(vec![plist]);
    }
    let mut messages = Vec::new();
    while rest.is_not_nil() {
        messages.push(Plist::new(rest.car()?));
        rest = rest.cdr()?;
    }
    Ok(messages)
}

fn unsayable(error: &AddressError) -> Failure {
    Failure::new(FailureKind::Content, Phase::Mail, error.to_string())
}

/// The envelope of a message; a failure where SMTP cannot say an address.
fn envelope(plist: Plist<'_>) -> Result<std::result::Result<Envelope, Failure>> {
    let sender: String = plist.required(":sender")?;
    let recipients = plist.strings(":recipients")?;
    if recipients.is_empty() {
        return Err(Error::msg("a message needs a recipient"));
    }
    let options = options::parse(plist)?;
    let parse = || -> std::result::Result<Envelope, AddressError> {
        Ok(Envelope {
            options: options.clone(),
            reverse_path: ReversePath::parse(&sender)?,
            recipients: recipients
                .iter()
                .map(|r| Mailbox::parse(r))
                .collect::<std::result::Result<_, _>>()?,
        })
    };
    Ok(parse().map_err(|error| unsayable(&error)))
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
