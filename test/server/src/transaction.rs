//! The commands of a mail transaction: MAIL, RCPT, DATA, BDAT (RFC 5321 §3.3,
//! 3030), up to the stored message.

use std::path::PathBuf;

use crate::channel::Stop;
use crate::content::{Body, Facts, Step, TextReader};
use crate::path::{self, Argument};
use crate::script::Place;
use crate::session::{Plan, Session};
use crate::spool::Stored;

/// The largest message without an option: messages are kept in memory while
/// they come in.
const MESSAGE_LIMIT: u64 = 256 * 1024 * 1024;

/// A mail transaction from MAIL on.
#[derive(Debug)]
pub(crate) struct Transaction {
    from: String,
    mail_params: Vec<String>,
    to: Vec<String>,
    rcpt_params: Vec<Vec<String>>,
    is_smtputf8: bool,
    is_binary: bool,
    /// The chunks so far, once BDAT was used.
    chunks: Option<Body>,
    /// A chunk was refused: nothing but RSET helps (RFC 3030 §2).
    has_failed: bool,
}

/// A refusal: code, enhanced status code, text.
pub(crate) type Refusal = (u16, &'static str, &'static str);

impl Session {
    fn refuse(&self, (code, status, text): Refusal) -> Vec<u8> {
        self.reply(code, status, text)
    }

    pub(crate) fn mail(&mut self, argument: &str) -> Result<(), Stop> {
        let begun = self.check_mail(argument);
        let reply = match begun {
            Ok(_) => self.reply(250, "2.1.0", "Sender ok"),
            Err(refusal) => self.refuse(refusal),
        };
        let plan = self.plan(&[Place::Mail], reply);
        if plan.class == 2
            && let Ok(transaction) = begun
        {
            self.transaction = Some(transaction);
        }
        self.perform(plan)
    }

    fn check_mail(&self, argument: &str) -> Result<Transaction, Refusal> {
        if self.helo.is_none() {
            return Err((503, "5.5.1", "EHLO or HELO first"));
        }
        if self.transaction.is_some() {
            return Err((503, "5.5.1", "Nested MAIL"));
        }
        if self.server.options.require_auth && self.user.is_none() {
            return Err((530, "5.7.0", "Authentication required"));
        }
        let Argument {
            address,
            parameters,
        } = path::parse(argument, "FROM:").map_err(|problem| (501, "5.5.4", problem))?;
        if !address.is_empty() && !path::is_mailbox(&address) {
            return Err((501, "5.1.7", "Bad sender address"));
        }
        self.check_mail_parameters(&parameters)?;
        let has = |wanted: &str| {
            parameters
                .iter()
                .any(|one| one.eq_ignore_ascii_case(wanted))
        };
        let is_smtputf8 = has("SMTPUTF8");
        if !address.is_ascii() && !is_smtputf8 {
            return Err((553, "5.6.7", "Address needs SMTPUTF8"));
        }
        Ok(Transaction {
            from: address,
            is_smtputf8,
            is_binary: has("BODY=BINARYMIME"),
            mail_params: parameters,
            to: Vec::new(),
            rcpt_params: Vec::new(),
            chunks: None,
            has_failed: false,
        })
    }

    pub(crate) fn rcpt(&mut self, argument: &str) -> Result<(), Stop> {
        let parsed = path::parse(argument, "TO:");
        let mut places = Vec::new();
        if let Ok(parsed) = &parsed {
            places.push(Place::RcptAddress(parsed.address.clone()));
        }
        places.push(Place::Rcpt);
        let checked = parsed
            .map_err(|problem| (501, "5.5.4", problem))
            .and_then(|parsed| self.check_rcpt(&parsed).map(|()| parsed));
        let reply = match checked {
            Ok(_) => self.reply(250, "2.1.5", "Recipient ok"),
            Err(refusal) => self.refuse(refusal),
        };
        let plan = self.plan(&places, reply);
        if plan.class == 2
            && let (Ok(recipient), Some(transaction)) = (checked, &mut self.transaction)
        {
            transaction.to.push(recipient.address);
            transaction.rcpt_params.push(recipient.parameters);
        }
        self.perform(plan)
    }

