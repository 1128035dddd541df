//! The script: at which place of the dialogue the server does what instead of
//! answering as it should.
//!
//! A rule is written `WHERE[#K|#K-]=ACTION`, as the command line takes it.
//! No sockets here: the session asks, and acts.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// How many bytes of message text the plain place `text` lets through.
const TEXT_DEFAULT_OFFSET: u64 = 1000;

/// Where `split` cuts when no offset is given: within the reply code.
const SPLIT_DEFAULT_OFFSET: usize = 2;

/// Between the two writes of a split reply when no time is given: long enough
/// that they do not reach the client as one.
const SPLIT_DEFAULT_PAUSE: Duration = Duration::from_millis(100);

/// What a server that never heard of TLS answers to a ClientHello.
const PLAINTEXT_ANSWER: &[u8] = b"500 5.5.2 Command not recognized\r\n";

/// A TLS record with the fatal alert handshake_failure (RFC 8446 §6.2), as
/// a server without a usable certificate sends it.
const HANDSHAKE_FAILURE_ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];

/// A place of the dialogue where a rule can apply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// The greeting.
    Greeting,
    /// The reply to EHLO in clear text.
    Ehlo,
    /// The reply to EHLO within TLS.
    EhloTls,
    /// The reply to HELO.
    Helo,
    /// The reply to STARTTLS.
    StartTls,
    /// The answer to the ClientHello.
    Handshake,
    /// The reply to the AUTH command.
    Auth,
    /// The reply to a response of the client within AUTH.
    AuthResponse,
    /// The reply to MAIL.
    Mail,
    /// The reply to RCPT, whoever the recipient is.
    Rcpt,
    /// The reply to RCPT with this address.
    RcptAddress(String),
    /// The reply to DATA.
    Data,
    /// Within the message, once that many bytes of it have come.
    Text(u64),
    /// The reply to the final dot.
    Dot,
    /// The reply to BDAT.
    Bdat,
    /// The reply to RSET.
    Rset,
    /// The reply to QUIT.
    Quit,
    /// The reply to VERB.
    Verb,
    /// The reply to NOOP.
    Noop,
}

/// How a connection ends by the will of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// In order: close_notify within TLS, then a FIN.
    Close,
    /// A FIN without close_notify; without TLS the same as `Close`.
    Cut,
    /// A TCP reset.
    Reset,
    /// Nothing is said any more, all is read, until the client goes.
    Silence,
    /// Nothing is said nor read any more, until the server stops.
    Deaf,
}

/// What the server does instead of answering as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends these bytes as the reply.
    Reply(Vec<u8>),
    /// Sends these bytes as the reply, then ends.
    ReplyThen(Vec<u8>, Ending),
    /// Ends without a reply and without effect.
    End(Ending),
    /// Does what was asked, then ends without a reply.
    AcceptThen(Ending),
    /// Waits, then answers as usual.
    Delay(Duration),
    /// The usual reply, byte by byte with this pause.
    Drip(Duration),
    /// The usual reply in two writes, cut at this offset, with this pause.
    Split(usize, Duration),
    /// The usual reply with these bytes behind it in the same write.
    Inject(Vec<u8>),
    /// That many random bytes in place of a reply.
    Garbage(usize),
    /// Reply lines without end.
    Flood,
    /// One reply line without end.
    FloodLine,
}

/// One rule: at this place, these times, that action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    place: Place,
    first: u64,
    last: u64,
    action: Action,
}

