//! What libraries and systems say, in words for people: without their file
//! names, line numbers and error numbers.

use std::fmt::Display;

use crate::smtp::visible::visible;

/// Most octets of another's words shown.
const MAX_WORDS: usize = 300;

/// The reason within an error: `No such file or directory (os error 2)` and
/// `error:NUMBER:library:function:reason:file:line:` lose all but it.
pub fn words(error: &impl Display) -> String {
    let text = error.to_string();
    let reason = match text.strip_prefix("error:") {
        // The first error is the nearest to the cause.
        Some(rest) => rest.split(':').nth(3).unwrap_or(rest),
        None => text.split(" (os error").next().unwrap_or(&text),
    };
    visible(reason.trim().to_lowercase().as_bytes(), MAX_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_reason_is_left() {
        let table = [
            ("Connection refused (os error 111)", "connection refused"),
            (
                "error:0A00045C:SSL routines:ssl3_read_bytes:tlsv13 alert certificate required:../ssl/record/rec_layer_s3.c:1602:SSL alert number 116",
                "tlsv13 alert certificate required",
            ),
            (
                "error:068000A8:asn1 encoding routines:asn1_check_tlen:wrong tag:../crypto/asn1/tasn_dec.c:1225:, error:0688010A:asn1",
                "wrong tag",
            ),
            ("unexpected EOF", "unexpected eof"),
            ("error:1", "1"),
            ("", ""),
        ];
        for (text, wanted) in table {
            assert_eq!(words(&text), wanted);
        }
    }
}
