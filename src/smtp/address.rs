//! Addresses and host names that go into commands (RFC 5321 §4.1.2, RFC 6531).
//!
//! A value of a type in here can be written between `<` and `>`, or after
//! `EHLO `, and can end neither the bracket nor the line: injection is not
//! representable. Beyond that they are as lenient as servers are, which judge
//! for themselves; nothing in here decides whether an address exists.

use super::visible::{is_invisible, visible};
use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::borrow::Cow;

/// The longest mailbox, in octets.
///
/// RFC 5321 §4.5.3.1.3 says 256, which return addresses that encode another
/// address (VERP, SRS, BATV) exceed in practice. A thousand leaves a command
/// with all its parameters under the 2048 octets that Postfix takes in a line
/// (`line_length_limit`).
pub const MAILBOX_LIMIT: usize = 1000;

/// The longest host name, in octets (RFC 5321 §4.5.3.1.2, RFC 1035 §2.3.4).
pub const DOMAIN_LIMIT: usize = 255;

/// The longest label of a host name, in octets (RFC 1035 §2.3.4).
pub const LABEL_LIMIT: usize = 63;

/// How many characters of the offending text an error shows.
const SHOWN_LIMIT: usize = 100;

/// Why a text is no address or host name. Its `Display` is a sentence with
/// the text made visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    /// What is wrong.
    pub problem: AddressProblem,
    /// The offending text, made visible and bounded.
    pub shown: String,
}

/// What is wrong with a text that should be an address or a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressProblem {
    /// `[...]` holds neither an IPv4 address nor `IPv6:` and an IPv6 address.
    BadAddressLiteral,
    /// A character that no address or host name may hold.
    BadCharacter(char),
    /// `\` that escapes nothing, or escapes what may not be escaped.
    BadEscape,
    /// A character that is not allowed in a host name.
    BadHostCharacter(char),
    /// The host name is not a valid international name (UTS 46).
    BadInternationalName,
    /// Nothing at all.
    Empty,
    /// Two dots in a row, or a dot at the start, in a host name.
    EmptyLabel,
    /// Nothing after the `@`.
    NoDomain,
    /// Nothing before the `@`.
    NoLocalPart,
    /// More than [`LABEL_LIMIT`] octets between two dots.
    LabelTooLong,
    /// More than [`MAILBOX_LIMIT`] or [`DOMAIN_LIMIT`] octets.
    TooLong,
    /// A quotation mark that is not closed, or text stuck to one.
    UnbalancedQuotes,
    /// A character that must stand within quotation marks.
    UnquotedCharacter(char),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use AddressProblem::*;
        let AddressError { problem, shown } = self;
        match problem {
            Empty => return f.write_str("The address is empty"),
            _ => write!(f, "“{shown}” cannot be used as an address: ")?,
        }
        match problem {
            BadAddressLiteral => f.write_str(
                "brackets must hold an address such as [192.0.2.1] or [IPv6:2001:db8::1]",
            ),
            BadCharacter(c) => write!(f, "it holds {}, which no address may hold", Named(*c)),
            BadEscape => f.write_str("a backslash in it escapes nothing that may be escaped"),
            BadHostCharacter(c) => write!(f, "{} cannot be part of a host name", Named(*c)),
            BadInternationalName => f.write_str("its host name is not a valid international name"),
            Empty => Ok(()),
            EmptyLabel => f.write_str("its host name has a dot too many"),
            LabelTooLong => write!(
                f,
                "a part of its host name is longer than {LABEL_LIMIT} octets"
            ),
            NoDomain => f.write_str("there is no host name after the @"),
            NoLocalPart => f.write_str("there is no name before the @"),
            TooLong => f.write_str("it is too long"),
            UnbalancedQuotes => f.write_str("its quotation marks do not match"),
            UnquotedCharacter(c) => {
                write!(f, "{} must stand within quotation marks", Named(*c))
            }
        }
    }
}

impl core::error::Error for AddressError {}

