//! The texts of messages, brought into reach when their turn comes.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use super::Courier;
use super::feeding::MAX_OCTETS_ABOARD;
use crate::delivery::body::Body;
use crate::delivery::entries::{Entries, Entry};
use crate::delivery::mailbox::Verdict;
use crate::delivery::request::{Content, Text};
use crate::smtp::dialogue::MAX_MESSAGES_IN_FLIGHT;
use crate::smtp::failure::{Failure, FailureKind, Phase};

/// Longest quiet in which entries are marked before anything of them can go out: who
/// is asked for a password may think for hours, and a crash leaves them unknown.
const MAX_MARKED_IN_VAIN: Duration = Duration::from_secs(1);

/// What can be done while a connection is quiet, most urgent first.
pub(super) enum Leisure {
    /// Tell the next end that was written down.
    Tell,
    /// Bring the text of the mail at this place into memory.
    Load(usize),
    /// Take back what was marked and does not go out.
    FallBack,
}

impl Leisure {
    /// How long the connection must have been quiet before.
    pub(super) fn patience(&self) -> Duration {
        match self {
            Self::Tell | Self::Load(_) => Duration::ZERO,
            Self::FallBack => MAX_MARKED_IN_VAIN,
        }
    }
}

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

    /// Claim and mark entries while the connection begins: the disk then has its time
    /// while the network has its own.
    pub(super) fn mark_ahead(&mut self) {
        if let Some(entries) = &self.entries {
            entries.borrow_mut().mark_ahead();
        }
    }

    /// Nothing goes out soon: what was marked for that is not being sent.
    pub(super) fn fall_back(&mut self) {
        if let Some(entries) = &self.entries {
            entries.borrow_mut().fall_back();
        }
    }

    /// What there is to do once nothing goes either way.
    pub(super) fn leisure(&self) -> Option<Leisure> {
        if !self.untold.is_empty() {
            return Some(Leisure::Tell);
        }
        if let Some(place) = self.next_to_load() {
            return Some(Leisure::Load(place));
        }
        let entries = self.entries.as_ref()?;
        entries.borrow_mut().is_ahead().then_some(Leisure::FallBack)
    }

    /// Do it: nothing has gone either way for as long as it may wait.
    pub(super) fn use_leisure(&mut self, leisure: Leisure) {
        match leisure {
            Leisure::Tell => self.tell_next(),
            Leisure::Load(place) => {
                if !self.load(place) {
                    self.line.retain(|other| *other != place);
                }
            }
            Leisure::FallBack => self.fall_back(),
        }
    }

    /// The first mail of those that the connection will be given next, and whose text is
    /// not in memory and can be had at once.
    fn next_to_load(&self) -> Option<usize> {
        let entries = self.entries.as_ref()?;
        let mut ahead = self.line.iter().copied().take(MAX_MESSAGES_IN_FLIGHT);
        let place = ahead.find(|place| self.mails[*place].content.is_none())?;
        let Text::Entry(name) = &self.mails[place].object.text else {
            return None;
        };
        let may_be = !self.mailbox.is_closing()
            && self.octets_in_memory() < MAX_OCTETS_ABOARD
            && entries.borrow_mut().is_at_hand(name);
        may_be.then_some(place)
    }

    /// Whether the text of the mail at `place` cannot be had before the disk has done
    /// something.
    pub(super) fn awaits_disk(&self, place: usize) -> bool {
        let mail = &self.mails[place];
        match (&mail.content, &mail.object.text, &self.entries) {
            (None, Text::Entry(name), Some(entries)) => entries.borrow_mut().is_under_way(name),
            _ => false,
        }
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
