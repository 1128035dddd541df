//! The arguments of MAIL and RCPT: a path and parameters (RFC 5321 §4.1.2).
//! As strict as the grammar, so that a sloppy client is told.

/// A path without its brackets, and the parameters behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) address: String,
    pub(crate) parameters: Vec<String>,
}

/// Reads `FROM:<a@b> SIZE=1`, given the keyword `FROM:`.
pub(crate) fn parse(argument: &str, keyword: &str) -> Result<Argument, &'static str> {
    let path = argument
        .get(..keyword.len())
        .filter(|start| start.eq_ignore_ascii_case(keyword))
        .map(|_| &argument[keyword.len()..])
        .ok_or("Keyword missing")?;
    let inside = path
        .strip_prefix('<')
        .ok_or("Path must follow the colon and begin with <")?;
    let end = closing_bracket(inside).ok_or("No closing >")?;
    let (address, rest) = (&inside[..end], &inside[end + 1..]);
    let parameters: Vec<String> = match rest.strip_prefix(' ') {
        Some(parameters) => parameters.split(' ').map(str::to_owned).collect(),
        None if rest.is_empty() => Vec::new(),
        None => return Err("A space must follow the path"),
    };
    if !parameters.iter().all(|parameter| is_parameter(parameter)) {
        return Err("Bad parameter syntax");
    }
    Ok(Argument {
        address: address.to_owned(),
        parameters,
    })
}

/// The first `>` outside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// esmtp-param, with UTF-8 in the value (RFC 6531 §3.3).
fn is_parameter(text: &str) -> bool {
    let (keyword, value) = text.split_once('=').unwrap_or((text, "-"));
    keyword.starts_with(|first: char| first.is_ascii_alphanumeric())
        && keyword
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || one == '-')
        && !value.is_empty()
        && !value.contains(|one: char| one == '=' || one == ' ' || one.is_control())
}

/// Whether this is a Mailbox, with a source route or without (RFC 5321 §4.1.2, RFC 6531 §3.3).
pub(crate) fn is_mailbox(address: &str) -> bool {
    let mailbox = match address.strip_prefix('@') {
        Some(route) => route.split_once(':').map_or("", |(_, mailbox)| mailbox),
        None => address,
    };
    mailbox.rsplit_once('@').is_some_and(|(local, domain)| {
        is_local_part(local) && (is_domain(domain) || is_address_literal(domain))
    })
}

fn is_local_part(text: &str) -> bool {
    if let Some(quoted) = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
    {
        let mut escaped = false;
        let sound = quoted.chars().all(|one| {
            let good = escaped || one != '"';
            escaped = !escaped && one == '\\';
            good && !one.is_control()
        });
        return sound && !escaped;
    }
    let is_atom_text = |one: char| {
        one.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(one) || !one.is_ascii()
    };
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atom_text))
}

/// Whether this is a Domain.  Underscores are kept by every real server.
pub(crate) fn is_domain(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|one| one.is_ascii_alphanumeric() || "-_".contains(one) || !one.is_ascii())
    })
}

/// Whether this is an address literal, by its brackets.
pub(crate) fn is_address_literal(text: &str) -> bool {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .is_some_and(|inside| {
            !inside.is_empty()
                && inside
                    .chars()
                    .all(|one| one.is_ascii_graphic() && !"[]\\".contains(one))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_arguments() {
        let table: [(&str, &str, &[&str]); 5] = [
            ("FROM:<>", "", &[]),
            ("from:<a@b> SIZE=1 SMTPUTF8", "a@b", &["SIZE=1", "SMTPUTF8"]),
            ("FROM:<\"a>b\"@c>", "\"a>b\"@c", &[]),
            ("FROM:<\"a\\\">b\"@c>", "\"a\\\">b\"@c", &[]),
            ("FROM:<é@b> AUTH=<>", "é@b", &["AUTH=<>"]),
        ];
        for (text, address, parameters) in table {
            let argument = parse(text, "FROM:").expect(text);
            assert_eq!(
                (argument.address.as_str(), argument.parameters.len()),
                (address, parameters.len())
            );
            assert_eq!(argument.parameters, parameters, "{text}");
        }
    }

    #[test]
    fn bad_arguments() {
        for text in [
            "",
            "FROM: <a@b>",
            "TO:<a@b>",
            "FROM:a@b",
            "FROM:<a@b",
            "FROM:<a@b>X",
            "FROM:<a@b> ",
            "FROM:<a@b>  SIZE=1",
            "FROM:<a@b> SIZE=",
            "FROM:<a@b> =1",
            "FROM:<a@b> A=B=C",
            "é",
        ] {
            assert!(parse(text, "FROM:").is_err(), "{text}");
        }
    }

    #[test]
    fn mailboxes() {
        for good in [
            "a@b",
            "a.b+c@d.org",
            "\"a b\"@c",
            "a@[127.0.0.1]",
            "@x,@y:a@b",
            "é@ü.de",
        ] {
            assert!(is_mailbox(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "@b",
            "a@",
            "a..b@c",
            ".a@c",
            "a b@c",
            "a@b c",
            "a@b..c",
            "a@-b",
            "\"a\"b\"@c",
            "\"a\\\"@c",
            "a@[]",
            "a<b@c",
            "@x:",
        ] {
            assert!(!is_mailbox(bad), "{bad}");
        }
    }
}
