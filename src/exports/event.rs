//! Events to lists of the form (TYPE . PLIST).

use emacs::{Env, IntoLisp, Result, Value};

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::lisp::{list, plist};
use crate::delivery::{Event, Question, RecipientReport, Report, Verdict};
use crate::net::certificate::CertificateFacts;
use crate::net::known::{Entry, Fact};
use crate::net::tls::TlsFacts;
use crate::outbox::{Listed, Listing, State, StoredVariables, Value as Stored};
use crate::smtp::failure::{Failure, FailureKind};
use crate::smtp::reply::Reply;
use crate::smtp::visible::visible;

/// One event for Lisp.
pub(super) fn to_lisp(env: &Env, event: Event) -> Result<Value<'_>> {
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX).into_lisp(env);
    let (name, pairs) = match event {
        Event::Changed(changed) => ("changed", vec![(":done", changed.into_lisp(env)?)]),
        Event::Address(address, why) => (
            "address",
            vec![
                (":address", address.into_lisp(env)?),
                (":failure", optional_failure(env, why.as_ref())?),
            ],
        ),
        Event::Probed(why) => (
            "probed",
            vec![(":failure", optional_failure(env, why.as_ref())?)],
        ),
        Event::Tried(command, reply) => {
            let mut pairs = heard_pairs(env, Some(reply))?;
            pairs.push((":command", command.into_lisp(env)?));
            ("tried", pairs)
        }
        Event::Connected(address) => ("connected", vec![(":address", address.into_lisp(env)?)]),
        Event::Done(warning) => (
            "done",
            vec![(":warning", optional_failure(env, warning.as_ref())?)],
        ),
        Event::Finished(index, report) => {
            let mut pairs = report_pairs(env, report)?;
            pairs.push((":index", int(index as u64)?));
            ("finished", pairs)
        }
        Event::LeftOut(text) => ("left-out", vec![(":text", text.into_lisp(env)?)]),
        Event::LoggedIn => ("logged-in", vec![]),
        Event::Heard(reply) => ("heard", heard_pairs(env, reply)?),
        Event::Listed(listing) => ("listed", listing_pairs(env, listing)?),
        Event::Phase(phase) => ("phase", vec![(":phase", env.intern(phase.name())?)]),
        Event::Progress(octets, of) => (
            "progress",
            vec![(":octets", int(octets)?), (":of", int(of)?)],
        ),
        Event::Queued {
            name,
            waiting,
            warning,
        } => (
            "queued",
            vec![
                (":name", name.into_lisp(env)?),
                (":waiting", int(waiting as u64)?),
                (":warning", warning.into_lisp(env)?),
            ],
        ),
        Event::Question(id, question) => {
            let (kind, mut pairs) = question_pairs(env, question)?;
            pairs.push((":id", int(id)?));
            pairs.push((":kind", env.intern(kind)?));
            ("question", pairs)
        }
        Event::Retry(why, seconds) => (
            "retry",
            vec![
                (":failure", failure(env, &why)?),
                (":seconds", int(seconds)?),
            ],
        ),
        Event::Secured(facts) => ("secured", secured_pairs(env, facts)?),
        Event::UnknownExtensions(keywords) => {
            let shown: Vec<_> = keywords
                .iter()
                .map(|k| visible(k.as_bytes(), 100))
                .collect();
            (
                "unknown-extensions",
                vec![(":keywords", strings(env, &shown)?)],
            )
        }
        Event::Servers(entries) => {
            let entries = entries.into_iter().map(|entry| known(env, entry));
            let entries = entries.collect::<Result<Vec<_>>>()?;
            ("servers", vec![(":entries", list(env, &entries)?)])
        }
        Event::Warning(text) => ("warning", vec![(":text", text.into_lisp(env)?)]),
        Event::Trace(text) => ("trace", vec![(":text", text.into_lisp(env)?)]),
    };
    env.cons(env.intern(name)?, plist(env, &pairs)?)
}