impl Rule {
    /// Reads `WHERE[#K|#K-]=ACTION`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut problem = format!("no WHERE=ACTION in {text:?}");
        // An address may hold `=`; the action is what reads as one.
        for (at, _) in text.match_indices('=') {
            match Self::from_parts(&text[..at], &text[at + 1..]) {
                Ok(rule) => return Ok(rule),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    /// Whether it is about DATA, so that BDAT would lead past it.
    pub(crate) fn is_of_data(&self) -> bool {
        matches!(self.place, Place::Data | Place::Dot)
    }

    fn from_parts(place: &str, action: &str) -> Result<Self, String> {
        let (place, first, last) = parse_times(place)?;
        let place = parse_place(place)?;
        let action = parse_action(action)?;
        let replyless = matches!(place, Place::Handshake | Place::Text(_));
        let needs_reply = matches!(
            action,
            Action::Drip(_) | Action::Split(..) | Action::Inject(_) | Action::AcceptThen(_)
        );
        if replyless && needs_reply {
            return Err(format!("{place:?} has no reply of its own to {action:?}"));
        }
        Ok(Self {
            place,
            first,
            last,
            action,
        })
    }
}

/// `PLACE`, `PLACE#K` (the K-th time only) or `PLACE#K-` (from then on).
fn parse_times(text: &str) -> Result<(&str, u64, u64), String> {
    let Some((place, times)) = text.rsplit_once('#') else {
        return Ok((text, 1, u64::MAX));
    };
    let (digits, open) = times
        .strip_suffix('-')
        .map_or((times, false), |digits| (digits, true));
    match digits.parse() {
        Ok(0) => Err(format!("times count from 1 in {text:?}")),
        Ok(first) => Ok((place, first, if open { u64::MAX } else { first })),
        Err(_) => Ok((text, 1, u64::MAX)), // The `#` belongs to an address.
    }
}

fn parse_place(text: &str) -> Result<Place, String> {
    if let Some(address) = text.strip_prefix("rcpt:") {
        return Ok(Place::RcptAddress(address.to_owned()));
    }
    if let Some(offset) = text.strip_prefix("text:") {
        return offset
            .parse()
            .map(Place::Text)
            .map_err(|_| format!("bad offset in {text:?}"));
    }
    Ok(match text {
        "greeting" => Place::Greeting,
        "ehlo" => Place::Ehlo,
        "ehlo-tls" => Place::EhloTls,
        "helo" => Place::Helo,
        "starttls" => Place::StartTls,
        "handshake" => Place::Handshake,
        "auth" => Place::Auth,
        "auth-response" => Place::AuthResponse,
        "mail" => Place::Mail,
        "rcpt" => Place::Rcpt,
        "data" => Place::Data,
        "text" => Place::Text(TEXT_DEFAULT_OFFSET),
        "dot" => Place::Dot,
        "bdat" => Place::Bdat,
        "rset" => Place::Rset,
        "quit" => Place::Quit,
        "verb" => Place::Verb,
        "noop" => Place::Noop,
        _ => return Err(format!("no such place: {text:?}")),
    })
}

fn parse_action(text: &str) -> Result<Action, String> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let milliseconds = || number(rest).map(Duration::from_millis);
    if let Some(ending) = verb.strip_prefix("reply-").and_then(parse_ending) {
        return Ok(Action::ReplyThen(unescape_reply(rest)?, ending));
    }
    if let Some(ending) = verb.strip_prefix("accept-").and_then(parse_ending) {
        return Ok(Action::AcceptThen(ending));
    }
    if let Some(ending) = parse_ending(verb) {
        return Ok(Action::End(ending));
    }
    Ok(match verb {
        "reply" => Action::Reply(unescape_reply(rest)?),
        "inject" => Action::Inject(unescape_reply(rest)?),
        "delay" => Action::Delay(milliseconds()?),
        "drip" => Action::Drip(milliseconds()?),
        "split" => parse_split(rest)?,
        "garbage" => Action::Garbage(number(rest)?),
        "flood" => Action::Flood,
        "flood-line" => Action::FloodLine,
        "plaintext" => Action::ReplyThen(PLAINTEXT_ANSWER.to_vec(), Ending::Close),
        "no-certificate" => Action::ReplyThen(HANDSHAKE_FAILURE_ALERT.to_vec(), Ending::Close),
        _ => return Err(format!("no such action: {text:?}")),
    })
}

fn parse_ending(text: &str) -> Option<Ending> {
    Some(match text {
        "close" => Ending::Close,
        "cut" => Ending::Cut,
        "reset" => Ending::Reset,
        "silence" => Ending::Silence,
        "deaf" => Ending::Deaf,
        _ => return None,
    })
}

/// `[AT [MS]]`.
fn parse_split(text: &str) -> Result<Action, String> {
    let mut words = text.split_ascii_whitespace();
    let at = words.next().map_or(Ok(SPLIT_DEFAULT_OFFSET), number)?;
    let pause = words
        .next()
        .map(|word| number(word).map(Duration::from_millis));
    Ok(Action::Split(at, pause.unwrap_or(Ok(SPLIT_DEFAULT_PAUSE))?))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("not a number: {text:?}"))
}