    fn check_rcpt(
        &self,
        Argument {
            address,
            parameters,
        }: &Argument,
    ) -> Result<(), Refusal> {
        let Some(transaction) = &self.transaction else {
            return Err((503, "5.5.1", "MAIL first"));
        };
        if transaction.chunks.is_some() {
            return Err((503, "5.5.1", "Not between chunks"));
        }
        // RFC 5321 §4.1.1.3: the one address without a domain.
        if !address.eq_ignore_ascii_case("postmaster") && !path::is_mailbox(address) {
            return Err((501, "5.1.3", "Bad recipient address"));
        }
        if !address.is_ascii() && !transaction.is_smtputf8 {
            return Err((553, "5.6.7", "Address needs SMTPUTF8"));
        }
        self.check_rcpt_parameters(parameters, transaction.is_smtputf8)?;
        if self
            .server
            .options
            .max_rcpts
            .is_some_and(|limit| transaction.to.len() >= limit)
        {
            return Err((452, "4.5.3", "Too many recipients"));
        }
        Ok(())
    }

    pub(crate) fn data(&mut self, argument: &str) -> Result<(), Stop> {
        let reply = match &self.transaction {
            _ if !argument.is_empty() => self.reply(501, "5.5.4", "DATA takes no parameters"),
            None => self.reply(503, "5.5.1", "MAIL first"),
            Some(transaction) if transaction.chunks.is_some() => {
                self.reply(503, "5.5.1", "DATA and BDAT do not mix")
            }
            // RFC 3030 §3.
            Some(transaction) if transaction.is_binary => {
                self.reply(503, "5.5.1", "BINARYMIME needs BDAT")
            }
            Some(transaction) if transaction.to.is_empty() => {
                self.reply(554, "5.5.1", "No valid recipients")
            }
            Some(_) => self.reply(354, "", "End with a dot on a line of its own"),
        };
        let plan = self.plan(&[Place::Data], reply);
        let goes_on = plan.class == 3;
        self.perform(plan)?;
        if !goes_on {
            return Ok(());
        }
        let body = self.read_text()?;
        let plan = self.finish_message(Place::Dot, &body, "data");
        self.transaction = None;
        self.perform(plan)
    }

    /// The text behind 354, up to the final dot.
    fn read_text(&mut self) -> Result<Body, Stop> {
        let mut reader = TextReader::new(Body::new(self.message_limit()));
        let result = self.read_to_dot(&mut reader);
        let length = reader.body.received();
        match result {
            Ok(()) => self.log_content(length),
            Err(_) => self
                .channel
                .log
                .event(&format!("broken after {length} bytes of message")),
        }
        result.map(|()| reader.body)
    }

    fn read_to_dot(&mut self, reader: &mut TextReader) -> Result<(), Stop> {
        let mut offsets = self.server.script.text_offsets().into_iter().peekable();
        loop {
            match reader.take(self.channel.buffered()) {
                Step::Took(length) => self.channel.take(length),
                Step::NeedMore => self.channel.fill()?,
                Step::End(length) => {
                    self.channel.take(length);
                    return Ok(());
                }
            }
            while let Some(offset) = offsets.next_if(|at| *at <= reader.body.received()) {
                self.reach_text(offset)?;
            }
        }
    }

    fn reach_text(&mut self, offset: u64) -> Result<(), Stop> {
        let plan = self.plan(&[Place::Text(offset)], Vec::new());
        if plan.is_nothing() {
            return Ok(());
        }
        self.perform(plan)?;
        self.channel.flush()
    }

    fn message_limit(&self) -> u64 {
        self.server.options.max_size.unwrap_or(MESSAGE_LIMIT)
    }

    fn log_content(&mut self, length: u64) {
        self.channel
            .log
            .client(format!("<{length} bytes of message>").as_bytes());
    }

    pub(crate) fn bdat(&mut self, argument: &str) -> Result<(), Stop> {
        let (digits, last) = argument.split_once(' ').unwrap_or((argument, ""));
        let is_last = last.eq_ignore_ascii_case("LAST");
        let size = digits
            .parse::<u64>()
            .ok()
            .filter(|_| is_last || last.is_empty());
        let Some(size) = size else {
            let plan = self.plan(
                &[Place::Bdat],
                self.reply(501, "5.5.4", "Syntax: BDAT size [LAST]"),
            );
            return self.perform(plan);
        };
        let problem = self.check_bdat();
        // The octets follow whatever the reply will be (RFC 3030 §2).
        self.read_chunk(size, problem.is_none())?;
        let body = self
            .transaction
            .as_mut()
            .and_then(|transaction| transaction.chunks.take());
        let plan = match (problem, body) {
            (None, Some(body)) if is_last => {
                let plan = self.finish_message(Place::Bdat, &body, "bdat");
                self.transaction = None;
                return self.perform(plan);
            }
            (None, Some(body)) => {
                let reply = if body.is_too_big() {
                    self.reply(552, "5.3.4", "Message too big")
                } else {
                    self.reply(250, "2.0.0", &format!("{size} bytes received"))
                };
                self.put_back(body);
                self.plan(&[Place::Bdat], reply)
            }
            (problem, body) => {
                if let Some(body) = body {
                    self.put_back(body);
                }
                let refusal = problem.unwrap_or((503, "5.5.1", "MAIL first"));
                self.plan(&[Place::Bdat], self.refuse(refusal))
            }
        };
        if plan.class != 2
            && let Some(transaction) = &mut self.transaction
        {
            transaction.has_failed = true;
        }
        self.perform(plan)
    }

