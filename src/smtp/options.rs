//! What a message asks of the server beyond its addresses: reports (RFC 3461, with
//! the addresses of RFC 6533), priority (RFC 6710), and TLS all the way (RFC 8689).
//!
//! Here are the values and the parameters of MAIL and RCPT that say them. Whether a
//! server is told of them, and what is done where it does not know them, is the
//! dialogue's (`dialogue/content.rs`).

use std::fmt;

use super::address::Mailbox;

/// Longest ENVID, encoded (RFC 3461 §4.4 and §5.4).
pub const MAX_ENVELOPE_ID: usize = 100;

/// Longest ORCPT, with its type, encoded (RFC 3461 §4.2 and §5.4); a longer address
/// goes without.
pub const MAX_ORIGINAL_RECIPIENT: usize = 500;

/// What one message asks for; nothing, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryOptions {
    /// Which reports are wanted, where the server offers DSN.
    pub dsn: Option<Dsn>,
    /// MT-PRIORITY, where the server offers it.
    pub priority: Option<Priority>,
    /// REQUIRETLS: under TLS all the way, or not at all.
    pub require_tls: bool,
}

/// A wish for delivery status notifications.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dsn {
    /// When.
    pub notify: Notify,
    /// What of the message comes back; `None` leaves that to the server.
    pub returned: Option<Returned>,
    /// By which the sender knows the message in a report.
    pub envelope_id: Option<EnvelopeId>,
    /// Whether the message is not to go to a server without DSN.
    pub demanded: bool,
}

/// NOTIFY (RFC 3461 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// Not said: as the server likes, which is after a failure.
    #[default]
    Unsaid,
    /// No report, whatever happens.
    Never,
    /// A report in each of these cases, one at least.
    When {
        /// The message was delivered.
        success: bool,
        /// It cannot be.
        failure: bool,
        /// It takes long.
        delay: bool,
    },
}

/// RET (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// A value of ENVID: printable ASCII, bounded by [`MAX_ENVELOPE_ID`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvelopeId(String);

impl EnvelopeId {
    /// `text`, if SMTP can say it (RFC 3461 §4.4).
    pub fn new(text: &str) -> Option<Self> {
        let printable = text.bytes().all(|octet| matches!(octet, b' '..=b'~'));
        let encoded = xtext(text);
        (printable && !text.is_empty() && encoded.len() <= MAX_ENVELOPE_ID).then_some(Self(encoded))
    }
}

/// A value of MT-PRIORITY: -9 to 9, of which 9 is the most urgent (RFC 6710 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(i8);

impl Priority {
    /// `number`, if it is one.
    pub fn new(number: i64) -> Option<Self> {
        let number = i8::try_from(number).ok()?;
        (-9..=9).contains(&number).then_some(Self(number))
    }
}

/// The parameters of MAIL that say options; each only where announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailOptions {
    /// `RET=` and `ENVID=`.
    pub returned: Option<Returned>,
    /// See [`Dsn::envelope_id`].
    pub envelope_id: Option<EnvelopeId>,
    /// `REQUIRETLS` (RFC 8689 §2).
    pub require_tls: bool,
    /// `MT-PRIORITY=` (RFC 6710 §4).
    pub priority: Option<Priority>,
}

impl fmt::Display for MailOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.returned {
            Some(Returned::Full) => f.write_str(" RET=FULL")?,
            Some(Returned::Headers) => f.write_str(" RET=HDRS")?,
            None => {}
        }
        if let Some(EnvelopeId(encoded)) = &self.envelope_id {
            write!(f, " ENVID={encoded}")?;
        }
        if self.require_tls {
            f.write_str(" REQUIRETLS")?;
        }
        if let Some(Priority(number)) = self.priority {
            write!(f, " MT-PRIORITY={number}")?;
        }
        Ok(())
    }
}

/// The parameters of RCPT that say options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientOptions {
    /// `NOTIFY=`.
    pub notify: Notify,
    /// The value of `ORCPT=`, encoded.
    original: Option<String>,
}

impl RecipientOptions {
    /// What is to be said of `recipient`, for whom reports are wanted as `dsn` says.
    pub fn new(dsn: &Dsn, recipient: &Mailbox) -> Self {
        let original = original_recipient(recipient);
        // Who gets no report need not be named in one.
        let named = dsn.notify != Notify::Never && original.len() <= MAX_ORIGINAL_RECIPIENT;
        Self {
            notify: dsn.notify,
            original: named.then_some(original),
        }
    }
}

impl fmt::Display for RecipientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.notify {
            Notify::Unsaid => {}
            Notify::Never => f.write_str(" NOTIFY=NEVER")?,
            Notify::When {
                success,
                failure,
                delay,
            } => {
                let cases = [(success, "SUCCESS"), (failure, "FAILURE"), (delay, "DELAY")];
                let cases = cases.iter().filter(|(wanted, _)| *wanted);
                let cases: Vec<_> = cases.map(|(_, name)| *name).collect();
                write!(f, " NOTIFY={}", cases.join(","))?;
            }
        }
        match &self.original {
            Some(original) => write!(f, " ORCPT={original}"),
            None => Ok(()),
        }
    }
}