/// C escapes to bytes; a CRLF is added unless the text ends with `\c`.
fn unescape_reply(text: &str) -> Result<Vec<u8>, String> {
    let (text, ended) = text
        .strip_suffix("\\c")
        .map_or((text, true), |text| (text, false));
    let mut bytes = Vec::with_capacity(text.len() + 2);
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.unwrap_or(b'?'));
                let value = str::from_utf8(&digits)
                    .ok()
                    .map(|hex| u8::from_str_radix(hex, 16));
                match value {
                    Some(Ok(value)) => value,
                    _ => return Err(format!("two hex digits belong behind \\x in {text:?}")),
                }
            }
            _ => return Err(format!("unknown escape in {text:?}")),
        });
    }
    if ended {
        bytes.extend_from_slice(b"\r\n");
    }
    Ok(bytes)
}

/// The rules of one server with the count of how often each place was reached.
#[derive(Debug)]
pub(crate) struct Script {
    rules: Vec<Rule>,
    reached: Mutex<HashMap<Place, u64>>,
}

impl Script {
    pub(crate) fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            reached: Mutex::default(),
        }
    }

    /// Counts these places as reached; the action of the first rule that
    /// applies, the earlier place going first.
    pub(crate) fn reached(&self, places: &[Place]) -> Option<Action> {
        let mut reached = crate::lock(&self.reached);
        let mut found = None;
        for place in places {
            let count = reached.entry(place.clone()).or_default();
            *count += 1;
            let rule = self
                .rules
                .iter()
                .find(|rule| rule.place == *place && (rule.first..=rule.last).contains(count));
            found = found.or(rule);
        }
        found.map(|rule| rule.action.clone())
    }

    /// The offsets of the rules for message text, ascending.
    pub(crate) fn text_offsets(&self) -> Vec<u64> {
        let mut offsets: Vec<u64> = self
            .rules
            .iter()
            .filter_map(|rule| match rule.place {
                Place::Text(offset) => Some(offset),
                _ => None,
            })
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(rules: &[&str]) -> Script {
        Script::new(
            rules
                .iter()
                .map(|rule| Rule::parse(rule).expect("a good rule"))
                .collect(),
        )
    }

    #[test]
    fn a_rule_without_times_applies_always() {
        let script = script(&["mail=close"]);
        for _ in 0..3 {
            assert_eq!(
                script.reached(&[Place::Mail]),
                Some(Action::End(Ending::Close))
            );
        }
        assert_eq!(script.reached(&[Place::Rcpt]), None);
    }

    #[test]
    fn times_select_one_or_the_rest() {
        let script = script(&["mail#2=reset", "noop#2-=silence"]);
        let mail: Vec<bool> = (0..3)
            .map(|_| script.reached(&[Place::Mail]).is_some())
            .collect();
        let noop: Vec<bool> = (0..3)
            .map(|_| script.reached(&[Place::Noop]).is_some())
            .collect();
        assert_eq!(mail, [false, true, false]);
        assert_eq!(noop, [false, true, true]);
    }

    #[test]
    fn the_address_goes_before_any_recipient_and_may_hold_signs() {
        let script = script(&["rcpt=reply 450 later", "rcpt:a=b#c@x.org#1=reply 550 no"]);
        let places = [Place::RcptAddress("a=b#c@x.org".into()), Place::Rcpt];
        assert_eq!(
            script.reached(&places),
            Some(Action::Reply(b"550 no\r\n".to_vec()))
        );
        assert_eq!(
            script.reached(&places),
            Some(Action::Reply(b"450 later\r\n".to_vec()))
        );
    }

    #[test]
    fn escapes_become_bytes() {
        let unescaped = unescape_reply(r"250-a\r\n250 b\0\x7f\\\c").expect("good escapes");
        assert_eq!(unescaped, b"250-a\r\n250 b\0\x7f\\");
        for bad in [r"\q", r"\x4", r"\xg0", r"\"] {
            assert!(unescape_reply(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bad_rules_are_refused() {
        for bad in [
            "mail",
            "nowhere=close",
            "mail=dance",
            "mail#0=close",
            "text=drip 5",
            "handshake=inject x",
            "text:x=close",
            "mail=delay soon",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_offsets_ascend_once_each() {
        let script = script(&["text:9#1=close", "text=reset", "text:9=close", "dot=close"]);
        assert_eq!(script.text_offsets(), [9, 1000]);
    }
}
