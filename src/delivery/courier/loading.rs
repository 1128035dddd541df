//! The texts of messages, brought into reach when their turn comes.

use std::cell::RefCell;
use std::rc::Rc;

use super::Courier;
use crate::delivery::body::Body;
use crate::delivery::entries::{Entries, Entry};
use crate::delivery::mailbox::Verdict;
use crate::delivery::request::{Content, Text};
use crate::smtp::failure::{Failure, FailureKind, Phase};

impl Courier<'_> {
    /// Whether a message waits whose text can be had; those before it that have
    /// none come to their end.
    pub(super) fn load_first(&mut self) -> bool {
        while let Some(place) = self.line.front().copied() {
            if self.load(place) {
                return true;
            }
            self.line.pop_front();
        }
        false
    }

    /// The text of the mail at `place` is in memory; or the mail has failed.
    pub(super) fn load(&mut self, place: usize) -> bool {
        if self.mails[place].content.is_none() {
            match content(&mut self.mails[place].object.text, self.entries.as_ref()) {
                Ok(content) => self.mails[place].content = Some(Rc::new(content)),
                Err(failure) => {
                    self.finish(place, Verdict::Failed(failure));
                    return false;
                }
            }
        }
        true
    }
}

/// The text of a message and its facts.
fn content(text: &mut Text, entries: Option<&Rc<RefCell<Entries>>>) -> Result<Content, Failure> {
    let unsendable = |text| Failure::new(FailureKind::Content, Phase::Mail, text);
    let entry = match (&text, entries) {
        (Text::Entry(name), Some(entries)) => Some(Entry::new(entries, name)),
        _ => None,
    };
    let unreadable = |error| unsendable(format!("the text of the message cannot be read: {error}"));
    let text = match &entry {
        Some(entry) => Body::Memory(entry.text()?),
        None => text.body().map_err(unreadable)?,
    };
    let facts = text.survey().map_err(unreadable)?;
    match facts.first_nul {
        Some(offset) => Err(unsendable(format!(
            "the message contains a NUL character (octet {offset}), which no server has to take"
        ))),
        None => Ok(Content { text, facts, entry }),
    }
}