/// The original recipient as ORCPT says it: `rfc822;` in xtext, or, where it cannot
/// be said in ASCII, `utf-8;` in the form for servers with SMTPUTF8, which is then in
/// use (RFC 6533 §3).
fn original_recipient(recipient: &Mailbox) -> String {
    let address = recipient.as_str();
    match recipient.needs_smtputf8() {
        false => format!("rfc822;{}", xtext(address)),
        true => format!("utf-8;{}", unitext(address)),
    }
}

/// RFC 3461 §4: what is not printable ASCII, `+` and `=` are written `+2B`.
fn xtext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' => encoded.push_str(&format!("+{octet:02X}")),
            b'!'..=b'~' => encoded.push(char::from(octet)),
            _ => encoded.push_str(&format!("+{octet:02X}")),
        }
    }
    encoded
}

/// RFC 6533 §3, `utf-8-addr-unitext`: characters beyond ASCII are themselves; blanks,
/// controls, `+`, `=` and the backslash are written `\x{2B}`.
fn unitext(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '+' | '=' | '\\' => encoded.push_str(&format!("\\x{{{:02X}}}", character as u32)),
            '!'..='~' => encoded.push(character),
            _ if character.is_ascii() => {
                encoded.push_str(&format!("\\x{{{:02X}}}", character as u32));
            }
            _ => encoded.push(character),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(notify: Notify, address: &str) -> String {
        let dsn = Dsn {
            notify,
            ..Dsn::default()
        };
        RecipientOptions::new(&dsn, &Mailbox::parse(address).unwrap()).to_string()
    }

    #[test]
    fn recipients() {
        let when = |success, failure, delay| Notify::When {
            success,
            failure,
            delay,
        };
        let carol = " ORCPT=rfc822;Carol@Ivory.EDU";
        for (notify, said) in [
            (when(true, true, true), " NOTIFY=SUCCESS,FAILURE,DELAY"),
            (when(true, false, false), " NOTIFY=SUCCESS"),
            (when(false, true, true), " NOTIFY=FAILURE,DELAY"),
            (Notify::Unsaid, ""),
        ] {
            // RFC 3461 §10.1 has this recipient.
            assert_eq!(
                recipient(notify, "Carol@Ivory.EDU"),
                format!("{said}{carol}")
            );
        }
        assert_eq!(
            recipient(Notify::Never, "Dana@Ivory.EDU"),
            " NOTIFY=NEVER",
            "RFC 3461 §10.1"
        );
    }

    #[test]
    fn original_recipients() {
        for (address, said) in [
            ("a+b=c@example.org", "rfc822;a+2Bb+3Dc@example.org"),
            ("\"a b\"@example.org", "rfc822;\"a+20b\"@example.org"),
            ("jörg@example.org", "utf-8;jörg@example.org"),
            (
                "jörg+x=y@example.org",
                "utf-8;jörg\\x{2B}x\\x{3D}y@example.org",
            ),
            (
                "\"jö \\\" g\"@example.org",
                "utf-8;\"jö\\x{20}\\x{5C}\"\\x{20}g\"@example.org",
            ),
            // ASCII on the wire, so no other type is needed.
            ("x@bücher.example", "rfc822;x@xn--bcher-kva.example"),
        ] {
            let said = format!(" ORCPT={said}");
            assert_eq!(recipient(Notify::Unsaid, address), said, "{address}");
        }
        let long = format!("{}@example.org", "+".repeat(170));
        assert_eq!(recipient(Notify::Unsaid, &long), "");
    }

    #[test]
    fn senders() {
        let all = MailOptions {
            returned: Some(Returned::Headers),
            envelope_id: EnvelopeId::new("QQ314159 1+1=2"),
            require_tls: true,
            priority: Priority::new(-9),
        };
        assert_eq!(
            all.to_string(),
            " RET=HDRS ENVID=QQ314159+201+2B1+3D2 REQUIRETLS MT-PRIORITY=-9"
        );
        assert_eq!(MailOptions::default().to_string(), "");
    }

    #[test]
    fn values_are_bounded() {
        for bad in [
            "",
            "a\r\nRSET",
            "a\tb",
            "é",
            &"x".repeat(101),
            &"+".repeat(34),
        ] {
            assert_eq!(EnvelopeId::new(bad), None, "{bad:?}");
        }
        assert!(EnvelopeId::new(&"x".repeat(100)).is_some());
        for (number, good) in [(-10, false), (-9, true), (0, true), (9, true), (10, false)] {
            assert_eq!(Priority::new(number).is_some(), good, "{number}");
        }
        assert_eq!(Priority::new(i64::MIN), None);
    }
}