type Pairs<'e> = Vec<super::lisp::Pair<'e>>;

fn question_pairs(env: &Env, question: Question) -> Result<(&'static str, Pairs<'_>)> {
    Ok(match question {
        Question::Credentials {
            offered,
            refused,
            demanded,
            protected,
        } => (
            "credentials",
            vec![
                (":offered", strings(env, &offered)?),
                (":refused", optional_failure(env, refused.as_ref())?),
                (":demanded", optional_failure(env, demanded.as_ref())?),
                (":protected", protected.into_lisp(env)?),
            ],
        ),
        Question::ClearLogin => ("clear-login", vec![]),
        Question::RefusedRecipients(reports) => (
            "refused-recipients",
            vec![(":recipients", recipients(env, &reports)?)],
        ),
        Question::Certificate {
            certificate,
            failure: why,
        } => {
            let mut pairs = certificate_pairs(env, *certificate)?;
            pairs.push((":failure", failure(env, &why)?));
            ("certificate", pairs)
        }
        Question::ProxyLogin {
            host,
            port,
            user,
            socks,
            failure: why,
            again,
        } => (
            "proxy-login",
            vec![
                (":host", host.into_lisp(env)?),
                (":port", i64::from(port).into_lisp(env)?),
                (":user", user.into_lisp(env)?),
                (":socks", socks.into_lisp(env)?),
                (":failure", failure(env, &why)?),
                (":again", again.into_lisp(env)?),
            ],
        ),
        Question::Passphrase { file, again } => (
            "passphrase",
            vec![
                (":file", file.into_lisp(env)?),
                (":again", again.into_lisp(env)?),
            ],
        ),
        Question::WithoutTls => ("without-tls", vec![]),
    })
}

fn certificate_pairs(env: &Env, certificate: CertificateFacts) -> Result<Pairs<'_>> {
    let problems = certificate.problems.iter();
    let problems = problems.map(|problem| env.intern(problem.name()));
    let problems = problems.collect::<Result<Vec<_>>>()?;
    Ok(vec![
        (":problems", list(env, &problems)?),
        (":subject", certificate.subject.into_lisp(env)?),
        (":issuer", certificate.issuer.into_lisp(env)?),
        (":names", strings(env, &certificate.names)?),
        (":not-before", certificate.not_before.into_lisp(env)?),
        (":not-after", certificate.not_after.into_lisp(env)?),
        (":fingerprint", certificate.fingerprint.into_lisp(env)?),
        (":public-key", certificate.public_key.into_lisp(env)?),
    ])
}

/// A fact as (:host HOST :port PORT :since DATE :kind SYMBOL :value TEXT :user NAME).
fn known(env: &Env, entry: Entry) -> Result<Value<'_>> {
    let (kind, value, user) = match entry.fact {
        Fact::Login { user, mechanism } => ("login", Some(mechanism), Some(user)),
        Fact::Pin(fingerprint) => ("pin", Some(fingerprint), None),
        Fact::Tls => ("tls", None, None),
    };
    plist(
        env,
        &[
            (":host", entry.host.into_lisp(env)?),
            (":port", i64::from(entry.port).into_lisp(env)?),
            (":since", entry.since.into_lisp(env)?),
            (":kind", env.intern(kind)?),
            (":value", value.into_lisp(env)?),
            (":user", user.into_lisp(env)?),
        ],
    )
}

fn report_pairs(env: &Env, report: Report) -> Result<Pairs<'_>> {
    let (verdict, key, value) = match report.verdict {
        Verdict::Accepted(words) => ("accepted", ":text", words.into_lisp(env)?),
        Verdict::Failed(why) => ("failed", ":failure", failure(env, &why)?),
        Verdict::Unknown(why) => ("unknown", ":failure", failure(env, &why)?),
    };
    Ok(vec![
        (":verdict", env.intern(verdict)?),
        (key, value),
        (":recipients", recipients(env, &report.recipients)?),
        (":logged-in", report.logged_in.into_lisp(env)?),
    ])
}

