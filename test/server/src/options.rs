//! What a server can be told, as a value and as a command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::certs::{CertKind, ClientCertificate};
use crate::script::Rule;

/// What SIZE announces when nothing else is said: what large providers take.
const DEFAULT_SIZE: u64 = 50 * 1024 * 1024;

/// The help of the program.
pub const USAGE: &str = "\
Usage: smtpmail-test-server --spool DIR [OPTION]...
A scriptable SMTP server on the loopback interface, for tests.

Prints one line of JSON when it listens: port, tls_port, ca, cert_sha256, pid.
Runs until standard input ends.

  --spool DIR            messages (NNNN.eml, NNNN.json) and session-K.log
  --certs DIR            certificates; may be shared by servers (SPOOL/certs)
  --bind WHERE           127.0.0.1 (default), ::1 or localhost-both
  --port N               listen there, not where the system says
  --ssl                  the port speaks TLS from the start
  --also-ssl             a second port does
  --cert KIND            good, expired, future, wronghost, cnonly, selfsigned, untrusted,
                         addressonly, chain, chainmissing, clientusage, md5, sha1,
                         weakkey, wildcard, addressasname, chainexpired, chainsha1,
                         chainweakkey
  --client-ca            require a client certificate of our CA (client.pem, client.key)
  --client-ca-ask        ask for one, go on without
  --hostname NAME        in the greeting and the reply to EHLO
  --caps LIST            extensions, comma separated
  --caps-tls LIST        those within TLS (as --caps, without STARTTLS)
  --no-chunking          no CHUNKING, where --caps is not given; so it is with a
                         rule for data or dot
  --user NAME --password SECRET
                         who may log in; repeatable
  --require-auth         530 to MAIL without login
  --refuse-parameters LIST
                         555 to these of MAIL and RCPT, announced or not
  --refuse-binding       refuse SCRAM's channel binding, announced or not
  --require-tls          530 to all that matters without TLS
  --max-size N           552 beyond N bytes, at MAIL and at the end
  --size-at-dot          552 at the end only
  --max-rcpts N          452 beyond N recipients
  --starttls-keeps-buffer
                         keep clear text behind STARTTLS, as broken servers do
  --delay-all MS         think so long before every reply
  --delay-turn MS        wait so long before each batch of replies (a slow line)
  --on WHERE[#K|#K-]=ACTION
                         misbehave; repeatable
  --control              answer lines `report` on standard input
  --idle-exit SECONDS    run until no session was open for so long instead

WHERE: greeting ehlo ehlo-tls helo starttls handshake auth auth-response mail
       rcpt rcpt:ADDRESS data text text:N dot bdat rset quit verb noop
ACTION: ENDING, accept-ENDING, reply TEXT, reply-ENDING TEXT, inject TEXT,
       delay MS, drip MS, split [AT [MS]], garbage N, flood, flood-line,
       plaintext, no-certificate
ENDING: close, cut (no close_notify), reset, silence, deaf (reads nothing)
TEXT:  \\r \\n \\t \\0 \\\\ \\xHH; CRLF is added unless it ends with \\c
";

/// Where the server listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bind {
    /// 127.0.0.1.
    #[default]
    V4,
    /// ::1.
    V6,
    /// Both, with the same port.
    Both,
}

/// What one server can be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where messages and transcripts go.
    pub spool: PathBuf,
    /// Where certificates go; `None` means `certs` in the spool.
    pub certs: Option<PathBuf>,
    /// Where to listen.
    pub bind: Bind,
    /// The first port; `0` means one that is free.
    pub port: u16,
    /// Whether the port speaks TLS from the start.
    pub ssl: bool,
    /// Whether a second port does.
    pub also_ssl: bool,
    /// What kind of certificate the server shows.
    pub cert: CertKind,
    /// Whether it asks for one of the client.
    pub client_certificate: ClientCertificate,
    /// The name of the server.
    pub hostname: String,
    /// The EHLO lines in clear text; `None` means a modern set.
    pub caps: Option<Vec<String>>,
    /// The EHLO lines within TLS; `None` means those in clear text without STARTTLS.
    pub caps_tls: Option<Vec<String>>,
    /// Whether CHUNKING is missing from the modern set; it is also where a rule
    /// is about DATA or the final dot.
    pub no_chunking: bool,
    /// Who may log in: name and password.
    pub users: Vec<(String, String)>,
    /// Whether MAIL needs a login.
    pub require_auth: bool,
    /// Parameters of MAIL and RCPT that are refused, though they may be announced.
    pub refused_parameters: Vec<String>,
    /// Whether channel binding is refused, though it may be announced.
    pub refuse_binding: bool,
    /// Whether mail needs TLS.
    pub require_tls: bool,
    /// The largest message, in bytes.
    pub max_size: Option<u64>,
    /// Whether a message that is too big is refused at its end only.
    pub size_at_dot: bool,
    /// The most recipients of one message.
    pub max_rcpts: Option<usize>,
    /// Whether clear text behind STARTTLS is taken as if it came within TLS.
    pub starttls_keeps_buffer: bool,
    /// How long to think before every reply.
    pub delay_all: Duration,
    /// How long to wait before each batch of replies.
    pub delay_turn: Duration,
    /// Where to misbehave.
    pub rules: Vec<Rule>,
}

