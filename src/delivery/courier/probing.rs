//! A probe's way to its end: one connection, no message.

use super::{Courier, End};
use crate::delivery::mailbox::Event;
use crate::delivery::session::Session;
use crate::smtp::command::Command;
use crate::smtp::dialogue::Input;
use crate::smtp::reply::{Reply, ReplyClass};

impl Courier<'_> {
    /// Look at the server, and tell how that ended.
    pub(super) fn probe(&mut self) {
        let failure = loop {
            self.tries += 1;
            let end = self.connection();
            match self.reconsider(end) {
                End::Reconnect => {}
                End::Over => break None,
                End::Lost(failure) | End::GiveUp(failure) => break Some(failure),
            }
        };
        self.mailbox.post(Event::Probed(failure));
    }

    /// The connection is ready: try the envelope, if there is one to try.
    pub(super) fn begin_trial(&mut self, session: &mut Session<'_>) {
        if let Some(probe) = &self.request.probe {
            self.trial = probe.commands(session.dialogue().capabilities().smtputf8);
            self.say_next(session);
        }
    }

    /// Tell of the reply to a command of the envelope, and say the next one.
    pub(super) fn continue_trial(&mut self, reply: Reply, session: &mut Session<'_>) {
        let Some(command) = self.trial.pop_front() else {
            return;
        };
        let completed = reply.class() == ReplyClass::Completed;
        let mail = matches!(command, Command::Mail(..));
        self.mailbox.post(Event::Tried(command.to_string(), reply));
        // RCPT means nothing without a sender.
        if mail && !completed {
            self.trial.clear();
        }
        self.say_next(session);
    }

    fn say_next(&self, session: &mut Session<'_>) {
        if let Some(command) = self.trial.front() {
            session.feed(Input::Try(command.clone()));
        }
    }
}
