//! The `.el` file of an entry: what the built-in reads, and our facts behind it.
//!
//! The first form is the built-in's (Emacs 28 to 30 read it and nothing after it):
//!
//! ```text
//! (setq      smtpmail-recipient-address-list ("a@example.org")
//!      smtpmail-smtp-server "mail.example.org"
//! )
//! ;; smtpmail-entry 1
//! ;; revision 3
//! ;; queued 1790000000000000
//! ;; state deferred 1790000300000000
//! ;; sender "me@example.org"
//! ;; end
//! ```
//!
//! Being comments, the facts survive even a program that evaluates the file.
//! Times are microseconds since 1970, UTC. The number behind `smtpmail-entry`
//! is the version of the block; a later one is not ours to interpret, while
//! unknown keys of this version are kept ([`Facts::other`]).

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::entry::{Facts, RefusedRecipient, State, StoredVariables, Value};
use super::lisp_data::{Datum, ReadError, Reader, is_plain_symbol, write_text};
use super::problem::ProblemKind;

/// About 50,000 recipients; what is longer was not written by a mail program.
pub(super) const MAX_METADATA_BYTES: u64 = 4 << 20;

const VERSION: i64 = 1;
const HEADING: &str = ";; smtpmail-entry ";
const ENDING: &str = ";; end";

const RECIPIENTS: &str = "smtpmail-recipient-address-list";
const SERVER: &str = "smtpmail-smtp-server";
const STREAM_TYPE: &str = "smtpmail-stream-type";
const SERVICE: &str = "smtpmail-smtp-service";
const USER: &str = "smtpmail-smtp-user";

/// Keys of the facts block that are not free for [`Facts::other`].
const KEYS: [&str; 14] = [
    "account",
    "attempts",
    "eight-bit",
    "end",
    "from",
    "last-reply",
    "message-id",
    "queued",
    "refused-recipient",
    "revision",
    "sender",
    "size",
    "state",
    "subject",
];

/// A moment as it stands on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Microseconds(pub u64);

impl Microseconds {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Values are read back as signed numbers; the year 294,000 is enough.
        Self(
            u64::try_from(since.as_micros())
                .unwrap_or(u64::MAX)
                .min(i64::MAX as u64),
        )
    }

    pub(super) fn time(self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_micros(self.0))
            .unwrap_or(UNIX_EPOCH)
    }
}

/// What only our own entries have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Counts the writes: a window refers to one revision, so that it is over with the next.
    pub revision: u64,
    pub queued: Microseconds,
    /// Never [`State::Sending`].
    pub state: State,
    pub facts: Facts,
}

/// The whole content of an `.el` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub recipients: Vec<String>,
    pub variables: StoredVariables,
    /// Symbol and source text of variables that a later Emacs may store: kept, not understood.
    pub other_variables: Vec<(String, String)>,
    /// `None`: written by another program.
    pub record: Option<Record>,
}

