//! What the server said it can do: the reply to EHLO, read once.
//!
//! RFC 5321 §4.1.1.1; keywords of RFC 1870 (SIZE), 2920 (PIPELINING), 3030
//! (CHUNKING), 3207 (STARTTLS), 3461 (DSN), 4954 (AUTH), 6152 (8BITMIME), 6531
//! (SMTPUTF8), 6710 (MT-PRIORITY), 8689 (REQUIRETLS), 9422 (LIMITS). Nothing here decides what to use.

use super::reply::Reply;

/// Standard keywords that are of no use to us yet, or ever.
const FAMILIAR: [&str; 4] = ["ETRN", "EXPN", "HELP", "VRFY"];

/// What one connection's own EHLO announced; empty after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// 8BITMIME: `BODY=8BITMIME` may be said.
    pub eight_bit_mime: bool,
    /// SASL mechanism keywords of `AUTH` and the old `AUTH=`, upper case, in
    /// the server's order, each once.
    pub auth: Vec<String>,
    /// CHUNKING: BDAT may be said.
    pub chunking: bool,
    /// DSN: `NOTIFY=`, `ORCPT=`, `RET=` and `ENVID=` may be said.
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES.
    pub enhanced_status_codes: bool,
    /// LIMITS RCPTMAX: most recipients of one transaction.
    pub max_recipients: Option<usize>,
    /// LIMITS MAILMAX: most transactions of one connection.
    pub max_transactions: Option<usize>,
    /// MT-PRIORITY: `MT-PRIORITY=` may be said.
    pub mt_priority: bool,
    /// ONEX or XONE: old, harmless, kept because the stock client says it.
    pub onex: bool,
    /// PIPELINING: commands may ride together.
    pub pipelining: bool,
    /// REQUIRETLS: it may be said.
    pub require_tls: bool,
    /// SIZE: `SIZE=` may be said.
    pub size: Option<SizeLimit>,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// STARTTLS.
    pub starttls: bool,
    /// VERB or XVRB.
    pub verb: bool,
    /// XUSR: old, kept because the stock client says it.
    pub xusr: bool,
    /// Keywords of which nothing here speaks, upper case.
    pub others: Vec<String>,
}

/// What SIZE announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeLimit {
    /// No figure, or 0, which means none (RFC 1870 §4).
    None,
    /// Largest message taken, in octets.
    Octets(u64),
}

impl Capabilities {
    /// Read the reply to EHLO. Its first line is free text whatever it looks
    /// like ("Your hour of destiny has come"); keywords begin on the second.
    pub fn from_ehlo(reply: &Reply) -> Self {
        let mut found = Self::default();
        for line in reply.lines().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
            let Some(keyword) = words.next() else {
                continue;
            };
            match keyword {
                "8BITMIME" => found.eight_bit_mime = true,
                "AUTH" => found.add_mechanisms(words),
                "CHUNKING" => found.chunking = true,
                "DSN" => found.dsn = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "LIMITS" => found.add_limits(words),
                "MT-PRIORITY" => found.mt_priority = true,
                "ONEX" | "XONE" => found.onex = true,
                "PIPELINING" => found.pipelining = true,
                "REQUIRETLS" => found.require_tls = true,
                "SIZE" => found.size = Some(size_limit(words.next())),
                "SMTPUTF8" => found.smtputf8 = true,
                "STARTTLS" => found.starttls = true,
                "VERB" | "XVRB" => found.verb = true,
                "XUSR" => found.xusr = true,
                _ if FAMILIAR.contains(&keyword) => {}
                _ => match keyword.strip_prefix("AUTH=") {
                    // The form of before RFC 2554, still sent beside the new one.
                    Some(first) => found.add_mechanisms([first].into_iter().chain(words)),
                    None => found.others.push(keyword.to_owned()),
                },
            }
        }
        found
    }

    fn add_mechanisms<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names.filter(|name| !name.is_empty()) {
            if !self.auth.iter().any(|known| known == name) {
                self.auth.push(name.to_owned());
            }
        }
    }

    fn add_limits<'a>(&mut self, limits: impl Iterator<Item = &'a str>) {
        for limit in limits {
            // A limit of 0 cannot be meant; RFC 9422 §4 wants at least 1.
            let number = |text: &str| text.parse().ok().filter(|n| *n > 0);
            match limit.split_once('=') {
                Some(("RCPTMAX", n)) => self.max_recipients = number(n),
                Some(("MAILMAX", n)) => self.max_transactions = number(n),
                _ => {}
            }
        }
    }
}