fn secured_pairs(env: &Env, facts: TlsFacts) -> Result<Pairs<'_>> {
    Ok(vec![
        (":version", facts.version.into_lisp(env)?),
        (":cipher", facts.cipher.into_lisp(env)?),
        (
            ":certificate",
            match facts.certificate {
                Some(certificate) => plist(env, &certificate_pairs(env, certificate)?)?,
                None => ().into_lisp(env)?,
            },
        ),
    ])
}

/// A reply as (:code N :lines ("334 text" ...)), as stock functions give it.
fn heard_pairs(env: &Env, reply: Option<Reply>) -> Result<Pairs<'_>> {
    let Some(reply) = reply else {
        return Ok(vec![]);
    };
    let lines: Vec<_> = reply.trace_lines().collect();
    Ok(vec![
        (":code", i64::from(reply.code()).into_lisp(env)?),
        (":lines", strings(env, &lines)?),
    ])
}

fn listing_pairs(env: &Env, listing: Listing) -> Result<Pairs<'_>> {
    let now = SystemTime::now();
    let entries = listing
        .entries
        .into_iter()
        .map(|entry| listed(env, entry, now));
    let problems: Vec<_> = listing.problems.iter().map(ToString::to_string).collect();
    Ok(vec![
        (
            ":entries",
            list(env, &entries.collect::<Result<Vec<_>>>()?)?,
        ),
        (":problems", strings(env, &problems)?),
    ])
}

/// An entry as (:name NAME :state SYMBOL :sendable BOOL :time SECONDS
/// :recipients LIST :sender ADDRESS :from TEXT :subject TEXT :message-id TEXT
/// :bytes N :queued SECONDS :last-reply TEXT :attempts N
/// :refused-recipients ((ADDRESS . REPLY) ...) :account NAME
/// :stored ((SYMBOL . VALUE) ...) :facts ((SYMBOL . VALUE) ...)).
fn listed(env: &Env, entry: Listed, now: SystemTime) -> Result<Value<'_>> {
    let seconds = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .map_or(0, |t| t.as_secs() as i64)
    };
    let time = match entry.state {
        State::Deferred { next_try } => Some(next_try),
        State::Scheduled { until } => Some(until),
        _ => None,
    };
    let facts = entry.facts;
    let refused = facts.refused_recipients.iter();
    let refused: Vec<_> = refused
        .map(|one| {
            let reply = one.reply.as_str().into_lisp(env)?;
            env.cons(one.recipient.as_str().into_lisp(env)?, reply)
        })
        .collect::<Result<_>>()?;
    plist(
        env,
        &[
            (":name", entry.name.as_str().into_lisp(env)?),
            (":state", env.intern(entry.state.name())?),
            (":sendable", entry.state.is_sendable(now).into_lisp(env)?),
            (":time", time.map(seconds).into_lisp(env)?),
            (":recipients", strings(env, &entry.recipients)?),
            (":sender", facts.sender.into_lisp(env)?),
            (":from", facts.from.into_lisp(env)?),
            (":subject", facts.subject.into_lisp(env)?),
            (":message-id", facts.message_id.into_lisp(env)?),
            (":bytes", (entry.bytes as i64).into_lisp(env)?),
            (":queued", seconds(entry.queued).into_lisp(env)?),
            (":last-reply", facts.last_reply.into_lisp(env)?),
            (":account", facts.account.into_lisp(env)?),
            (":attempts", i64::from(facts.attempts).into_lisp(env)?),
            (":refused-recipients", list(env, &refused)?),
            (":stored", stored(env, &entry.stored_variables)?),
            (":facts", other_facts(env, &facts.other)?),
        ],
    )
}

