//! The ends of messages: written down, where they are from the outbox, and reported.
//! The disk takes its time for that, in which what waits for a reply would stand still:
//! it has its turn while nothing goes either way on the connection.

use super::Courier;
use crate::delivery::entries::Entry;
use crate::delivery::mail::Mail;
use crate::delivery::mailbox::{Event, Verdict};
use crate::delivery::request::Text;
use crate::smtp::dialogue::MAX_MESSAGES_IN_FLIGHT;

/// Most ends that wait to be told: a crash leaves their messages unknown. As many as
/// come in at once.
const MAX_UNTOLD: usize = MAX_MESSAGES_IN_FLIGHT;

impl Courier<'_> {
    /// The mail at `place` is over: it is [told](Self::tell_next) when nothing else can
    /// be done, or its turn has come.
    pub(super) fn finish(&mut self, place: usize, verdict: Verdict) {
        let policy = self.plan.refused_recipients;
        let mail = &mut self.mails[place];
        let report = mail.report(verdict, policy, self.logged_in);
        mail.content = None;
        mail.is_over = true;
        self.finished = true;
        self.untold.push_back((place, report));
        if self.untold.len() > MAX_UNTOLD {
            self.tell_next();
        }
    }

    /// Write the end down that came first of those that are not told, and report it.
    pub(super) fn tell_next(&mut self) {
        let Some((place, mut report)) = self.untold.pop_front() else {
            return;
        };
        let object = &self.mails[place].object;
        if let (Some(entries), Text::Entry(name)) = (&self.entries, &object.text)
            && let Err(failure) = Entry::new(entries, name).settle(&report)
            && matches!(report.verdict, Verdict::Accepted(_))
        {
            // Marked as being sent and without an outcome, it is unknown to the
            // next reader; so it is for this one.
            report.verdict = Verdict::Unknown(failure);
        }
        let number = object.number;
        self.open.borrow_mut().retain(|open| *open != number);
        self.mailbox.post(Event::Finished(number, report));
        let left = self.line.len() + self.aboard.len() + self.later.len();
        let all_told = self.untold.is_empty() && !self.mails.iter().any(Mail::is_taken_in_part);
        if left > 0 && all_told {
            self.mailbox.renew_point_of_no_return();
        }
    }

    /// Tell all ends: what comes next may take long.
    pub(super) fn tell_all(&mut self) {
        while !self.untold.is_empty() {
            self.tell_next();
        }
    }
}
