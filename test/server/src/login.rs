//! The AUTH command: challenges and responses up to the verdict (RFC 4954).
//! What a response must be is the matter of `auth`.

use crate::auth::{self, Exchange, Peer, Step};
use crate::channel::{Line, Stop};
use crate::script::Place;
use crate::session::Session;

impl Session {
    pub(crate) fn authenticate(&mut self, argument: &str) -> Result<(), Stop> {
        self.server.count(|report| report.auth_attempts += 1);
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let problem = if self.mechanisms().next().is_none() {
            Some(self.reply(502, "5.5.1", "Not here"))
        } else if self.user.is_some() {
            Some(self.reply(503, "5.5.1", "Already authenticated"))
        } else if self.transaction.is_some() {
            Some(self.reply(503, "5.5.1", "Not within a mail transaction"))
        } else if mechanism.is_empty() {
            Some(self.reply(501, "5.5.4", "Syntax: AUTH mechanism"))
        } else {
            None
        };
        let exchange = self
            .offers(mechanism)
            .then(|| Exchange::new(mechanism, || self.challenge(), self.peer()));
        match (problem, exchange.flatten()) {
            (Some(problem), _) => self.answer(&[Place::Auth], problem),
            (None, None) => self.answer(
                &[Place::Auth],
                self.reply(504, "5.5.4", "No such mechanism"),
            ),
            (None, Some(exchange)) => self.exchange(exchange, initial),
        }
    }

    /// Challenges and responses up to the verdict.
    fn exchange(&mut self, mut exchange: Exchange, initial: &str) -> Result<(), Stop> {
        let decoded = auth::decode_initial(initial);
        let is_malformed = decoded.is_none() && !initial.is_empty();
        let mut step = match is_malformed {
            true => Step::Malformed,
            false => exchange.step(decoded.as_deref(), &self.server.options.users),
        };
        let mut place = Place::Auth;
        loop {
            let mut accepted = None;
            let reply = match step {
                Step::Challenge(challenge) => {
                    format!("334 {}\r\n", auth::encode(&challenge)).into_bytes()
                }
                Step::Accept(user) => {
                    accepted = Some(user);
                    self.reply(235, "2.7.0", "Authentication successful")
                }
                Step::Refuse => self.reply(535, "5.7.8", "Authentication credentials invalid"),
                Step::Malformed => self.reply(501, "5.5.2", "Cannot decode the response"),
            };
            let plan = self.plan(&[place], reply);
            if plan.class == 2 {
                self.user = Some(accepted.unwrap_or_else(|| "(let in by the script)".to_owned()));
            }
            let goes_on = plan.class == 3;
            self.perform(plan)?;
            if !goes_on {
                return Ok(());
            }
            place = Place::AuthResponse;
            let Line::Good(line) = self.channel.read_line()? else {
                step = Step::Malformed;
                continue;
            };
            self.channel.log.client(&line);
            if line == b"*" {
                return self.answer(
                    &[place],
                    self.reply(501, "5.7.0", "Authentication cancelled"),
                );
            }
            step = match auth::decode(&line) {
                Some(response) => exchange.step(Some(&response), &self.server.options.users),
                None => Step::Malformed,
            };
        }
    }

    /// What mechanisms have to know of this connection.
    fn peer(&self) -> Peer {
        let is_tls = self.channel.is_tls();
        let certificates = &self.server.certificates;
        Peer {
            // All our certificates but the weak ones are signed with SHA-256, and in
            // the place of MD5 and SHA-1 stands that too (RFC 5929 §4.1).
            end_point: is_tls.then(|| certificates.fingerprint.clone()),
            announces_binding: self.mechanisms().any(|name| name.ends_with("-PLUS")),
            refuses_binding: self.server.options.refuse_binding,
            certificate: self.channel.client_certificate(),
        }
    }

    /// The mechanisms announced by `AUTH`, or by the `AUTH=` of old servers.
    fn mechanisms(&self) -> impl Iterator<Item = &str> {
        self.announced.iter().flat_map(|line| {
            let mut words = line.split([' ', '=']);
            let is_auth = words.next() == Some("AUTH");
            words.filter(move |_| is_auth)
        })
    }

    fn offers(&self, mechanism: &str) -> bool {
        self.mechanisms()
            .any(|offered| offered.eq_ignore_ascii_case(mechanism))
    }

    fn challenge(&self) -> String {
        let mut nonce = [0; 8];
        // Were there no randomness, TLS would not have come up either; the
        // number of the session alone still makes the challenge a fresh one.
        drop(openssl::rand::rand_bytes(&mut nonce));
        format!(
            "<{}.{}@{}>",
            crate::hexadecimal(&nonce),
            self.number,
            self.hostname()
        )
    }
}
