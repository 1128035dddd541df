//! How much a connection is given, and what it is spared: windows, limits of the
//! server, and speed-ups that it has got wrong.

use super::Courier;
use crate::delivery::request::Text;
use crate::delivery::servers;
use crate::delivery::session::Session;
use crate::smtp::dialogue::{MAX_MESSAGES_IN_FLIGHT, MessageId, SpeedUp};
use crate::smtp::failure::Failure;

/// Octets of texts given to a connection at once, where these are of more than
/// two messages: they are in memory.
pub(super) const MAX_OCTETS_ABOARD: u64 = 16 * 1024 * 1024;

impl Courier<'_> {
    /// Whether the connection has had as many messages as the server takes
    /// (RFC 9422, MAILMAX).
    pub(super) fn is_spent(&self, session: &Session<'_>) -> bool {
        let limit = session.dialogue().capabilities().max_transactions;
        limit.is_some_and(|limit| self.given >= limit)
    }

    /// The server gets `speed_up` wrong: it is spared it from now on.
    pub(super) fn switch_off(
        &mut self,
        speed_up: SpeedUp,
        failure: &Failure,
        session: &mut Session<'_>,
    ) {
        let name = speed_up.name();
        session.note(&format!(
            "{name} is announced and does not work: {failure}; from now on without"
        ));
        let (host, port) = (&self.request.host, self.request.port);
        servers::switch_off(host, port, speed_up, &failure.to_string());
        self.plan.without.push(speed_up);
    }

    /// Give the connection as many messages as it may have at once.
    pub(super) fn feed(&mut self, session: &mut Session<'_>) {
        let capabilities = session.dialogue().capabilities().clone();
        let window = session.dialogue().message_window();
        while self.aboard.len() < window
            && !self.mailbox.is_closing()
            && !self.is_spent(session)
            && (self.aboard.len() < 2 || self.octets_aboard() < MAX_OCTETS_ABOARD)
            && let Some(place) = self.line.front().copied()
        {
            // The disk rings when it has done its part.
            if !self.aboard.is_empty() && self.awaits_disk(place) {
                return;
            }
            self.line.pop_front();
            if !self.load(place) {
                continue;
            }
            let mail = &mut self.mails[place];
            if let (Some(message), Some(content)) = (
                mail.next_message(place as MessageId, &capabilities),
                mail.content.clone(),
            ) {
                if let Text::Entry(name) = &mail.object.text {
                    session.note(&format!("message {name}"));
                }
                session.send(message, content);
                self.given += 1;
                self.aboard.push_back(place);
            }
        }
    }

    fn octets_aboard(&self) -> u64 {
        self.octets_of(self.aboard.iter())
    }

    /// Octets of the texts that are in memory: given to the connection, or to be given to
    /// it next.
    pub(super) fn octets_in_memory(&self) -> u64 {
        let ahead = self.line.iter().take(MAX_MESSAGES_IN_FLIGHT);
        self.octets_of(self.aboard.iter().chain(ahead))
    }

    fn octets_of<'a>(&self, places: impl Iterator<Item = &'a usize>) -> u64 {
        let contents = places.filter_map(|place| self.mails[*place].content.as_ref());
        contents.map(|content| content.facts.wire_len).sum()
    }
}