impl Metadata {
    pub(super) fn revision(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.revision)
    }

    pub(super) fn state(&self) -> State {
        self.record
            .as_ref()
            .map_or(State::Waiting, |record| record.state)
    }

    /// The file's text. Fails only for what the file could not hold: the
    /// message names the offending value.
    pub(super) fn to_source(&self) -> Result<String, String> {
        let mut out = String::from("(setq ");
        // The built-in's own spacing, so that scripts which grep keep working.
        out.push_str("     ");
        out.push_str(RECIPIENTS);
        out.push_str(" (");
        for (index, recipient) in self.recipients.iter().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            write_text(&mut out, recipient);
        }
        out.push_str(")\n");
        let variables = &self.variables;
        for (name, value) in [
            (SERVER, &variables.server),
            (STREAM_TYPE, &variables.stream_type),
            (SERVICE, &variables.service),
            (USER, &variables.user),
        ] {
            if let Some(value) = value {
                write!(out, "     {name} ").expect("a String takes all");
                write_value(&mut out, value)?;
                out.push('\n');
            }
        }
        for (name, source) in &self.other_variables {
            writeln!(out, "     {name} {source}").expect("a String takes all");
        }
        out.push_str(")\n");
        if let Some(record) = &self.record {
            record.write(&mut out)?;
        }
        if out.len() as u64 > MAX_METADATA_BYTES {
            return Err("the envelope is too large".to_owned());
        }
        Ok(out)
    }

    /// Reads a file's bytes without evaluating anything.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ProblemKind> {
        if bytes.len() as u64 > MAX_METADATA_BYTES {
            return Err(ProblemKind::TooLarge);
        }
        let mut reader = Reader::new(bytes);
        let mut metadata = Self {
            recipients: Vec::new(),
            variables: StoredVariables::default(),
            other_variables: Vec::new(),
            record: None,
        };
        reader.skip_blanks();
        if reader.position() == bytes.len() {
            return Err(ProblemKind::HalfWritten);
        }
        if !reader.open_list() || reader.next()? != Some(Datum::Symbol("setq".to_owned())) {
            return Err(ProblemKind::UnexpectedCode);
        }
        while !reader.close_list()? {
            metadata.read_variable(&mut reader)?;
        }
        let form_end = reader.position();
        if reader.next()?.is_some() {
            return Err(ProblemKind::UnexpectedCode);
        }
        metadata.record = Record::read(&bytes[form_end..])?;
        Ok(metadata)
    }

    fn read_variable(&mut self, reader: &mut Reader<'_>) -> Result<(), ProblemKind> {
        let Some(Datum::Symbol(name)) = reader.next()? else {
            return Err(ProblemKind::UnexpectedCode);
        };
        reader.skip_blanks();
        let start = reader.position();
        let datum = reader.next()?.ok_or(ProblemKind::HalfWritten)?;
        let variables = &mut self.variables;
        match name.as_str() {
            RECIPIENTS => self.recipients = recipients(datum)?,
            SERVER => variables.server = Some(value(datum)?),
            STREAM_TYPE => variables.stream_type = Some(value(datum)?),
            SERVICE => variables.service = Some(value(datum)?),
            USER => variables.user = Some(value(datum)?),
            _ => {
                let source = reader.source_since(start)?.to_owned();
                self.other_variables.push((name, source));
            }
        }
        Ok(())
    }
}

impl From<ReadError> for ProblemKind {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Incomplete => Self::HalfWritten,
            ReadError::NotUtf8 | ReadError::Unexpected => Self::UnexpectedCode,
            ReadError::TooDeep => Self::TooLarge,
        }
    }
}

fn recipients(datum: Datum) -> Result<Vec<String>, ProblemKind> {
    let datum = match datum {
        // Emacs 27 and older quoted the list, because they loaded the file.
        Datum::Quoted(inner) => *inner,
        // The same, had a program printed it with `print-quoted' off.
        Datum::List(mut items)
            if items.len() == 2 && items[0] == Datum::Symbol("quote".to_owned()) =>
        {
            items.swap_remove(1)
        }
        other => other,
    };
    let Datum::List(items) = datum else {
        return Err(ProblemKind::UnexpectedCode);
    };
    items
        .into_iter()
        .map(|item| match item {
            Datum::Text(recipient) => Ok(recipient),
            _ => Err(ProblemKind::UnexpectedCode),
        })
        .collect()
}

fn value(datum: Datum) -> Result<Value, ProblemKind> {
    match datum {
        Datum::Integer(number) => Ok(Value::Integer(number)),
        Datum::List(items) if items.is_empty() => Ok(Value::Nil),
        Datum::Symbol(name) if is_plain_symbol(&name) => Ok(Value::Symbol(name)),
        Datum::Text(text) => Ok(Value::Text(text)),
        Datum::Quoted(inner) => match *inner {
            Datum::Quoted(_) => Err(ProblemKind::UnexpectedCode),
            other => value(other),
        },
        Datum::List(_) | Datum::Symbol(_) => Err(ProblemKind::UnexpectedCode),
    }
}

