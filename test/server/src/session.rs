//! One session: the greeting, the loop over commands, what the script makes of
//! a reply, and the commands that are neither AUTH nor part of a mail
//! transaction (RFC 5321, 2920, 3207).

use std::sync::Arc;

use crate::Shared;
use crate::channel::{Channel, Line, Stop};
use crate::path;
use crate::script::{Action, Ending, Place};
use crate::transaction::Transaction;

/// A flood ends when so much is sent: a client that still reads has lost.
const FLOOD_LIMIT: usize = 64 * 1024 * 1024;

/// How much of a flood goes out in one write.
const FLOOD_WRITE: usize = 64 * 1024;

/// The commands that the report counts by name.
const VERBS: [&str; 18] = [
    "AUTH", "BDAT", "DATA", "EHLO", "EXPN", "HELO", "HELP", "MAIL", "NOOP", "ONEX", "QUIT", "RCPT",
    "RSET", "STARTTLS", "VERB", "VRFY", "XUSR", "XVRB",
];

/// A reply as the script has it: what is done, and what it means.
#[derive(Debug)]
pub(crate) struct Plan {
    action: Option<Action>,
    reply: Vec<u8>,
    /// First digit of the code that the client will see; 0 when it sees none.
    /// What the server says, it does if it can: a scripted 250 has the effect
    /// of a 250.
    pub(crate) class: u8,
}

impl Plan {
    /// Whether the script has nothing to say at a place without a reply.
    pub(crate) fn is_nothing(&self) -> bool {
        self.action.is_none() && self.reply.is_empty()
    }
}

/// The state of one session.
pub(crate) struct Session {
    pub(crate) server: Arc<Shared>,
    pub(crate) number: u64,
    pub(crate) channel: Channel,
    pub(crate) helo: Option<String>,
    /// The extensions as they were last announced, first word in upper case.
    pub(crate) announced: Vec<String>,
    pub(crate) user: Option<String>,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) is_verbose: bool,
}

impl Session {
    pub(crate) fn new(server: Arc<Shared>, number: u64, channel: Channel) -> Self {
        Self {
            server,
            number,
            channel,
            helo: None,
            announced: Vec::new(),
            user: None,
            transaction: None,
            is_verbose: false,
        }
    }

    /// Serves the client until one of them ends it.
    pub(crate) fn run(mut self, implicit_tls: bool) {
        let begun = if implicit_tls {
            self.handshake()
        } else {
            Ok(())
        };
        let mut served = begun.and_then(|()| self.greet());
        let stop = loop {
            let turns = std::mem::take(&mut self.channel.turns);
            self.server.count(|report| report.turns += turns);
            match served {
                Ok(()) => served = self.serve_command(),
                Err(stop) => break stop,
            }
        };
        self.channel.end(stop);
    }

    fn greet(&mut self) -> Result<(), Stop> {
        let greeting = format!("220 {} ESMTP smtpmail test server\r\n", self.hostname());
        self.answer(&[Place::Greeting], greeting.into_bytes())
    }

    pub(crate) fn hostname(&self) -> &str {
        &self.server.options.hostname
    }

    /// A one-line reply, with the enhanced status code when those are
    /// announced (RFC 2034 §4).
    pub(crate) fn reply(&self, code: u16, status: &str, text: &str) -> Vec<u8> {
        if self.announces("ENHANCEDSTATUSCODES") && !status.is_empty() {
            format!("{code} {status} {text}\r\n").into_bytes()
        } else {
            format!("{code} {text}\r\n").into_bytes()
        }
    }

    /// Whether the extension was announced in this session as it is now.
    pub(crate) fn announces(&self, keyword: &str) -> bool {
        self.announced
            .iter()
            .any(|line| line.split(' ').next() == Some(keyword))
    }

