//! The trace: what was said in both directions, with times, without secrets,
//! bounded. Plain text, a line each, for the buffer that users know.

use std::fmt::{Display, Write};
use std::time::{Duration, Instant};

use super::mailbox::{Event, Mailbox};
use crate::smtp::command::Command;
use crate::smtp::reply::Reply;
use crate::smtp::visible::visible;

/// Most octets of one delivery's trace; beyond it only the fact is noted.
const MAX_TRACE: usize = 1 << 20;

/// Longest line of a message's text shown.
const MAX_TEXT_LINE: usize = 200;

/// Writes lines with the seconds since the connection began.
pub(super) struct Trace {
    start: Instant,
    written: usize,
    /// Flights that were said and are not among the lines yet: the server need not
    /// wait until they are written down.
    said: Vec<(Duration, Vec<Command>)>,
    /// Lines that were not posted yet: one event for all of a flight.
    lines: String,
    stamp: Stamp,
}

/// A time, in milliseconds, as lines begin with it.
struct Stamp(u128, String);

impl Stamp {
    fn at(milliseconds: u128) -> Self {
        // In integers: floats are slow to write.
        let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
        Self(milliseconds, format!("{seconds:4}.{rest:03} "))
    }
}

impl Trace {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            written: 0,
            said: Vec::new(),
            lines: String::new(),
            stamp: Stamp::at(0),
        }
    }

    /// Post the lines that were not yet.
    pub fn post(&mut self, mailbox: &Mailbox) {
        self.write_down_said();
        if !self.lines.is_empty() {
            mailbox.post(Event::Trace(std::mem::take(&mut self.lines)));
        }
    }

    /// A fact about the connection, posted at once.
    pub fn note(&mut self, mailbox: &Mailbox, text: &str) {
        self.line('*', text);
        self.post(mailbox);
    }

    pub fn sent(&mut self, commands: Vec<Command>) {
        self.said.push((self.start.elapsed(), commands));
    }

    fn write_down_said(&mut self) {
        for (time, commands) in std::mem::take(&mut self.said) {
            for command in commands {
                self.line_at(time, 'C', &command);
            }
        }
    }

    pub fn received(&mut self, reply: &Reply, now: Instant) {
        self.write_down_said();
        for line in reply.trace_lines() {
            self.line_at(now - self.start, 'S', &line);
        }
    }

    /// The text of a message: its size, and its beginning up to `shown` octets.
    pub fn text(&mut self, text: &[u8], octets: u64, shown: usize) {
        let end = shown.min(text.len());
        for line in text[..end]
            .split(|octet| *octet == b'\n')
            .filter(|_| end > 0)
        {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.line('C', &visible(line, MAX_TEXT_LINE));
        }
        let rest = if end > 0 && end < text.len() {
            "… in all "
        } else {
            ""
        };
        self.line('C', &format!("<{rest}{octets} octets of message>"));
    }

    fn line(&mut self, side: char, text: &str) {
        self.write_down_said();
        self.line_at(self.start.elapsed(), side, &text);
    }

    fn line_at(&mut self, time: Duration, side: char, text: &dyn Display) {
        if self.written > MAX_TRACE {
            return;
        }
        let begin = self.lines.len();
        self.append(time, side, text);
        self.written += self.lines.len() - begin;
        if self.written > MAX_TRACE {
            self.lines.truncate(begin);
            self.append(time, '*', &"the trace ends here, it is too long");
        }
    }

    fn append(&mut self, time: Duration, side: char, text: &dyn Display) {
        // There may be thousands of lines in a few milliseconds.
        if time.as_millis() != self.stamp.0 {
            self.stamp = Stamp::at(time.as_millis());
        }
        self.lines.push_str(&self.stamp.1);
        let _ = writeln!(self.lines, "{side}: {text}");
    }
}
