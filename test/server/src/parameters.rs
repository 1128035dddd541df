//! The parameters of MAIL and RCPT: RFC 1870 (SIZE), 3461 and 6533 (DSN), 4954
//! (AUTH), 6152 (BODY), 6531 (SMTPUTF8), 6710 (MT-PRIORITY), 8689 (REQUIRETLS).
//! A parameter is good when its extension was announced, its value is one, and it
//! is said once.

use crate::session::Session;
use crate::transaction::Refusal;

/// Longest ENVID and ORCPT (RFC 3461 §5.4).
const MAX_ENVID: usize = 100;
const MAX_ORCPT: usize = 500;

const UNKNOWN: Refusal = (555, "5.5.4", "Unknown parameter");
const NOT_HERE: Refusal = (555, "5.5.4", "Parameter of an extension that is not here");
const BAD_VALUE: Refusal = (501, "5.5.4", "Bad value of a parameter");

/// A parameter as keyword, in upper case, and value.
fn split(parameter: &str) -> (String, Option<&str>) {
    let (keyword, value) = parameter
        .split_once('=')
        .map_or((parameter, None), |(name, value)| (name, Some(value)));
    (keyword.to_ascii_uppercase(), value)
}

fn is_one_of(value: &str, known: &[&str]) -> bool {
    known.iter().any(|one| value.eq_ignore_ascii_case(one))
}

impl Session {
    pub(crate) fn check_mail_parameters(&self, parameters: &[String]) -> Result<(), Refusal> {
        self.check_once(parameters)?;
        let mut checked = parameters.iter();
        checked.try_for_each(|parameter| self.check_mail_parameter(parameter))
    }

    /// With SMTPUTF8, ORCPT may have characters beyond ASCII.
    pub(crate) fn check_rcpt_parameters(
        &self,
        parameters: &[String],
        is_smtputf8: bool,
    ) -> Result<(), Refusal> {
        self.check_once(parameters)?;
        for parameter in parameters {
            let (keyword, value) = split(parameter);
            if !matches!(keyword.as_str(), "NOTIFY" | "ORCPT") {
                return Err(UNKNOWN);
            }
            self.check_allowed("DSN", &keyword)?;
            let value = value.unwrap_or_default();
            let is_good = match keyword.as_str() {
                "NOTIFY" => is_notify(value),
                _ => is_original_recipient(value, is_smtputf8),
            };
            if !is_good {
                return Err(BAD_VALUE);
            }
        }
        Ok(())
    }

    fn check_once(&self, parameters: &[String]) -> Result<(), Refusal> {
        let mut keywords: Vec<_> = parameters.iter().map(|one| split(one).0).collect();
        keywords.sort_unstable();
        keywords.dedup();
        match keywords.len() == parameters.len() {
            true => Ok(()),
            false => Err((501, "5.5.4", "A parameter is there twice")),
        }
    }

    /// Announced, and not refused all the same.
    fn check_allowed(&self, extension: &str, keyword: &str) -> Result<(), Refusal> {
        let refused = &self.server.options.refused_parameters;
        if !self.announces(extension) {
            return Err(NOT_HERE);
        }
        match refused.iter().any(|one| one.eq_ignore_ascii_case(keyword)) {
            true => Err(UNKNOWN),
            false => Ok(()),
        }
    }

    fn check_mail_parameter(&self, parameter: &str) -> Result<(), Refusal> {
        let (keyword, value) = split(parameter);
        let extension = match (keyword.as_str(), value) {
            ("BODY", Some(body)) if body.eq_ignore_ascii_case("BINARYMIME") => "BINARYMIME",
            ("BODY", _) => "8BITMIME",
            ("RET" | "ENVID", _) => "DSN",
            (keyword @ ("SIZE" | "SMTPUTF8" | "AUTH" | "MT-PRIORITY" | "REQUIRETLS"), _) => keyword,
            _ => return Err(UNKNOWN),
        };
        self.check_allowed(extension, &keyword)?;
        let is_good = match (keyword.as_str(), value) {
            ("SMTPUTF8", value) => value.is_none(),
            // RFC 8689 §2: only within TLS.
            ("REQUIRETLS", value) => value.is_none() && self.channel.is_tls(),
            (_, None) => false,
            ("SIZE", Some(size)) => match size.parse::<u64>() {
                Ok(size) if self.is_too_big_to_announce(size) => {
                    return Err((552, "5.3.4", "Message too big"));
                }
                parsed => parsed.is_ok(),
            },
            ("BODY", Some(body)) => is_one_of(body, &["7BIT", "8BITMIME", "BINARYMIME"]),
            ("RET", Some(ret)) => is_one_of(ret, &["FULL", "HDRS"]),
            ("ENVID", Some(id)) => id.len() <= MAX_ENVID && is_xtext(id),
            // RFC 6710 §6: a sign only before a number from -9 to -1.
            ("MT-PRIORITY", Some(number)) => {
                matches!(number.as_bytes(), [b'0'..=b'9'] | [b'-', b'1'..=b'9'])
            }
            _ => true,
        };
        match is_good {
            true => Ok(()),
            false => Err(BAD_VALUE),
        }
    }

