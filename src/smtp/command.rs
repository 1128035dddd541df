//! What we say to the server. [`Command::write_to`] gives the wire form,
//! `Display` the form that may be shown.
//!
//! Arguments are types that cannot hold CR, LF or controls ([`Mailbox`],
//! [`EhloName`]), so no command can carry another one. RFC 5321 §4.1.

use std::fmt::{self, Write};

use super::address::{EhloName, Mailbox, ReversePath};
use super::options::{MailOptions, RecipientOptions};
use super::sasl::Mechanism;
use super::secret::Secret;

/// A command of RFC 5321 or an extension, or a line of a SASL exchange.
#[derive(Clone, Debug)]
pub enum Command {
    /// `AUTH mechanism [initial-response]` (RFC 4954 §4): base64 is made here.
    Auth(&'static str, Option<Secret>),
    /// `*`: give up the SASL exchange (RFC 4954 §4).
    AuthCancel,
    /// A line of the SASL exchange, not yet base64.
    AuthResponse(Secret),
    /// `BDAT octets LAST` (RFC 3030 §2): the whole text as one chunk.
    Bdat(u64),
    /// `DATA`.
    Data,
    /// `EHLO name`.
    Ehlo(EhloName),
    /// `HELO name`.
    Helo(EhloName),
    /// A line from outside: part of a login that is none of ours.
    Line(Line),
    /// `MAIL FROM:<reverse-path> parameters`.
    Mail(ReversePath, MailParameters),
    /// A command without arguments that the stock client says: `ONEX`, `VERB`, `XUSR`.
    Old(&'static str),
    /// `QUIT`.
    Quit,
    /// `RCPT TO:<mailbox> parameters`.
    Rcpt(Mailbox, RecipientOptions),
    /// `RSET`.
    Rset,
    /// `STARTTLS` (RFC 3207).
    StartTls,
}

/// One line without its CRLF, as somebody else made it; taken for a secret.
#[derive(Clone, Debug)]
pub struct Line(Secret);

impl Line {
    /// Longest line taken, in octets: tokens of OAuth are long.
    pub const LIMIT: usize = 12 * 1024;

    /// The line, unless it would be more than one, has another control character, or
    /// is too long.
    pub fn new(line: Secret) -> Option<Self> {
        let fits = line.len() <= Self::LIMIT;
        let plain = !line.expose().iter().any(u8::is_ascii_control);
        (fits && plain).then_some(Self(line))
    }

    /// `AUTH` and its mechanism are shown, nothing else.
    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(self.0.expose());
        let mut words = text.split(' ');
        match (words.next(), words.next(), words.next()) {
            (Some(verb), Some(mechanism), rest) if verb.eq_ignore_ascii_case("AUTH") => {
                let known =
                    Mechanism::from_keyword(mechanism).map_or("<omitted>", Mechanism::keyword);
                let rest = if rest.is_some() { " <omitted>" } else { "" };
                format!("AUTH {known}{rest}")
            }
            _ => "<omitted>".into(),
        }
    }
}

/// The parameters of MAIL; each is said only if the server announced it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=`, octets of the message with CRLF line ends (RFC 1870 §6).
    pub size: Option<u64>,
    /// `BODY=8BITMIME` (RFC 6152 §3).
    pub eight_bit: bool,
    /// `SMTPUTF8` (RFC 6531 §3.4).
    pub smtputf8: bool,
    /// What the message asks for.
    pub options: MailOptions,
}

impl fmt::Display for MailParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if self.eight_bit {
            f.write_str(" BODY=8BITMIME")?;
        }
        if self.smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        self.options.fmt(f)
    }
}

impl Command {
    /// Append the wire form with its CRLF to `wire`.
    pub fn write_to(&self, wire: &mut Vec<u8>) {
        match self {
            // Written by hand: a formatted copy of a secret would not be wiped.
            Self::Auth(mechanism, response) => {
                wire.extend_from_slice(b"AUTH ");
                wire.extend_from_slice(mechanism.as_bytes());
                if let Some(response) = response {
                    wire.push(b' ');
                    wire.extend_from_slice(super::sasl::encode_initial(response).expose());
                }
            }
            Self::AuthResponse(response) => {
                wire.extend_from_slice(super::sasl::encode(response).expose());
            }
            Self::Line(line) => wire.extend_from_slice(line.0.expose()),
            _ => write!(Octets(wire), "{self}").expect("a Vec takes all"),
        }
        wire.extend_from_slice(b"\r\n");
    }