/// A character as a sentence names it.
struct Named(char);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            '\r' | '\n' => f.write_str("a line end"),
            '\0' => f.write_str("a null character"),
            ' ' => f.write_str("a space"),
            c if c.is_ascii_control() => f.write_str("a control character"),
            c if is_invisible(c) => write!(f, "the invisible character U+{:04X}", u32::from(c)),
            c if c.is_whitespace() => write!(f, "the space U+{:04X}", u32::from(c)),
            c => write!(f, "“{c}”"),
        }
    }
}

/// A mailbox in wire form: what stands between `<` and `>` of MAIL and RCPT.
///
/// `Display` and [`Mailbox::as_str`] give exactly that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    wire: String,
    /// Where the `@` stands; `None` for a bare local part (`RCPT TO:<bob>`).
    at: Option<usize>,
}

impl Mailbox {
    /// Reads a mailbox: no display name, no comment, no angle brackets.
    ///
    /// A local part alone is accepted, as servers do for their own users
    /// (RFC 5321 §4.5.1 asks it for Postmaster), and so are dots anywhere in
    /// the local part. An international domain becomes A-labels (RFC 5890)
    /// unless the local part needs SMTPUTF8 anyhow (RFC 6531 §3.2).
    pub fn parse(text: &str) -> Result<Mailbox, AddressError> {
        parse_mailbox(text).map_err(|problem| describe(problem, text))
    }

    /// The wire form.
    pub fn as_str(&self) -> &str {
        &self.wire
    }

    /// What stands before the `@`, with its quotation marks.
    pub fn local_part(&self) -> &str {
        &self.wire[..self.at.unwrap_or(self.wire.len())]
    }

    /// What stands after the `@`, or `None` for a bare local part.
    pub fn domain(&self) -> Option<&str> {
        self.at.map(|at| &self.wire[at + 1..])
    }

    /// Whether it can be sent only where SMTPUTF8 is offered (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.wire.is_ascii()
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.wire)
    }
}

impl core::str::FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Mailbox::parse(text)
    }
}

/// Where non-delivery reports go: a mailbox, or nowhere (RFC 5321 §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: nobody is told.
    Null,
    /// This mailbox is told.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Reads a reverse-path; nothing, or `<>`, is the null one.
    pub fn parse(text: &str) -> Result<ReversePath, AddressError> {
        match text {
            "" | "<>" => Ok(ReversePath::Null),
            _ => Mailbox::parse(text).map(ReversePath::Mailbox),
        }
    }

    /// The wire form: what stands between `<` and `>`.
    pub fn as_str(&self) -> &str {
        match self {
            ReversePath::Null => "",
            ReversePath::Mailbox(mailbox) => mailbox.as_str(),
        }
    }

    /// Whether it can be sent only where SMTPUTF8 is offered (RFC 6531).
    pub fn needs_smtputf8(&self) -> bool {
        !self.as_str().is_ascii()
    }
}

impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name a client gives itself in EHLO and HELO (RFC 5321 §4.1.1.1): a
/// fully qualified name, a bare host name, or an address literal. ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EhloName(String);

impl EhloName {
    /// Reads the name; an international one becomes A-labels.
    pub fn parse(text: &str) -> Result<EhloName, AddressError> {
        parse_domain(text, Script::Ascii)
            .map(|name| EhloName(name.into_owned()))
            .map_err(|problem| describe(problem, text))
    }