impl Options {
    /// A well-behaved server with this spool.
    pub fn new(spool: impl Into<PathBuf>) -> Self {
        Self {
            spool: spool.into(),
            certs: None,
            bind: Bind::default(),
            port: 0,
            ssl: false,
            also_ssl: false,
            cert: CertKind::default(),
            client_certificate: ClientCertificate::default(),
            hostname: "mail.example.org".to_owned(),
            caps: None,
            caps_tls: None,
            users: Vec::new(),
            require_auth: false,
            refused_parameters: Vec::new(),
            refuse_binding: false,
            require_tls: false,
            max_size: None,
            size_at_dot: false,
            no_chunking: false,
            max_rcpts: None,
            starttls_keeps_buffer: false,
            delay_all: Duration::ZERO,
            delay_turn: Duration::ZERO,
            rules: Vec::new(),
        }
    }

    /// Adds a rule `WHERE[#K|#K-]=ACTION`.
    ///
    /// # Panics
    /// When the rule is wrong: the test that wrote it is.
    #[must_use]
    pub fn on(mut self, rule: &str) -> Self {
        self.rules
            .push(Rule::parse(rule).unwrap_or_else(|problem| panic!("{problem}")));
        self
    }

    /// Adds somebody who may log in.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Sets the EHLO lines in clear text, comma separated.
    #[must_use]
    pub fn caps(mut self, list: &str) -> Self {
        self.caps = Some(split_list(list));
        self
    }

    /// The EHLO lines, in clear text or within TLS.
    pub fn capabilities(&self, tls: bool) -> Vec<String> {
        if let (true, Some(caps)) = (tls, &self.caps_tls) {
            return caps.clone();
        }
        let mut caps = self
            .caps
            .clone()
            .unwrap_or_else(|| self.default_capabilities());
        if tls {
            caps.retain(|line| !line.eq_ignore_ascii_case("STARTTLS"));
        }
        caps
    }

    fn default_capabilities(&self) -> Vec<String> {
        let size = format!("SIZE {}", self.max_size.unwrap_or(DEFAULT_SIZE));
        let mut caps: Vec<String> = [
            "PIPELINING",
            &size,
            "8BITMIME",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "DSN",
            "SMTPUTF8",
        ]
        .map(str::to_owned)
        .into();
        if !self.users.is_empty() {
            caps.push("AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2".to_owned());
        }
        // Who is to misbehave at DATA must be led there.
        if !self.no_chunking && !self.rules.iter().any(Rule::is_of_data) {
            caps.push("CHUNKING".to_owned());
        }
        caps
    }
}

fn split_list(list: &str) -> Vec<String> {
    list.split(',')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A command line, read.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// For the server.
    pub options: Options,
    /// Whether to answer lines on standard input.
    pub control: bool,
    /// Run until no session was open for so long.
    pub idle_exit: Option<Duration>,
}