    /// What of the wire form must never be shown, wherever it may come from.
    pub fn secret(&self) -> Option<Secret> {
        match self {
            Self::Auth(_, response) => response.as_ref().map(super::sasl::encode_initial),
            Self::AuthResponse(response) => Some(super::sasl::encode(response)),
            Self::Line(line) => {
                let octets = line.0.expose();
                // The verb and the mechanism of an AUTH line are none.
                let words: Vec<_> = octets.splitn(3, |octet| *octet == b' ').collect();
                match (words[0].eq_ignore_ascii_case(b"AUTH"), words.get(2)) {
                    (true, rest) => rest.map(|rest| Secret::from(*rest)),
                    (false, _) => Some(line.0.clone()),
                }
            }
            _ => None,
        }
    }

    /// Octets of the line that is shown, with a CRLF: of a command without a secret,
    /// those of its wire form.
    pub fn shown_len(&self) -> usize {
        let mut count = Count(0);
        write!(count, "{self}").expect("a number takes all");
        count.0 + 2
    }
}

/// The line as the trace shows it: no secret, no CRLF.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth(mechanism, None) => write!(f, "AUTH {mechanism}"),
            Self::Auth(mechanism, Some(_)) => write!(f, "AUTH {mechanism} <omitted>"),
            Self::AuthCancel => f.write_str("*"),
            Self::AuthResponse(_) => f.write_str("<omitted>"),
            Self::Bdat(octets) => write!(f, "BDAT {octets} LAST"),
            Self::Data => f.write_str("DATA"),
            Self::Ehlo(name) => write!(f, "EHLO {name}"),
            Self::Helo(name) => write!(f, "HELO {name}"),
            Self::Line(line) => f.write_str(&line.shown()),
            Self::Mail(path, parameters) => write!(f, "MAIL FROM:<{path}>{parameters}"),
            Self::Old(word) => f.write_str(word),
            Self::Quit => f.write_str("QUIT"),
            Self::Rcpt(mailbox, options) => {
                // A message may have thousands of them, and a format takes longer.
                f.write_str("RCPT TO:<")?;
                f.write_str(mailbox.as_str())?;
                f.write_str(">")?;
                options.fmt(f)
            }
            Self::Rset => f.write_str("RSET"),
            Self::StartTls => f.write_str("STARTTLS"),
        }
    }
}

/// Takes text as its octets.
struct Octets<'a>(&'a mut Vec<u8>);

impl Write for Octets<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Counts octets.
struct Count(usize);

impl Write for Count {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(command: &Command) -> String {
        let mut wire = b"before".to_vec();
        command.write_to(&mut wire);
        let text = String::from_utf8(wire).unwrap();
        text.strip_prefix("before").expect("appended").to_owned()
    }

    fn path(text: &str) -> ReversePath {
        ReversePath::parse(text).unwrap()
    }

    /// Wire forms without a secret; the trace shows the same line.
    #[test]
    fn wire_forms() {
        let name = || EhloName::parse("client.example.org").unwrap();
        let rcpt = |text| Command::Rcpt(Mailbox::parse(text).unwrap(), RecipientOptions::default());
        let mail = |from, size, eight_bit, smtputf8| {
            let parameters = MailParameters {
                size,
                eight_bit,
                smtputf8,
                ..MailParameters::default()
            };
            Command::Mail(path(from), parameters)
        };
        for (command, line) in [
            (Command::Ehlo(name()), "EHLO client.example.org"),
            (
                Command::Ehlo(EhloName::parse("[127.0.0.1]").unwrap()),
                "EHLO [127.0.0.1]",
            ),
            (Command::Helo(name()), "HELO client.example.org"),
            (Command::StartTls, "STARTTLS"),
            (Command::AuthCancel, "*"),
            (Command::Auth("CRAM-MD5", None), "AUTH CRAM-MD5"),
            (
                mail("a@example.org", None, false, false),
                "MAIL FROM:<a@example.org>",
            ),
            (mail("", None, false, false), "MAIL FROM:<>"),
            (
                mail("a@example.org", Some(0), false, false),
                "MAIL FROM:<a@example.org> SIZE=0",
            ),
            (
                mail("jörg@example.org", Some(u64::MAX), true, true),
                "MAIL FROM:<jörg@example.org> SIZE=18446744073709551615 BODY=8BITMIME SMTPUTF8",
            ),
            (rcpt("b@example.net"), "RCPT TO:<b@example.net>"),
            (
                rcpt("\"b> c\"@example.net"),
                "RCPT TO:<\"b> c\"@example.net>",
            ),
            (Command::Bdat(0), "BDAT 0 LAST"),
            (Command::Bdat(86), "BDAT 86 LAST"),
            (Command::Data, "DATA"),
            (Command::Rset, "RSET"),
            (Command::Old("VERB"), "VERB"),
            (Command::Quit, "QUIT"),
        ] {
            assert_eq!(wire(&command), format!("{line}\r\n"));
            assert_eq!(command.to_string(), line);
            assert_eq!(command.shown_len(), line.len() + 2);
        }
    }