    /// The wire form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EhloName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host to connect to, in ASCII: for the resolver, the server name
/// indication and the check of the certificate.
///
/// International names become A-labels (UTS 46). IP addresses stay as they
/// are, an IPv6 one without brackets and with its zone (`fe80::1%eth0`,
/// RFC 4007 §11). A final dot is kept for the resolver, which it keeps from
/// searching; certificate checks drop it.
pub fn host_to_ascii(text: &str) -> Result<String, AddressError> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let (address, zone) = bare.split_once('%').unwrap_or((bare, "0"));
    let zone_is_plain = !zone.is_empty()
        && zone
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if address.parse::<Ipv6Addr>().is_ok() && zone_is_plain && bare.len() <= DOMAIN_LIMIT {
        return Ok(bare.to_string());
    }
    if let Some(literal) = bare
        .strip_prefix("IPv6:")
        .filter(|a| a.parse::<Ipv6Addr>().is_ok())
    {
        return Ok(literal.to_string());
    }
    if bare.parse::<Ipv4Addr>().is_ok() {
        return Ok(bare.to_string());
    }
    parse_host_name(text, Script::Ascii)
        .map(Cow::into_owned)
        .map_err(|problem| describe(problem, text))
}

fn describe(problem: AddressProblem, text: &str) -> AddressError {
    AddressError {
        problem,
        shown: visible(text.as_bytes(), SHOWN_LIMIT),
    }
}

/// Which form an international domain takes.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    /// A-labels.
    Ascii,
    /// U-labels.
    Utf8,
}

fn parse_mailbox(text: &str) -> Result<Mailbox, AddressProblem> {
    if text.is_empty() {
        return Err(AddressProblem::Empty);
    }
    if text.len() > MAILBOX_LIMIT {
        return Err(AddressProblem::TooLong);
    }
    // First of all, so that the error names the worst: a line end is told as
    // a line end wherever it stands.
    if let Some(c) = text.chars().find(|&c| is_invisible(c)) {
        return Err(AddressProblem::BadCharacter(c));
    }
    let local_len = local_part_len(text)?;
    let (local, rest) = text.split_at(local_len);
    let Some(domain) = rest.strip_prefix('@') else {
        return Ok(Mailbox {
            wire: text.to_string(),
            at: None,
        });
    };
    if local.is_empty() {
        return Err(AddressProblem::NoLocalPart);
    }
    if domain.is_empty() {
        return Err(AddressProblem::NoDomain);
    }
    let script = if local.is_ascii() {
        Script::Ascii
    } else {
        Script::Utf8
    };
    let wire = match parse_domain(domain, script)? {
        Cow::Borrowed(_) => text.to_string(),
        Cow::Owned(domain) => format!("{local}@{domain}"),
    };
    if wire.len() > MAILBOX_LIMIT {
        return Err(AddressProblem::TooLong);
    }
    Ok(Mailbox {
        wire,
        at: Some(local_len),
    })
}

/// How many octets of `text` are its local part: atoms, dots and quoted
/// strings, up to the `@` or the end.
fn local_part_len(text: &str) -> Result<usize, AddressProblem> {
    let mut characters = text.char_indices();
    // A quoted string stands alone or between dots (RFC 5322 §4.4).
    let mut after_quoted = false;
    let mut after_atom = false;
    while let Some((i, c)) = characters.next() {
        match c {
            '@' => return Ok(i),
            '"' if after_quoted || after_atom => return Err(AddressProblem::UnbalancedQuotes),
            '"' => {
                skip_quoted_string(&mut characters)?;
                after_quoted = true;
            }
            '.' => {
                after_quoted = false;
                after_atom = false;
            }
            _ if after_quoted => return Err(AddressProblem::UnbalancedQuotes),
            // RFC 5322 §3.2.3 specials. A lone backslash would escape the
            // closing bracket, and commas, colons and parentheses make lists,
            // routes and comments to servers that read them that way.
            ' ' | '<' | '>' | '(' | ')' | '[' | ']' | ':' | ';' | ',' | '\\' => {
                return Err(AddressProblem::UnquotedCharacter(c));
            }
            _ if c.is_whitespace() => return Err(AddressProblem::UnquotedCharacter(c)),
            _ => after_atom = true,
        }
    }
    Ok(text.len())
}