/// The stored variables as an alist; a stored nil is there.
fn stored<'e>(env: &'e Env, variables: &StoredVariables) -> Result<Value<'e>> {
    let named = [
        ("smtpmail-smtp-server", &variables.server),
        ("smtpmail-stream-type", &variables.stream_type),
        ("smtpmail-smtp-service", &variables.service),
        ("smtpmail-smtp-user", &variables.user),
    ];
    let mut cells = Vec::new();
    for (name, value) in named {
        if let Some(value) = value {
            cells.push(env.cons(env.intern(name)?, stored_value(env, value)?)?);
        }
    }
    list(env, &cells)
}

fn stored_value<'e>(env: &'e Env, value: &Stored) -> Result<Value<'e>> {
    match value {
        Stored::Nil => ().into_lisp(env),
        Stored::Integer(number) => number.into_lisp(env),
        // A name from a file: Lisp admits only the few that it knows.
        Stored::Symbol(name) => env.intern(name),
        Stored::Text(text) => text.into_lisp(env),
    }
}

/// What Lisp keeps with an entry for itself, as an alist.
fn other_facts<'e>(env: &'e Env, facts: &BTreeMap<String, Stored>) -> Result<Value<'e>> {
    let cells = facts.iter().map(|(name, value)| {
        let name = env.intern(name)?;
        env.cons(name, stored_value(env, value)?)
    });
    list(env, &cells.collect::<Result<Vec<_>>>()?)
}

fn recipients<'e>(env: &'e Env, reports: &[RecipientReport]) -> Result<Value<'e>> {
    // A message may have thousands, and nearly all are accepted.
    let address_key = env.intern(":address")?;
    let accepted = [env.intern(":accepted")?, true.into_lisp(env)?];
    let values = reports.iter().map(|report| {
        let address = report.address.as_str().into_lisp(env)?;
        let mut pairs = vec![address_key, address];
        if report.accepted {
            pairs.extend(accepted);
        }
        if let Some(why) = &report.failure {
            pairs.extend([env.intern(":failure")?, failure(env, why)?]);
        }
        list(env, &pairs)
    });
    list(env, &values.collect::<Result<Vec<_>>>()?)
}

fn strings<'e>(env: &'e Env, strings: &[String]) -> Result<Value<'e>> {
    let values: Vec<_> = strings
        .iter()
        .map(|text| text.into_lisp(env))
        .collect::<Result<_>>()?;
    list(env, &values)
}

fn optional_failure<'e>(env: &'e Env, why: Option<&Failure>) -> Result<Value<'e>> {
    match why {
        Some(why) => failure(env, why),
        None => ().into_lisp(env),
    }
}

/// A failure as (:kind SYMBOL :phase SYMBOL :code N :status "5.1.1" :recipient
/// ADDRESS :text TEXT).
fn failure<'e>(env: &'e Env, why: &Failure) -> Result<Value<'e>> {
    plist(
        env,
        &[
            (":kind", env.intern(kind_name(why.kind))?),
            (":phase", env.intern(why.phase.name())?),
            (":code", why.code.map(i64::from).into_lisp(env)?),
            (
                ":status",
                why.status.map(|status| status.to_string()).into_lisp(env)?,
            ),
            (":recipient", why.recipient.clone().into_lisp(env)?),
            (":text", why.text.as_str().into_lisp(env)?),
        ],
    )
}

fn kind_name(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Authentication => "authentication",
        FailureKind::Busy => "busy",
        FailureKind::Cancelled => "cancelled",
        FailureKind::Certificate => "certificate",
        FailureKind::Closed => "closed",
        FailureKind::Connect => "connect",
        FailureKind::Content => "content",
        FailureKind::Disk => "disk",
        FailureKind::Insecure => "insecure",
        FailureKind::Protocol => "protocol",
        FailureKind::Refused => "refused",
        FailureKind::Resolve => "resolve",
        FailureKind::Timeout => "timeout",
        FailureKind::Tls => "tls",
        FailureKind::Transient => "transient",
    }
}