    /// Looks up what the script wants at these places.
    pub(crate) fn plan(&self, places: &[Place], reply: Vec<u8>) -> Plan {
        match self.server.script.reached(places) {
            Some(
                action @ (Action::End(_) | Action::Garbage(_) | Action::Flood | Action::FloodLine),
            ) => Plan {
                action: Some(action),
                reply,
                class: 0,
            },
            Some(Action::Reply(scripted)) => Plan {
                class: class_of(&scripted),
                action: None,
                reply: scripted,
            },
            Some(Action::ReplyThen(scripted, ending)) => Plan {
                class: class_of(&scripted),
                action: Some(Action::ReplyThen(Vec::new(), ending)),
                reply: scripted,
            },
            action => Plan {
                class: class_of(&reply),
                action,
                reply,
            },
        }
    }

    /// Says, or does, what was planned.
    pub(crate) fn perform(&mut self, plan: Plan) -> Result<(), Stop> {
        let Plan {
            action, mut reply, ..
        } = plan;
        self.channel.pause(self.server.options.delay_all)?;
        let Some(action) = action else {
            self.say(&reply);
            return Ok(());
        };
        // What was said before goes out now, so that the times are right.
        self.channel.flush()?;
        match action {
            Action::Reply(_) => self.say(&reply),
            Action::ReplyThen(_, ending) => {
                self.say(&reply);
                return Err(Stop::Ending(ending));
            }
            Action::End(ending) | Action::AcceptThen(ending) => return Err(Stop::Ending(ending)),
            Action::Delay(duration) => {
                self.channel.log.event(&format!("delay {duration:?}"));
                self.channel.pause(duration)?;
                self.say(&reply);
            }
            Action::Drip(pause) => {
                self.channel.log.server(&reply);
                for byte in reply {
                    self.channel.say(&[byte]);
                    self.channel.flush()?;
                    self.channel.pause(pause)?;
                }
            }
            Action::Split(at, pause) => {
                self.channel.log.server(&reply);
                let (head, tail) = reply.split_at(at.min(reply.len()));
                self.channel.say(head);
                self.channel.flush()?;
                self.channel.pause(pause)?;
                self.channel.say(tail);
            }
            Action::Inject(more) => {
                reply.extend_from_slice(&more);
                self.say(&reply);
                self.channel.flush()?;
            }
            Action::Garbage(length) => {
                let mut bytes = vec![0; length];
                openssl::rand::rand_bytes(&mut bytes).map_err(std::io::Error::from)?;
                self.channel.log.event(&format!("{length} random bytes"));
                self.channel.say(&bytes);
                self.channel.flush()?;
            }
            Action::Flood => {
                let code = reply.get(..3).unwrap_or(b"250");
                let line = [code, b"-still not the last line of this reply\r\n"].concat();
                return self.flood(&line);
            }
            Action::FloodLine => return self.flood(b"250-no end of this line in sight "),
        }
        Ok(())
    }

    /// The common case: a reply that changes nothing.
    pub(crate) fn answer(&mut self, places: &[Place], reply: Vec<u8>) -> Result<(), Stop> {
        let plan = self.plan(places, reply);
        self.perform(plan)
    }

    fn say(&mut self, reply: &[u8]) {
        if !reply.is_empty() {
            self.channel.log.server(reply);
            self.channel.say(reply);
        }
    }

    fn flood(&mut self, piece: &[u8]) -> Result<(), Stop> {
        self.channel.log.event("flood");
        let write = piece.repeat(FLOOD_WRITE.div_ceil(piece.len()));
        for _ in 0..FLOOD_LIMIT.div_ceil(write.len()) {
            self.channel.say(&write);
            self.channel.flush()?;
        }
        Err(Stop::Ending(Ending::Close))
    }

