//! JSON out (RFC 8259): just what the envelope, the ready line and the report
//! need.  Nothing is read.

use std::fmt::Write;

/// One JSON value, written as it is built.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if u32::from(control) < 0x20 => {
                write!(out, "\\u{:04x}", u32::from(control)).expect("a String takes all")
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A string or null.
pub(crate) fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), string)
}

/// An array of values that are JSON already.
pub(crate) fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// An array of strings.
pub(crate) fn strings(texts: &[String]) -> String {
    array(texts.iter().map(|text| string(text)))
}

/// An object; the values are JSON already.
pub(crate) fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("{}:{value}", string(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(string("a\"b\\c\r\u{1}é"), "\"a\\\"b\\\\c\\u000d\\u0001é\"");
    }

    #[test]
    fn values_nest() {
        let value = object(&[
            ("a", array(["1".into(), optional(None)])),
            ("b", strings(&[])),
        ]);
        assert_eq!(value, r#"{"a":[1,null],"b":[]}"#);
    }
}