    fn is_too_big_to_announce(&self, size: u64) -> bool {
        let options = &self.server.options;
        !options.size_at_dot && options.max_size.is_some_and(|limit| size > limit)
    }
}

/// NEVER alone, or a list without repetition (RFC 3461 §4.1).
fn is_notify(value: &str) -> bool {
    if value.eq_ignore_ascii_case("NEVER") {
        return true;
    }
    let mut cases: Vec<_> = value.split(',').map(str::to_ascii_uppercase).collect();
    let known = cases
        .iter()
        .all(|one| is_one_of(one, &["SUCCESS", "FAILURE", "DELAY"]));
    let count = cases.len();
    cases.sort_unstable();
    cases.dedup();
    known && cases.len() == count
}

/// A type, and an address in its encoding (RFC 3461 §4.2, RFC 6533 §3).
fn is_original_recipient(value: &str, is_smtputf8: bool) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    value.len() <= MAX_ORCPT
        && !address.is_empty()
        && match kind.to_ascii_lowercase().as_str() {
            "utf-8" => is_unitext(address) && (is_smtputf8 || address.is_ascii()),
            "rfc822" => is_xtext(address),
            _ => false,
        }
}

fn is_xtext(text: &str) -> bool {
    let mut octets = text.bytes();
    let is_hexadecimal = |octet: Option<u8>| matches!(octet, Some(b'0'..=b'9' | b'A'..=b'F'));
    while let Some(octet) = octets.next() {
        let is_good = match octet {
            b'+' => is_hexadecimal(octets.next()) && is_hexadecimal(octets.next()),
            b'=' => false,
            other => (b'!'..=b'~').contains(&other),
        };
        if !is_good {
            return false;
        }
    }
    true
}

/// utf-8-addr-unitext, which utf-8-addr-xtext is a part of.
fn is_unitext(text: &str) -> bool {
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(embedded) = rest.strip_prefix("\\x{") {
            let Some((digits, after)) = embedded.split_once('}') else {
                return false;
            };
            let point = u32::from_str_radix(digits, 16)
                .ok()
                .and_then(char::from_u32);
            if point.is_none() || digits.to_ascii_uppercase() != digits {
                return false;
            }
            rest = after;
        } else {
            if matches!(first, '+' | '=' | '\\') || first.is_ascii() && !first.is_ascii_graphic() {
                return false;
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_notify() {
        for (value, good) in [
            ("never", true),
            ("SUCCESS,failure,DELAY", true),
            ("SUCCESS,SUCCESS", false),
            ("NEVER,SUCCESS", false),
            ("", false),
            ("SUCCESS,", false),
        ] {
            assert_eq!(is_notify(value), good, "{value}");
        }
    }

    #[test]
    fn values_of_orcpt() {
        for (value, smtputf8, good) in [
            ("rfc822;a+2Bb@x", false, true),
            ("rfc822;a+2bb@x", false, false),
            ("rfc822;a+b@x", false, false),
            ("rfc822;", false, false),
            ("rfc822", false, false),
            ("x400;a", false, false),
            ("rfc822;é@x", true, false),
            ("utf-8;é\\x{2B}@x", true, true),
            ("utf-8;é@x", false, false),
            ("utf-8;\\x{E9}@x", false, true),
            ("utf-8;é\\@x", true, false),
            ("utf-8;é\\x{2b}@x", true, false),
            ("utf-8;é+@x", true, false),
        ] {
            assert_eq!(is_original_recipient(value, smtputf8), good, "{value}");
        }
    }
}