    fn serve_command(&mut self) -> Result<(), Stop> {
        let line = match self.channel.read_line()? {
            Line::Good(line) => line,
            Line::BareEnd => {
                self.channel
                    .log
                    .event("a command line with a bare CR or LF");
                return self.answer(&[], self.reply(500, "5.5.2", "Only CRLF ends a line"));
            }
            Line::TooLong => {
                self.channel.log.event("a command line that is too long");
                return self.answer(&[], self.reply(500, "5.5.6", "Line too long"));
            }
        };
        self.channel.log.client(&line);
        let Ok(line) = String::from_utf8(line) else {
            return self.answer(&[], self.reply(500, "5.5.2", "Not UTF-8"));
        };
        let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        let counted = VERBS
            .iter()
            .find(|known| **known == verb)
            .copied()
            .unwrap_or("unknown");
        self.server
            .count(|report| *report.commands.entry(counted).or_default() += 1);
        self.dispatch(&verb, argument)
    }

    fn dispatch(&mut self, verb: &str, argument: &str) -> Result<(), Stop> {
        let needs_tls = matches!(verb, "MAIL" | "RCPT" | "DATA" | "AUTH" | "VRFY" | "EXPN");
        if needs_tls && self.lacks_tls() {
            // RFC 3207 §4.
            let reply = self.reply(530, "5.7.0", "Must issue a STARTTLS command first");
            let place = match verb {
                "MAIL" => vec![Place::Mail],
                "RCPT" => vec![Place::Rcpt],
                "DATA" => vec![Place::Data],
                "AUTH" => vec![Place::Auth],
                _ => vec![],
            };
            return self.answer(&place, reply);
        }
        match verb {
            "EHLO" | "HELO" => self.hello(verb == "EHLO", argument),
            "STARTTLS" => self.start_tls(argument),
            "AUTH" => self.authenticate(argument),
            "MAIL" => self.mail(argument),
            "RCPT" => self.rcpt(argument),
            "DATA" => self.data(argument),
            "BDAT" => self.bdat(argument),
            "RSET" => {
                let plan = self.plan(&[Place::Rset], self.reply(250, "2.0.0", "Ok"));
                if plan.class == 2 {
                    self.transaction = None;
                }
                self.perform(plan)
            }
            "NOOP" => self.answer(&[Place::Noop], self.reply(250, "2.0.0", "Ok")),
            "VERB" | "XVRB" if self.announces(verb) => {
                let plan = self.plan(&[Place::Verb], self.reply(250, "2.0.0", "Verbose mode"));
                self.is_verbose |= plan.class == 2;
                self.perform(plan)
            }
            "VERB" | "XVRB" => self.answer(&[Place::Verb], self.reply(502, "5.5.1", "Not here")),
            "ONEX" | "XUSR" if self.announces(verb) => {
                self.answer(&[], self.reply(250, "2.0.0", "Ok"))
            }
            "VRFY" => self.answer(&[], self.reply(252, "2.5.0", "Try to send something")),
            "HELP" => self.answer(&[], self.reply(214, "2.0.0", "See RFC 5321")),
            "EXPN" => self.answer(&[], self.reply(502, "5.5.1", "Not here")),
            "QUIT" => {
                let plan = self.plan(&[Place::Quit], self.reply(221, "2.0.0", "Bye"));
                let is_over = plan.class == 2;
                self.perform(plan)?;
                if is_over {
                    Err(Stop::Ending(Ending::Close))
                } else {
                    Ok(())
                }
            }
            _ => self.answer(&[], self.reply(500, "5.5.2", "Command not recognized")),
        }
    }

    pub(crate) fn lacks_tls(&self) -> bool {
        self.server.options.require_tls && !self.channel.is_tls()
    }

    fn hello(&mut self, extended: bool, name: &str) -> Result<(), Stop> {
        let place = match (extended, self.channel.is_tls()) {
            (true, true) => Place::EhloTls,
            (true, false) => Place::Ehlo,
            (false, _) => Place::Helo,
        };
        let is_named = path::is_address_literal(name) || (path::is_domain(name) && name.is_ascii());
        let reply = match (is_named, extended) {
            (false, _) => b"501 Syntax: EHLO and a domain or an address literal\r\n".to_vec(),
            (true, true) => self.ehlo_reply(),
            (true, false) => format!("250 {}\r\n", self.hostname()).into_bytes(),
        };
        let plan = self.plan(&[place], reply);
        if plan.class == 2 {
            // As after RSET (RFC 5321 §4.1.4).
            self.transaction = None;
            self.helo = Some(name.to_owned());
            self.announced = if extended {
                announced_in(&plan.reply)
            } else {
                Vec::new()
            };
        }
        self.perform(plan)
    }

