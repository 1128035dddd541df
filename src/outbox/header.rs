//! Header fields for the list, of what is queued and of entries that other
//! programs queued.

use std::path::Path;

use super::disk::open_plain;
use super::entry::Facts;
use super::lock::is_held_here;

/// Headers of ordinary mail end long before; the rest would only be looked at in vain.
const MAX_HEADER_BYTES: u64 = 64 << 10;

/// Fills in what the text's header tells and the facts do not.
pub(super) fn complete(facts: &mut Facts, text: &Path) {
    // On network file systems closing the file would end our own lock of it.
    if is_held_here(text) {
        return;
    }
    let mut bytes = Vec::new();
    let Ok(file) = open_plain(text, false) else {
        return;
    };
    if std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_HEADER_BYTES), &mut bytes)
        .is_ok()
    {
        fill(facts, &bytes);
    }
}

/// Fills in what the header at the beginning of `text` tells.
pub(super) fn fill(facts: &mut Facts, text: &[u8]) {
    let limit = usize::try_from(MAX_HEADER_BYTES).unwrap_or(usize::MAX);
    let text = String::from_utf8_lossy(&text[..text.len().min(limit)]);
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            // RFC 5322 §2.2.3: unfolding takes the line end away, not the blank.
            if let Some((_, value)) = fields.last_mut() {
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((
                name.trim_end().to_ascii_lowercase(),
                value.trim_start().to_owned(),
            ));
        }
    }
    for (name, value) in fields {
        let fact = match name.as_str() {
            "from" => &mut facts.from,
            "message-id" => &mut facts.message_id,
            "subject" => &mut facts.subject,
            _ => continue,
        };
        fact.get_or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_unfolded_and_bodies_are_not_headers() {
        let mut facts = Facts {
            message_id: Some("<known>".into()),
            ..Facts::default()
        };
        let text =
            b"From: A <a@x>\nSUBJECT: one\n two\r\nMessage-Id: <other>\nno field\n\nFrom: b\n";
        fill(&mut facts, text);
        assert_eq!(facts.from.as_deref(), Some("A <a@x>"));
        assert_eq!(facts.subject.as_deref(), Some("one two"));
        assert_eq!(facts.message_id.as_deref(), Some("<known>"));
        for text in [&b""[..], b"\n\nFrom: x", b" folded", b"\xff\xfe: x\n"] {
            let mut facts = Facts::default();
            fill(&mut facts, text);
            assert_eq!(facts, Facts::default());
        }
    }
}
