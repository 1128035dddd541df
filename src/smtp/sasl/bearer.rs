//! What XOAUTH2 and OAUTHBEARER share: the token, and the error challenge.

use super::{Conversation, Credentials, SaslError, one_too_many, shown};
use crate::smtp::secret::Secret;

/// The token, without the line end that many token commands print after it.
///
/// Error: it is empty or holds what would end its field (RFC 6750 §2.1 has
/// fewer characters still; providers do not keep to them).
pub(super) fn token(credentials: &Credentials) -> Result<&[u8], SaslError> {
    let token = credentials.secret.expose().trim_ascii();
    if token.is_empty() {
        return Err(SaslError::UnusableCredentials("The access token is empty"));
    }
    if !token.iter().all(u8::is_ascii_graphic) {
        return Err(SaslError::UnusableCredentials(
            "The access token holds a space, a control character or a character beyond ASCII",
        ));
    }
    Ok(token)
}

/// Refuses names that would end their field.
pub(super) fn check_field(text: &str) -> Result<(), SaslError> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err(SaslError::UnusableCredentials(
            "The user name holds a control character",
        ));
    }
    Ok(())
}

/// What an error challenge says, in words: the members of its flat JSON object
/// (RFC 7628 §3.2.2) that tell people something, or all of it where it is none.
fn reason(challenge: &[u8]) -> String {
    let members = core::str::from_utf8(challenge).ok().and_then(flat_object);
    let Some(members) = members else {
        return shown(challenge);
    };
    let named = |name: &str| {
        let member = members.iter().find(|(key, _)| key == name);
        member.map(|(_, value)| value.as_str())
    };
    let mut words: Vec<String> = ["status", "error", "error_description"]
        .into_iter()
        .filter_map(named)
        .map(str::to_owned)
        .collect();
    words.extend(named("scope").map(|scope| format!("scope {scope}")));
    match words.is_empty() {
        true => shown(challenge),
        false => shown(words.join(", ").as_bytes()),
    }
}

/// The members of a JSON object of strings and numbers (RFC 8259); nothing for any
/// other text.
fn flat_object(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut members = Vec::new();
    loop {
        let (key, after) = json_string(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        let (value, after) = match rest.starts_with('"') {
            true => json_string(rest)?,
            false => {
                let end = rest.find([',', '}'])?;
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        members.push((key, value));
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None => return (rest == "}").then_some(members),
        }
    }
}

/// A JSON string at the beginning of `text`, and what follows it.
fn json_string(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            // Behind the opening quotation mark, hence one further.
            '"' => return Some((value, &text[index + 2..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' | 'r' | 't' => ' ',
                // What it stands for is for machines.
                'u' => return None,
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Waits for the verdict. A challenge instead of it holds the reason of the
/// refusal; the server says 535 once it was answered.
pub(super) struct Verdict {
    answer: &'static [u8],
    error: Option<String>,
}

impl Verdict {
    pub(super) fn answering(answer: &'static [u8]) -> Self {
        Verdict {
            answer,
            error: None,
        }
    }
}

impl Conversation for Verdict {
    fn respond(&mut self, challenge: &[u8]) -> Result<Secret, SaslError> {
        if self.error.is_some() {
            return Err(one_too_many());
        }
        self.error = Some(reason(challenge));
        Ok(Secret::from(self.answer))
    }

    /// A success after a refusal contradicts itself.
    fn finished_ok(&self) -> Result<(), SaslError> {
        match &self.error {
            Some(error) => Err(SaslError::Refused(error.clone())),
            None => Ok(()),
        }
    }

    fn server_error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_challenges_in_words() {
        for (challenge, words) in [
            // RFC 7628 §4.3.
            (
                r#"{"status":"invalid_token","scope":"example_scope","openid-configuration":"https://example.com/.well-known/openid-configuration"}"#,
                "invalid_token, scope example_scope",
            ),
            // As Google documents it.
            (
                r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#,
                "400, scope https://mail.google.com/",
            ),
            (
                r#" { "status" : 401 , "error_description" : "a \"b\"" } "#,
                r#"401, a "b""#,
            ),
            (r#"{"status":"x\ty"}"#, "x y"),
            // As they came.
            (r#"{"schemes":"Bearer"}"#, r#"{"schemes":"Bearer"}"#),
            (r#"{"status":{"a":"b"}}"#, r#"{"status":{"a":"b"}}"#),
            (r#"{"status":"a"} "#, "a"),
            (r#"{"status":"a""#, r#"{"status":"a""#),
            (r#"{"status":"\u0041"}"#, r#"{"status":"\u0041"}"#),
            ("", ""),
            ("{", "{"),
            ("gone", "gone"),
        ] {
            assert_eq!(reason(challenge.as_bytes()), words, "{challenge}");
        }
    }
}