    fn ehlo_reply(&self) -> Vec<u8> {
        let mut lines = vec![format!("{} greets you", self.hostname())];
        lines.extend(self.server.options.capabilities(self.channel.is_tls()));
        let last = lines.len() - 1;
        let reply: String = lines
            .iter()
            .enumerate()
            .map(|(at, line)| format!("250{}{line}\r\n", if at == last { ' ' } else { '-' }))
            .collect();
        reply.into_bytes()
    }

    fn start_tls(&mut self, argument: &str) -> Result<(), Stop> {
        let reply = if self.channel.is_tls() {
            self.reply(503, "5.5.1", "TLS is up already")
        } else if !self.announces("STARTTLS") {
            self.reply(502, "5.5.1", "Not here")
        } else if !argument.is_empty() {
            self.reply(501, "5.5.4", "STARTTLS takes no parameters")
        } else {
            self.reply(220, "2.0.0", "Ready to start TLS")
        };
        let plan = self.plan(&[Place::StartTls], reply);
        let is_agreed = plan.class == 2;
        self.perform(plan)?;
        if !is_agreed {
            return Ok(());
        }
        self.channel.flush()?;
        // What came in clear text behind the command must not be taken for
        // something that came within TLS (RFC 3207 §4.2).
        if !self.server.options.starttls_keeps_buffer {
            let length = self.channel.discard_input();
            if length > 0 {
                self.channel
                    .log
                    .event(&format!("discarded {length} bytes behind STARTTLS"));
            }
        }
        self.handshake()?;
        self.helo = None;
        self.announced.clear();
        self.user = None;
        self.transaction = None;
        Ok(())
    }

    fn handshake(&mut self) -> Result<(), Stop> {
        let plan = self.plan(&[Place::Handshake], Vec::new());
        if matches!(plan.action, Some(Action::Delay(_))) {
            self.perform(plan)?;
        } else if !plan.is_nothing() {
            self.channel.swallow_client_hello()?;
            self.perform(plan)?;
            return Err(Stop::Ending(Ending::Close));
        }
        self.channel.start_tls(&self.server.certificates.acceptor)
    }
}

/// First digit of the code on the last line; 0 where there is none.
fn class_of(reply: &[u8]) -> u8 {
    let last = reply.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    match last.and_then(<[u8]>::first) {
        Some(digit @ b'1'..=b'5') => digit - b'0',
        _ => 0,
    }
}

/// The extension lines of an EHLO reply, keyword in upper case.
fn announced_in(reply: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(reply);
    let lines = text.lines().skip(1).filter_map(|line| line.get(4..));
    lines
        .map(|line| {
            let length = line.find([' ', '=']).unwrap_or(line.len());
            line[..length].to_ascii_uppercase() + &line[length..]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_tells_the_class() {
        let table: [(&[u8], u8); 6] = [
            (b"250 ok\r\n", 2),
            (b"050 note\r\n250 ok\r\n", 2),
            (b"250-a\r\n550 b\r\n", 5),
            (b"354", 3),
            (b"", 0),
            (b"nonsense\r\n", 0),
        ];
        for (reply, class) in table {
            assert_eq!(class_of(reply), class, "{reply:?}");
        }
    }

    #[test]
    fn extensions_are_read_from_what_was_said() {
        let reply = b"250-AUTH is my name\r\n250-auth plain\r\n250 Auth=login\r\n";
        assert_eq!(announced_in(reply), ["AUTH plain", "AUTH=login"]);
    }
}