/// Goes past the closing quotation mark.
fn skip_quoted_string(characters: &mut core::str::CharIndices<'_>) -> Result<(), AddressProblem> {
    while let Some((_, c)) = characters.next() {
        match c {
            '"' => return Ok(()),
            // RFC 5321 §4.1.2 quoted-pairSMTP: printable ASCII.
            '\\' => match characters.next() {
                Some((_, ' '..='~')) => {}
                _ => return Err(AddressProblem::BadEscape),
            },
            _ => {}
        }
    }
    Err(AddressProblem::UnbalancedQuotes)
}

/// A host name or an address literal; borrowed if it stays as it is.
fn parse_domain(text: &str, script: Script) -> Result<Cow<'_, str>, AddressProblem> {
    if text.starts_with('[') {
        let inner = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        return match inner {
            Some(inner) if is_address_literal(inner) => Ok(Cow::Borrowed(text)),
            _ => Err(AddressProblem::BadAddressLiteral),
        };
    }
    parse_host_name(text, script)
}

/// RFC 5321 §4.1.3; no other tag than IPv6 was ever registered.
fn is_address_literal(inner: &str) -> bool {
    const TAG: &str = "IPv6:";
    match inner.get(..TAG.len()) {
        Some(tag) if tag.eq_ignore_ascii_case(TAG) => {
            inner[TAG.len()..].parse::<Ipv6Addr>().is_ok()
        }
        _ => inner.parse::<Ipv4Addr>().is_ok(),
    }
}

fn parse_host_name(text: &str, script: Script) -> Result<Cow<'_, str>, AddressProblem> {
    if text.is_empty() {
        return Err(AddressProblem::Empty);
    }
    // Bounded before the conversion, whose cost grows with the text. A label
    // shrinks by a factor of at most 4 on its way to ASCII.
    if text.len() > 4 * DOMAIN_LIMIT {
        return Err(AddressProblem::TooLong);
    }
    if let Some(c) = text.chars().find(|&c| is_invisible(c)) {
        return Err(AddressProblem::BadCharacter(c));
    }
    if text.is_ascii() {
        check_host_name(text)?;
        return Ok(Cow::Borrowed(text));
    }
    if let Some(c) = text
        .chars()
        .find(|c| c.is_ascii() && !is_host_character(*c))
    {
        return Err(AddressProblem::BadHostCharacter(c));
    }
    let ascii = idna::domain_to_ascii(text).map_err(|_| AddressProblem::BadInternationalName)?;
    // After the mapping too: UTS 46 makes ASCII of full-width characters,
    // among them `＠` and `＞`.
    check_host_name(&ascii)?;
    match script {
        Script::Ascii => Ok(Cow::Owned(ascii)),
        Script::Utf8 => {
            // Through ASCII, so that what is sent is a normal U-label and not
            // whatever was typed (RFC 6531 §3.3).
            let (unicode, result) = idna::domain_to_unicode(&ascii);
            result.map_err(|_| AddressProblem::BadInternationalName)?;
            // What an A-label holds may be no U-label, though it was decoded
            // (RFC 5891 §4.2.3.1: `--` in the third and fourth place).
            if !idna::domain_to_ascii(&unicode).is_ok_and(|again| again == ascii) {
                return Err(AddressProblem::BadInternationalName);
            }
            // An A-label can hold what may not be typed.
            match unicode.chars().find(|&c| is_invisible(c)) {
                Some(c) => Err(AddressProblem::BadCharacter(c)),
                None => Ok(Cow::Owned(unicode)),
            }
        }
    }
}

/// Underscores occur in real host names, though RFC 952 has none.
fn is_host_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Checks an ASCII host name; a final dot is allowed.
fn check_host_name(name: &str) -> Result<(), AddressProblem> {
    if let Some(c) = name.chars().find(|&c| !is_host_character(c)) {
        return Err(AddressProblem::BadHostCharacter(c));
    }
    if name.len() > DOMAIN_LIMIT {
        return Err(AddressProblem::TooLong);
    }
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        match label.len() {
            0 => return Err(AddressProblem::EmptyLabel),
            1..=LABEL_LIMIT => {}
            _ => return Err(AddressProblem::LabelTooLong),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
