//! Whether this server can be told of a message, and what is done where it has not
//! announced what the message needs.
//!
//! | the message has | the server lacks | what is done | strictly |
//! |---|---|---|---|
//! | an address that is not ASCII | SMTPUTF8 | refused (RFC 6531 §3.4) | refused |
//! | octets above 127 in its text | 8BITMIME | sent as it is, noted | refused (RFC 6152) |
//! | octets above 127 in its header | SMTPUTF8 | sent as it is, noted | refused (RFC 6532 §3) |
//! | the same | nothing | sent as it is | sent with SMTPUTF8 |
//! | a wish for reports | DSN | sent without, told; refused if that is demanded | likewise |
//! | a priority | MT-PRIORITY | sent without, told (RFC 6710 §4.1) | likewise |
//! | a demand for TLS all the way | REQUIRETLS, or TLS | refused (RFC 8689 §4.2.1) | refused |
//! | a line of more than 998 octets | nothing | sent as it is, noted | refused (RFC 5321 §4.5.3.1.6) |
//! | more octets than SIZE allows | room | refused (RFC 1870 §6) | refused |
//!
//! No text is changed here: it may be signed, and most servers stand it. All
//! refusals come before MAIL.

use super::super::address::Mailbox;
use super::super::capabilities::SizeLimit;
use super::super::command::MailParameters;
use super::super::content::LINE_LIMIT;
use super::super::failure::{Failure, FailureKind, Phase};
use super::super::options::{MailOptions, Notify, RecipientOptions};
use super::transaction::Message;
use super::{Dialogue, Output};

/// What a message needs and the server has not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    EightBitHeader,
    EightBitText,
    LongLine,
    Priority,
    Reports,
    TlsAllTheWay,
}

impl Lack {
    /// For the trace of a text that goes all the same.
    fn note(self) -> &'static str {
        match self {
            Self::EightBitHeader => {
                "the header has octets above 127, and the server does not announce SMTPUTF8: sent as it is"
            }
            Self::EightBitText => {
                "the text has octets above 127, and the server does not announce 8BITMIME: sent as it is"
            }
            Self::LongLine => "the text has a line of more than 998 octets: sent as it is",
            Self::Priority => "the server does not know priorities (no MT-PRIORITY): sent without",
            Self::Reports => {
                "the server takes no wishes about delivery reports (no DSN): sent without"
            }
            Self::TlsAllTheWay => "the server does not promise TLS all the way (no REQUIRETLS)",
        }
    }

    /// Whether the user has asked for it, and is to know that it was left out.
    fn is_of_interest(self) -> bool {
        matches!(self, Self::Priority | Self::Reports)
    }

    /// Whether the message stays here for it.
    fn forbids(self, message: &Message, strict: bool) -> bool {
        match self {
            Self::EightBitHeader | Self::EightBitText | Self::LongLine => strict,
            Self::Priority => false,
            Self::Reports => message.options.dsn.as_ref().is_some_and(|dsn| dsn.demanded),
            Self::TlsAllTheWay => true,
        }
    }

    /// Why it is not sent, and what can be done.
    fn refusal(self, message: &Message) -> String {
        match self {
            Self::EightBitHeader => {
                "the header of the message has characters that are not ASCII, and the server does not take them (no SMTPUTF8); write them as encoded words (RFC 2047)".into()
            }
            Self::EightBitText => {
                "the text of the message has 8-bit characters, and the server does not take them (no 8BITMIME); encode it as quoted-printable or base64".into()
            }
            Self::LongLine => format!(
                "the message has a line of {} octets, and SMTP allows {LINE_LIMIT}; break it, or encode the text as quoted-printable or base64",
                message.longest_line
            ),
            Self::Priority | Self::Reports => {
                "the message demands delivery reports, and the server takes no wishes about them (no DSN); demand none, or use another server".into()
            }
            Self::TlsAllTheWay => {
                "the message demands TLS all the way to its recipients, and the server does not promise that on this connection (no REQUIRETLS under TLS); do not demand it, or use another server".into()
            }
        }
    }
}