    fn put_back(&mut self, body: Body) {
        if let Some(transaction) = &mut self.transaction {
            transaction.chunks = Some(body);
        }
    }

    fn check_bdat(&self) -> Option<Refusal> {
        match &self.transaction {
            _ if !self.announces("CHUNKING") => Some((502, "5.5.1", "Not here")),
            _ if self.lacks_tls() => Some((530, "5.7.0", "Must issue a STARTTLS command first")),
            None => Some((503, "5.5.1", "MAIL first")),
            Some(transaction) if transaction.has_failed => Some((503, "5.5.1", "RSET first")),
            Some(transaction) if transaction.to.is_empty() => {
                Some((554, "5.5.1", "No valid recipients"))
            }
            Some(_) => None,
        }
    }

    /// Reads the octets of one chunk; keeps them where they belong to a message.
    fn read_chunk(&mut self, size: u64, keep: bool) -> Result<(), Stop> {
        let fresh = Body::new(self.message_limit());
        let kept = self.transaction.as_mut().filter(|_| keep);
        let mut body = kept
            .and_then(|transaction| transaction.chunks.take())
            .unwrap_or(fresh);
        let before = body.received();
        let offsets = self.server.script.text_offsets().into_iter();
        let mut offsets = offsets
            .skip_while(|at| before > 0 && *at <= before)
            .peekable();
        let mut left = size;
        while left > 0 {
            if self.channel.buffered().is_empty() {
                self.channel.fill()?;
            }
            let here = self.channel.buffered();
            let length = usize::try_from(left).map_or(here.len(), |left| left.min(here.len()));
            body.push(&here[..length]);
            self.channel.take(length);
            left -= length as u64;
            while let Some(offset) = offsets.next_if(|at| *at <= body.received()) {
                self.reach_text(offset)?;
            }
        }
        self.log_content(size);
        if keep {
            self.put_back(body);
        }
        Ok(())
    }

    /// Plans the reply to the end of the message, and stores it when that
    /// reply says so: it is in the spool before the client hears of it.
    fn finish_message(&mut self, place: Place, body: &Body, via: &'static str) -> Plan {
        let has_recipients = self
            .transaction
            .as_ref()
            .is_some_and(|one| !one.to.is_empty());
        let mut reply = if body.is_too_big() {
            self.reply(552, "5.3.4", "Message too big")
        } else if !has_recipients {
            self.reply(554, "5.5.1", "No valid recipients")
        } else {
            self.reply(250, "2.0.0", "Message stored")
        };
        if self.is_verbose {
            // As sendmail talks of its delivery before the reply proper.
            reply.splice(0..0, *b"050 Storing the message\r\n");
        }
        let plan = self.plan(&[place], reply);
        if plan.class == 2
            && !body.is_too_big()
            && let Err(error) = self.store(body.bytes(), via)
        {
            self.channel.log.event(&format!("cannot store: {error}"));
            return self.plan(&[], self.reply(451, "4.3.0", "Cannot store the message"));
        }
        plan
    }

    fn store(&mut self, bytes: &[u8], via: &'static str) -> std::io::Result<()> {
        let Some(transaction) = self.transaction.take() else {
            return Ok(());
        };
        let message = Stored {
            number: 0, // Number and path are given by the spool.
            path: PathBuf::new(),
            from: transaction.from,
            to: transaction.to,
            mail_params: transaction.mail_params,
            rcpt_params: transaction.rcpt_params,
            auth_user: self.user.clone(),
            tls: self.channel.is_tls(),
            client_certificate: self.channel.client_certificate(),
            helo: self.helo.clone().unwrap_or_default(),
            session: self.number,
            via,
            size: bytes.len() as u64,
            sha256: crate::hexadecimal(&openssl::sha::sha256(bytes)),
            facts: Facts::of(bytes),
        };
        self.server.spool.store(message, bytes)?;
        self.server.count(|report| report.messages += 1);
        Ok(())
    }
}