impl CommandLine {
    /// Reads the arguments behind the name of the program.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Options::new("");
        let (mut control, mut idle_exit, mut user) = (false, None, None);
        let mut arguments = arguments.map(|argument| {
            argument
                .into_string()
                .map_err(|argument| format!("not UTF-8: {argument:?}"))
        });
        while let Some(option) = arguments.next().transpose()? {
            let mut value = || {
                let value = arguments.next().transpose()?;
                value.ok_or_else(|| format!("{option} needs a value"))
            };
            match option.as_str() {
                "--spool" => options.spool = value()?.into(),
                "--certs" => options.certs = Some(value()?.into()),
                "--bind" => {
                    options.bind = match value()?.as_str() {
                        "127.0.0.1" => Bind::V4,
                        "::1" => Bind::V6,
                        "localhost-both" => Bind::Both,
                        other => return Err(format!("cannot bind to {other:?}")),
                    }
                }
                "--port" => options.port = number(&value()?)?,
                "--ssl" => options.ssl = true,
                "--also-ssl" => options.also_ssl = true,
                "--cert" => {
                    let name = value()?;
                    let found = CertKind::NAMES.iter().find(|(known, _)| *known == name);
                    options.cert = found
                        .ok_or_else(|| format!("no such certificate: {name:?}"))?
                        .1;
                }
                "--client-ca" => options.client_certificate = ClientCertificate::Required,
                "--client-ca-ask" => options.client_certificate = ClientCertificate::Asked,
                "--hostname" => options.hostname = value()?,
                "--caps" => options.caps = Some(split_list(&value()?)),
                "--caps-tls" => options.caps_tls = Some(split_list(&value()?)),
                "--user" => user = Some(value()?),
                "--password" => {
                    let name = user.take().ok_or("--password without --user before it")?;
                    options.users.push((name, value()?));
                }
                "--require-auth" => options.require_auth = true,
                "--refuse-parameters" => options.refused_parameters = split_list(&value()?),
                "--refuse-binding" => options.refuse_binding = true,
                "--require-tls" => options.require_tls = true,
                "--max-size" => options.max_size = Some(number(&value()?)?),
                "--no-chunking" => options.no_chunking = true,
                "--size-at-dot" => options.size_at_dot = true,
                "--max-rcpts" => options.max_rcpts = Some(number(&value()?)?),
                "--starttls-keeps-buffer" => options.starttls_keeps_buffer = true,
                "--delay-all" => options.delay_all = Duration::from_millis(number(&value()?)?),
                "--delay-turn" => options.delay_turn = Duration::from_millis(number(&value()?)?),
                "--on" => options.rules.push(Rule::parse(&value()?)?),
                "--control" => control = true,
                "--idle-exit" => idle_exit = Some(Duration::from_secs(number(&value()?)?)),
                _ => return Err(format!("no such option: {option}")),
            }
        }
        if user.is_some() {
            return Err("--user without --password behind it".to_owned());
        }
        if options.spool.as_os_str().is_empty() {
            return Err("--spool DIR is required".to_owned());
        }
        Ok(Self {
            options,
            control,
            idle_exit,
        })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not a number: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &[&str]) -> Result<CommandLine, String> {
        CommandLine::parse(line.iter().map(OsString::from))
    }

    #[test]
    fn a_full_command_line() {
        let line = parse(&[
            "--spool",
            "/s",
            "--user",
            "a",
            "--password",
            "x",
            "--user",
            "b",
            "--password",
            "y",
            "--caps",
            "SIZE 10, STARTTLS,AUTH PLAIN",
            "--on",
            "mail=close",
            "--delay-all",
            "5",
            "--bind",
            "localhost-both",
            "--port",
            "2525",
            "--cert",
            "cnonly",
            "--control",
            "--idle-exit",
            "3",
        ])
        .expect("a good line");
        assert_eq!(
            line.options.users,
            [("a".into(), "x".into()), ("b".into(), "y".into())]
        );
        assert_eq!(
            line.options.capabilities(false),
            ["SIZE 10", "STARTTLS", "AUTH PLAIN"]
        );
        assert_eq!(line.options.capabilities(true), ["SIZE 10", "AUTH PLAIN"]);
        assert_eq!(
            line.options.rules,
            [Rule::parse("mail=close").expect("a good rule")]
        );
        assert_eq!(line.options.delay_all, Duration::from_millis(5));
        assert_eq!(
            (line.options.bind, line.options.port, line.options.cert),
            (Bind::Both, 2525, CertKind::CnOnly)
        );
        assert_eq!(
            (line.control, line.idle_exit),
            (true, Some(Duration::from_secs(3)))
        );
    }

    #[test]
    fn bad_command_lines() {
        let table: [&[&str]; 9] = [
            &[],
            &["--spool"],
            &["--spool", "s", "--nope"],
            &["--spool", "s", "--on", "mail"],
            &["--spool", "s", "--password", "x"],
            &["--spool", "s", "--user", "x"],
            &["--spool", "s", "--max-size", "big"],
            &["--spool", "s", "--bind", "0.0.0.0"],
            &["--spool", "s", "--port", "65536"],
        ];
        for line in table {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn no_extension_is_a_list_too() {
        assert!(Options::new("s").caps("").capabilities(false).is_empty());
        let default = Options::new("s").capabilities(false);
        assert!(
            !default.iter().any(|line| line.starts_with("AUTH")),
            "nobody can log in"
        );
    }
}