    /// Secrets go out in base64 and are never shown, in no form.
    #[test]
    fn secrets_are_said_and_not_shown() {
        let secret = || Secret::from("\0tim\0tanstaaftanstaaf");
        let encoded = "AHRpbQB0YW5zdGFhZnRhbnN0YWFm";
        for (command, line, shown) in [
            (
                Command::Auth("PLAIN", Some(secret())),
                format!("AUTH PLAIN {encoded}\r\n"),
                "AUTH PLAIN <omitted>",
            ),
            (
                Command::AuthResponse(secret()),
                format!("{encoded}\r\n"),
                "<omitted>",
            ),
            // An empty initial response is "=", an empty response an empty line
            // (RFC 4954 §4); the trace does not tell that they are empty.
            (
                Command::Auth("EXTERNAL", Some(Secret::empty())),
                "AUTH EXTERNAL =\r\n".into(),
                "AUTH EXTERNAL <omitted>",
            ),
            (
                Command::AuthResponse(Secret::empty()),
                "\r\n".into(),
                "<omitted>",
            ),
        ] {
            assert_eq!(wire(&command), line);
            assert_eq!(command.to_string(), shown);
            let debug = format!("{command:?}");
            assert!(
                !debug.contains("tanstaaf") && !debug.contains(encoded),
                "{debug}"
            );
        }
    }

    #[test]
    fn lines_from_outside_are_shown_up_to_the_mechanism() {
        for (line, shown, secret) in [
            (
                "AUTH PLAIN AHRpbQ==",
                "AUTH PLAIN <omitted>",
                Some("AHRpbQ=="),
            ),
            ("auth plain a b", "AUTH PLAIN <omitted>", Some("a b")),
            ("AUTH LOGIN", "AUTH LOGIN", None),
            ("AUTH NTLM", "AUTH <omitted>", None),
            ("AUTH", "<omitted>", None),
            ("XAUTH PLAIN x", "<omitted>", Some("XAUTH PLAIN x")),
            ("AHRpbQ==", "<omitted>", Some("AHRpbQ==")),
        ] {
            let command = Command::Line(Line::new(Secret::from(line)).expect("a line"));
            assert_eq!(wire(&command), format!("{line}\r\n"));
            assert_eq!(command.to_string(), shown);
            let found = command.secret();
            let found = found.as_ref().map(|secret| secret.expose());
            assert_eq!(found, secret.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn lines_from_outside_are_one_line_of_bounded_length() {
        for text in ["a\r\nQUIT", "a\n", "\0", "a\x7f", "\ta"] {
            assert!(Line::new(Secret::from(text)).is_none(), "{text:?}");
        }
        assert_eq!(Line::LIMIT, 12_288);
        assert!(Line::new(Secret::from("a".repeat(Line::LIMIT))).is_some());
        assert!(Line::new(Secret::from("a".repeat(Line::LIMIT + 1))).is_none());
    }

    #[test]
    fn what_must_not_be_shown() {
        let secret = |command: Command| {
            let secret = command.secret();
            secret.map(|secret| String::from_utf8(secret.expose().to_vec()).unwrap())
        };
        let said = Some("dGltIHRhbnN0YWFm");
        let response = || Secret::from("tim tanstaaf");
        assert_eq!(
            secret(Command::Auth("X", Some(response()))).as_deref(),
            said
        );
        assert_eq!(secret(Command::AuthResponse(response())).as_deref(), said);
        assert_eq!(secret(Command::Auth("X", None)), None);
        assert_eq!(secret(Command::Data), None);
    }
}
