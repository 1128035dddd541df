//! Whether this server can be told of a message, and what is done where it has not
//! announced what the message needs.
//!
//! | the message has | the server lacks | what is done | strictly |
//! |---|---|---|---|
//! | an address that is not ASCII | SMTPUTF8 | refused (RFC 6531 §3.4) | refused |
//! | octets above 127 in its text | 8BITMIME | sent as it is, noted | refused (RFC 6152) |
//! | octets above 127 in its header | SMTPUTF8 | sent as it is, noted | refused (RFC 6532 §3) |
//! | the same | nothing | sent as it is | sent with SMTPUTF8 |
//! | a line of more than 998 octets | nothing | sent as it is, noted | refused (RFC 5321 §4.5.3.1.6) |
//! | more octets than SIZE allows | room | refused (RFC 1870 §6) | refused |
//!
//! No text is changed here: it may be signed, and most servers stand it. All
//! refusals come before MAIL.

use super::super::capabilities::SizeLimit;
use super::super::content::LINE_LIMIT;
use super::super::failure::{Failure, FailureKind, Phase};
use super::transaction::Message;
use super::{Dialogue, Output};

/// What a text needs and the server has not announced.
#[derive(Clone, Copy)]
enum Lack {
    EightBitHeader,
    EightBitText,
    LongLine,
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
        if self.plan.strict_content
            && let Some(lack) = self.lacks(message).next()
        {
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

    /// Write into the trace what goes to a server that may not stand it.
    pub(super) fn note_lacks(&mut self, message: &Message) {
        let notes: Vec<_> = self
            .lacks(message)
            .map(|lack| Output::Note(lack.note()))
            .collect();
        self.outputs.extend(notes);
    }

    fn lacks(&self, message: &Message) -> impl Iterator<Item = Lack> + use<> {
        let offered = &self.capabilities;
        [
            (message.header_eight_bit && !offered.smtputf8).then_some(Lack::EightBitHeader),
            (message.eight_bit && !offered.eight_bit_mime).then_some(Lack::EightBitText),
            (message.longest_line > LINE_LIMIT).then_some(Lack::LongLine),
        ]
        .into_iter()
        .flatten()
    }
}