fn write_value(out: &mut String, value: &Value) -> Result<(), String> {
    match value {
        Value::Nil => out.push_str("nil"),
        Value::Integer(number) => write!(out, "{number}").expect("a String takes all"),
        Value::Symbol(name) if is_plain_symbol(name) => out.push_str(name),
        Value::Symbol(name) => return Err(format!("not a plain symbol: {name:?}")),
        Value::Text(text) => write_text(out, text),
    }
    Ok(())
}

impl Record {
    fn write(&self, out: &mut String) -> Result<(), String> {
        let facts = &self.facts;
        let state = match self.state {
            State::Deferred { next_try } => format!("deferred {}", Microseconds::of(next_try).0),
            State::Held => "held".to_owned(),
            State::Refused => "refused".to_owned(),
            State::Scheduled { until } => format!("scheduled {}", Microseconds::of(until).0),
            State::Sending => return Err("sending is no state for the disk".to_owned()),
            State::Unknown => "unknown".to_owned(),
            State::Waiting => "waiting".to_owned(),
        };
        let numbers = format!(
            "{HEADING}{VERSION}\n;; revision {}\n;; queued {}\n;; state {state}\n;; attempts {}\n",
            self.revision, self.queued.0, facts.attempts
        );
        out.push_str(&numbers);
        for (key, text) in [
            ("account", &facts.account),
            ("from", &facts.from),
            ("last-reply", &facts.last_reply),
            ("message-id", &facts.message_id),
            ("sender", &facts.sender),
            ("subject", &facts.subject),
        ] {
            if let Some(text) = text {
                write!(out, ";; {key} ").expect("a String takes all");
                write_text(out, text);
                out.push('\n');
            }
        }
        if let Some(size) = facts.size {
            writeln!(out, ";; size {size}").expect("a String takes all");
        }
        if let Some(eight_bit) = facts.eight_bit {
            writeln!(out, ";; eight-bit {}", if eight_bit { "t" } else { "nil" })
                .expect("a String takes all");
        }
        for refused in &facts.refused_recipients {
            out.push_str(";; refused-recipient ");
            write_text(out, &refused.recipient);
            out.push(' ');
            write_text(out, &refused.reply);
            out.push('\n');
        }
        for (key, value) in &facts.other {
            if !is_plain_symbol(key) || KEYS.contains(&key.as_str()) {
                return Err(format!("not a free name for a fact: {key:?}"));
            }
            write!(out, ";; {key} ").expect("a String takes all");
            write_value(out, value)?;
            out.push('\n');
        }
        out.push_str(ENDING);
        out.push('\n');
        Ok(())
    }

    /// Reads the block among the comments after the form, if there is one.
    fn read(tail: &[u8]) -> Result<Option<Self>, ProblemKind> {
        // Other programs' comments may be in any coding; ours are UTF-8.
        let tail = String::from_utf8_lossy(tail);
        let mut lines = tail.lines().skip_while(|line| !line.starts_with(HEADING));
        let Some(heading) = lines.next() else {
            return Ok(None);
        };
        match numbers(&data(&heading[HEADING.len()..])?)?[..] {
            [VERSION] => {}
            [_] => return Err(ProblemKind::UnsupportedVersion),
            _ => return Err(ProblemKind::HalfWritten),
        }
        let mut record = Self {
            revision: 0,
            queued: Microseconds(0),
            state: State::Unknown,
            facts: Facts::default(),
        };
        let mut has_state = false;
        for line in lines {
            if line == ENDING {
                return if has_state {
                    Ok(Some(record))
                } else {
                    Err(ProblemKind::HalfWritten)
                };
            }
            let line = line
                .strip_prefix(";; ")
                .ok_or(ProblemKind::UnexpectedCode)?;
            let (key, rest) = line.split_once(' ').ok_or(ProblemKind::UnexpectedCode)?;
            let data = data(rest)?;
            if key == "state" {
                record.state = state(&data)?;
                has_state = true;
            } else {
                record.read_fact(key, data)?;
            }
        }
        Err(ProblemKind::HalfWritten)
    }

