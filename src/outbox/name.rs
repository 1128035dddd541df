//! Names of files in the directory: which are ours, and how new ones are made.
//!
//! | name | what it is |
//! |---|---|
//! | `NAME` | an entry's text, while any program may send it |
//! | `.smtpmail-NAME.text` | its text while no other program may |
//! | `.smtpmail-NAME.done` | its text when it was accepted or dropped, about to go |
//! | `NAME.el` | its metadata |
//! | `.smtpmail-UNIQUE.new` | a file being written |
//! | `.smtpmail-UNIQUE.window` | which entries were about to be sent |
//! | `.smtpmail-lock` | the directory's lock, never deleted |
//! | `.smtpmail-set-aside` | index lines that led nowhere |

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::entry::EntryName;
use super::metadata::Microseconds;
use crate::calendar::civil_date;

const OURS: &str = ".smtpmail-";
const TEXT: &str = ".text";
const DONE: &str = ".done";
const NEW: &str = ".new";
const WINDOW: &str = ".window";

/// Guards index and names.
pub(super) const LOCK: &str = ".smtpmail-lock";
/// Keeps the index lines that were taken out of the index unsent.
pub(super) const SET_ASIDE: &str = ".smtpmail-set-aside";

/// One file of the directory, by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Metadata(EntryName),
    HiddenText(EntryName),
    Done(EntryName),
    New,
    Window,
    /// Anything else; perhaps an entry's text, perhaps none of our business.
    Other,
}

impl FileKind {
    pub(super) fn of(file: &str) -> Self {
        if let Some(rest) = file.strip_prefix(OURS) {
            return if rest.ends_with(NEW) {
                Self::New
            } else if rest.ends_with(WINDOW) {
                Self::Window
            } else if let Some(name) = rest.strip_suffix(TEXT).and_then(EntryName::new) {
                Self::HiddenText(name)
            } else if let Some(name) = rest.strip_suffix(DONE).and_then(EntryName::new) {
                Self::Done(name)
            } else {
                Self::Other
            };
        }
        file.strip_suffix(".el")
            .and_then(EntryName::new)
            .map_or(Self::Other, Self::Metadata)
    }
}

pub(super) fn metadata_file(name: &EntryName) -> String {
    format!("{name}.el")
}

pub(super) fn hidden_text(name: &EntryName) -> String {
    format!("{OURS}{name}{TEXT}")
}

pub(super) fn done(name: &EntryName) -> String {
    format!("{OURS}{name}{DONE}")
}

pub(super) fn new_file(unique: &str) -> String {
    format!("{OURS}{unique}{NEW}")
}

pub(super) fn window(unique: &str) -> String {
    format!("{OURS}{unique}{WINDOW}")
}

/// The name before a maildir's flags: mu and mbsync rename `NAME` to `NAME:2,S`
/// (`;` or `!` where a colon is no character for names).
pub(super) fn without_maildir_flags(file: &str) -> Option<&str> {
    [":2,", ";2,", "!2,"].iter().find_map(|flags| {
        let (name, letters) = file.rsplit_once(flags)?;
        let plain = letters.bytes().all(|letter| letter.is_ascii_alphabetic());
        (plain && !name.is_empty()).then_some(name)
    })
}

/// Whether a name has the form that [`fresh_entry_name`] gives.
pub(super) fn is_ours(name: &EntryName) -> bool {
    matches_template(name.as_str(), "0000-00-00_00-00-00Z_000000-xxxxxxxx")
}

/// Whether a name has the form that the built-in gives on any system.
pub(super) fn is_built_ins(name: &EntryName) -> bool {
    let Some((time, counter)) = name.as_str().rsplit_once('_') else {
        return false;
    };
    (matches_template(time, "0000-00-00_00:00:00") || matches_template(time, "0000-00-00_00!00!00"))
        && !counter.is_empty()
        && counter.bytes().all(|byte| byte.is_ascii_digit())
}

/// `0` is any digit, `x` any lower-case hexadecimal digit.
fn matches_template(text: &str, template: &str) -> bool {
    text.len() == template.len()
        && text
            .bytes()
            .zip(template.bytes())
            .all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                _ => byte == wanted,
            })
}