impl Dialogue {
    /// Whether this server can be told of the message at all.
    pub(super) fn expressible(&self, message: &Message) -> Result<(), Failure> {
        let refuse = |text: String| Err(Failure::new(FailureKind::Content, Phase::Mail, text));
        if message.recipients.is_empty() {
            return refuse("the message has no recipients".into());
        }
        if message.needs_smtputf8() && !self.capabilities.smtputf8 {
            return refuse(
                "the server does not take addresses that are not ASCII (no SMTPUTF8)".into(),
            );
        }
        let strict = self.plan.strict_content;
        let mut lacks = self.lacks(message);
        if let Some(lack) = lacks.find(|lack| lack.forbids(message, strict)) {
            return refuse(lack.refusal(message));
        }
        match self.capabilities.size {
            Some(SizeLimit::Octets(limit)) if message.octets > limit => refuse(format!(
                "the message has {} octets, the server takes at most {limit}",
                message.octets
            )),
            _ => Ok(()),
        }
    }

    /// Whether MAIL says SMTPUTF8. A header alone asks for it only strictly: few
    /// servers mind, and further ones on the way may not have it.
    pub(super) fn says_smtputf8(&self, message: &Message) -> bool {
        message.needs_smtputf8() || self.plan.strict_content && message.header_eight_bit
    }

    /// Write into the trace what goes to a server that may not stand it, and tell the
    /// user, once for a connection, what of the user's wishes is left out.
    pub(super) fn note_lacks(&mut self, message: &Message) {
        for lack in self.lacks(message) {
            self.outputs.push_back(Output::Note(lack.note()));
            if lack.is_of_interest() && !self.told.contains(&lack) {
                self.told.push(lack);
                self.outputs.push_back(Output::LeftOut(lack.note()));
            }
        }
    }

    /// What MAIL says of the message beside its sender.
    pub(super) fn mail_parameters(&self, message: &Message) -> MailParameters {
        let offered = &self.capabilities;
        let options = &message.options;
        let dsn = options.dsn.as_ref().filter(|_| offered.dsn);
        // Without reports nothing comes back, and nobody asks by which name.
        let dsn = dsn.filter(|dsn| dsn.notify != Notify::Never);
        MailParameters {
            size: offered.size.map(|_| message.octets),
            eight_bit: message.eight_bit && offered.eight_bit_mime,
            smtputf8: self.says_smtputf8(message),
            options: MailOptions {
                returned: dsn.and_then(|dsn| dsn.returned),
                envelope_id: dsn.and_then(|dsn| dsn.envelope_id.clone()),
                // Not sent at all without.
                require_tls: options.require_tls,
                priority: options.priority.filter(|_| offered.mt_priority),
            },
        }
    }

    /// What RCPT says of the message beside its recipient.
    pub(super) fn recipient_options(
        &self,
        message: &Message,
        recipient: &Mailbox,
    ) -> RecipientOptions {
        match &message.options.dsn {
            Some(dsn) if self.capabilities.dsn => RecipientOptions::new(dsn, recipient),
            _ => RecipientOptions::default(),
        }
    }

    fn lacks(&self, message: &Message) -> impl Iterator<Item = Lack> + use<> {
        let offered = &self.capabilities;
        let options = &message.options;
        // RFC 8689 §4.2.1: announced under TLS, in which the certificate was verified.
        let tls_all_the_way = offered.require_tls && self.protected;
        [
            (options.require_tls && !tls_all_the_way).then_some(Lack::TlsAllTheWay),
            (options.dsn.is_some() && !offered.dsn).then_some(Lack::Reports),
            (options.priority.is_some() && !offered.mt_priority).then_some(Lack::Priority),
            (message.header_eight_bit && !offered.smtputf8).then_some(Lack::EightBitHeader),
            (message.eight_bit && !offered.eight_bit_mime).then_some(Lack::EightBitText),
            (message.longest_line > LINE_LIMIT).then_some(Lack::LongLine),
        ]
        .into_iter()
        .flatten()
    }
}