    fn read_fact(&mut self, key: &str, data: Vec<Datum>) -> Result<(), ProblemKind> {
        let facts = &mut self.facts;
        match key {
            "revision" => self.revision = number(&data)?,
            "queued" => self.queued = Microseconds(number(&data)?),
            "attempts" => facts.attempts = u32::try_from(number(&data)?).unwrap_or(u32::MAX),
            "account" => facts.account = Some(text(data)?),
            "from" => facts.from = Some(text(data)?),
            "last-reply" => facts.last_reply = Some(text(data)?),
            "message-id" => facts.message_id = Some(text(data)?),
            "sender" => facts.sender = Some(text(data)?),
            "subject" => facts.subject = Some(text(data)?),
            "size" => facts.size = Some(number(&data)?),
            "eight-bit" => facts.eight_bit = Some(data != [Datum::List(Vec::new())]),
            "refused-recipient" => match <[Datum; 2]>::try_from(data) {
                Ok([Datum::Text(recipient), Datum::Text(reply)]) => {
                    facts
                        .refused_recipients
                        .push(RefusedRecipient { recipient, reply });
                }
                _ => return Err(ProblemKind::UnexpectedCode),
            },
            _ => match <[Datum; 1]>::try_from(data) {
                // What could not be written again: no outcome could.
                Ok([datum]) if is_plain_symbol(key) && !KEYS.contains(&key) => {
                    facts.other.insert(key.to_owned(), value(datum)?);
                }
                _ => return Err(ProblemKind::UnexpectedCode),
            },
        }
        Ok(())
    }
}

fn data(source: &str) -> Result<Vec<Datum>, ProblemKind> {
    let mut reader = Reader::new(source.as_bytes());
    let mut data = Vec::new();
    while let Some(datum) = reader.next()? {
        data.push(datum);
    }
    Ok(data)
}

fn numbers(data: &[Datum]) -> Result<Vec<i64>, ProblemKind> {
    data.iter()
        .map(|datum| match datum {
            Datum::Integer(number) if *number >= 0 => Ok(*number),
            _ => Err(ProblemKind::UnexpectedCode),
        })
        .collect()
}

fn number(data: &[Datum]) -> Result<u64, ProblemKind> {
    match numbers(data)?[..] {
        [number] => Ok(number.unsigned_abs()),
        _ => Err(ProblemKind::UnexpectedCode),
    }
}

fn text(data: Vec<Datum>) -> Result<String, ProblemKind> {
    match <[Datum; 1]>::try_from(data) {
        Ok([Datum::Text(text)]) => Ok(text),
        _ => Err(ProblemKind::UnexpectedCode),
    }
}

fn state(data: &[Datum]) -> Result<State, ProblemKind> {
    let [Datum::Symbol(name), rest @ ..] = data else {
        return Err(ProblemKind::UnexpectedCode);
    };
    Ok(match (name.as_str(), rest) {
        ("deferred", rest) => State::Deferred {
            next_try: Microseconds(number(rest)?).time(),
        },
        ("scheduled", rest) => State::Scheduled {
            until: Microseconds(number(rest)?).time(),
        },
        ("held", []) => State::Held,
        ("refused", []) => State::Refused,
        ("unknown", []) => State::Unknown,
        ("waiting", []) => State::Waiting,
        // A state of a later version: what it allows is not ours to guess.
        _ => return Err(ProblemKind::UnsupportedVersion),
    })
}

#[cfg(test)]
#[path = "metadata_tests.rs"]
mod tests;