/// A text that this machine has not given before and no other is likely to:
/// the caller still insists on creating the file anew (`O_EXCL`).
pub(super) fn unique() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{count:x}-{:016x}", std::process::id(), random())
}

/// `YYYY-MM-DD_hh-mm-ssZ_MICROS-RANDOM`: sorts by time, UTC, and has no
/// character that any file system refuses. No program but ours makes such names.
pub(super) fn fresh_entry_name(queued: Microseconds) -> EntryName {
    let seconds = queued.0 / 1_000_000;
    let (year, month, day) = civil_date(seconds / 86_400);
    // Past the year 9999 the names only stop sorting, so the year may wrap.
    let name = format!(
        "{:04}-{month:02}-{day:02}_{:02}-{:02}-{:02}Z_{:06}-{:08x}",
        year % 10_000,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        queued.0 % 1_000_000,
        random() >> 32,
    );
    EntryName::new(&name).expect("digits, dashes and letters only")
}

/// Now, but later than any time that this process got before: entries keep
/// their order when the clock is set back.
pub(super) fn next_moment() -> Microseconds {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = Microseconds::of(SystemTime::now()).0;
    let before = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
            Some(now.max(last + 1))
        })
        .expect("the closure never declines");
    Microseconds(now.max(before + 1))
}

/// The standard library seeds each of its hashers from the system's randomness.
fn random() -> u64 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(Microseconds::of(SystemTime::now()).0);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_makers_apart() {
        let ours = fresh_entry_name(Microseconds(1_790_000_000_123_456));
        assert!(
            ours.as_str().starts_with("2026-09-21_14-13-20Z_123456-"),
            "{ours}"
        );
        assert!(is_ours(&ours) && !is_built_ins(&ours));
        for stock in ["2026-11-22_18:43:46_1", "2026-11-22_18!43!46_120"] {
            let name = EntryName::new(stock).expect("legal");
            assert!(is_built_ins(&name) && !is_ours(&name), "{stock}");
        }
        for other in [
            "message",
            "2026-11-22_18:43:46_",
            "2026-11-22_18-43-46Z_123456-9F3C21AB",
        ] {
            let name = EntryName::new(other).expect("legal");
            assert!(!is_built_ins(&name) && !is_ours(&name), "{other}");
        }
    }

    #[test]
    fn a_thousand_names_of_one_moment_differ() {
        let names: std::collections::HashSet<_> = (0..1000)
            .map(|_| fresh_entry_name(Microseconds(7)))
            .collect();
        assert_eq!(names.len(), 1000);
    }

    #[test]
    fn moments_only_grow() {
        let moments: Vec<_> = (0..1000).map(|_| next_moment()).collect();
        assert!(moments.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn files_are_known_by_their_names() {
        let name = EntryName::new("a").expect("legal");
        assert_eq!(
            FileKind::of(&metadata_file(&name)),
            FileKind::Metadata(name.clone())
        );
        assert_eq!(
            FileKind::of(&hidden_text(&name)),
            FileKind::HiddenText(name.clone())
        );
        assert_eq!(FileKind::of(&done(&name)), FileKind::Done(name.clone()));
        assert_eq!(FileKind::of(&new_file(&unique())), FileKind::New);
        assert_eq!(FileKind::of(&window(&unique())), FileKind::Window);
        for other in [
            "a",
            "index",
            LOCK,
            SET_ASIDE,
            ".emacs.el",
            ".smtpmail-..text",
            "a:2,S",
        ] {
            assert_eq!(FileKind::of(other), FileKind::Other, "{other}");
        }
    }

    #[test]
    fn maildir_flags_are_seen() {
        assert_eq!(
            without_maildir_flags("2026-11-22_18:43:46_1:2,S"),
            Some("2026-11-22_18:43:46_1")
        );
        assert_eq!(without_maildir_flags("a.el:2,"), Some("a.el"));
        assert_eq!(without_maildir_flags("a!2,FS"), Some("a"));
        for plain in ["a", "2026-11-22_18:43:46_1", ":2,S", "a:2,S/"] {
            assert_eq!(without_maildir_flags(plain), None, "{plain}");
        }
    }
}
