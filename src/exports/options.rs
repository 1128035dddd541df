//! What a message asks of the server: the plist :options of a message.

use emacs::{Error, Result};

use super::lisp::Plist;
use crate::smtp::options::{DeliveryOptions, Dsn, EnvelopeId, Notify, Priority, Returned};

/// The options of the message that `plist` describes; none, without :options.
///
/// # Errors
/// Our own Lisp gave something of the wrong type, or a value that SMTP cannot say.
pub(super) fn parse(plist: Plist<'_>) -> Result<DeliveryOptions> {
    let options = plist.value(":options")?;
    if !options.is_not_nil() {
        return Ok(DeliveryOptions::default());
    }
    let options = Plist::new(options);
    let priority = options.optional::<i64>(":priority")?;
    Ok(DeliveryOptions {
        dsn: options.flag(":dsn")?.then(|| dsn(options)).transpose()?,
        priority: match priority.map(Priority::new) {
            None => None,
            Some(Some(priority)) => Some(priority),
            Some(None) => return Err(Error::msg("no such priority")),
        },
        require_tls: options.flag(":require-tls")?,
    })
}

/// The wish for reports: :dsn, a list of the names of `smtpmail-dsn`, with :envelope-id.
fn dsn(options: Plist<'_>) -> Result<Dsn> {
    let words = options.strings(":dsn")?;
    let has = |word: &str| words.iter().any(|other| other == word);
    let (success, failure, delay) = (has("success"), has("failure"), has("delay"));
    let envelope_id = options.optional::<String>(":envelope-id")?;
    Ok(Dsn {
        notify: match success || failure || delay {
            _ if has("never") => Notify::Never,
            true => Notify::When {
                success,
                failure,
                delay,
            },
            false => Notify::Unsaid,
        },
        returned: match (has("full"), has("headers")) {
            (true, _) => Some(Returned::Full),
            (false, true) => Some(Returned::Headers),
            (false, false) => None,
        },
        // A Message-ID that cannot be said there is no reason to stay.
        envelope_id: envelope_id.and_then(|text| EnvelopeId::new(&text)),
        demanded: has("required"),
    })
}