fn size_limit(argument: Option<&str>) -> SizeLimit {
    match argument.and_then(|digits| digits.parse().ok()) {
        None | Some(0) => SizeLimit::None,
        Some(octets) => SizeLimit::Octets(octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ehlo(lines: &[&str]) -> Capabilities {
        let lines = std::iter::once(&"mx.example.org").chain(lines);
        Capabilities::from_ehlo(&Reply::new(
            250,
            lines.map(|l| l.as_bytes().to_vec()).collect(),
        ))
    }

    #[test]
    fn the_first_line_is_free_text() {
        let only = Reply::new(250, vec![b"STARTTLS AUTH PLAIN".to_vec()]);
        assert_eq!(Capabilities::from_ehlo(&only), Capabilities::default());
    }

    #[test]
    fn keywords_in_any_case_and_order() {
        let caps = ehlo(&[
            "pipelining",
            "size 1000",
            "Auth plain Login",
            "8bitmime",
            "StartTLS",
            "chunking",
            "smtputf8",
        ]);
        assert!(
            caps.pipelining
                && caps.eight_bit_mime
                && caps.starttls
                && caps.chunking
                && caps.smtputf8
        );
        assert_eq!(caps.size, Some(SizeLimit::Octets(1000)));
        assert_eq!(caps.auth, ["PLAIN", "LOGIN"]);
    }

    #[test]
    fn size_without_a_figure() {
        for line in [
            "SIZE",
            "SIZE 0",
            "SIZE many",
            "SIZE 99999999999999999999999",
        ] {
            assert_eq!(ehlo(&[line]).size, Some(SizeLimit::None), "{line}");
        }
        assert_eq!(ehlo(&[]).size, None);
    }

    #[test]
    fn mechanisms_of_both_forms_once() {
        let caps = ehlo(&["AUTH=LOGIN PLAIN", "AUTH PLAIN LOGIN CRAM-MD5", "AUTH="]);
        assert_eq!(caps.auth, ["LOGIN", "PLAIN", "CRAM-MD5"]);
    }

    #[test]
    fn a_keyword_is_a_whole_word() {
        let caps = ehlo(&[
            "XSECURITY=NONE,STARTTLS",
            "XSTARTTLS",
            "NOPIPELINING",
            "X-AUTH PLAIN",
        ]);
        assert!(!caps.starttls && !caps.pipelining && caps.auth.is_empty());
        assert_eq!(
            caps.others,
            [
                "XSECURITY=NONE,STARTTLS",
                "XSTARTTLS",
                "NOPIPELINING",
                "X-AUTH"
            ]
        );
    }

    #[test]
    fn familiar_keywords_are_not_strange() {
        assert_eq!(ehlo(&["dsn", "help", "ETRN", "XODD"]).others, ["XODD"]);
    }

    #[test]
    fn what_a_message_may_ask_for() {
        let caps = ehlo(&["DSN", "mt-priority MIXER", "RequireTLS"]);
        assert!(caps.dsn && caps.mt_priority && caps.require_tls);
        assert!(caps.others.is_empty());
        let caps = ehlo(&["XDSN", "MT-PRIORITYX", "REQUIRETLS=1"]);
        assert!(!caps.dsn && !caps.mt_priority && !caps.require_tls);
    }

    #[test]
    fn limits() {
        let caps = ehlo(&["LIMITS MAILMAX=1000 RCPTMAX=50 RCPTDOMAINMAX=1"]);
        assert_eq!(
            (caps.max_recipients, caps.max_transactions),
            (Some(50), Some(1000))
        );
        assert_eq!(ehlo(&["LIMITS RCPTMAX=0"]).max_recipients, None);
        assert_eq!(ehlo(&["LIMITS RCPTMAX"]).max_recipients, None);
    }

    #[test]
    fn empty_and_odd_lines() {
        assert_eq!(ehlo(&["", " ", "\u{0}"]).others, ["\u{0}"]);
    }
}
