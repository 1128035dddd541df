//! Our mechanisms against the server side of another implementation, rsasl: for
//! any user and password it must take from us what it makes of them itself, and
//! we must believe it exactly when nobody was in between.
//!
//! It has no CRAM-MD5; `test/server` has, and the vectors beside the code.

use openssl::hash::{MessageDigest, hash};
use openssl::pkcs5::pbkdf2_hmac;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use proptest::prelude::*;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::external::EXTERNAL;
use rsasl::mechanisms::login::LOGIN;
use rsasl::mechanisms::oauthbearer::OAUTHBEARER;
use rsasl::mechanisms::oauthbearer::properties::{OAuthBearerError, OAuthBearerValidate};
use rsasl::mechanisms::plain::PLAIN;
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS};
use rsasl::mechanisms::xoauth2::XOAUTH2;
use rsasl::mechanisms::xoauth2::properties::XOAuth2Validate;
use rsasl::mechname::Mechname;
use rsasl::prelude::{
    ChannelBindingCallback, Registry, SASLConfig, SASLServer, Session, SessionError,
};
use rsasl::property::{AuthId, AuthzId, OAuthBearerKV, OAuthBearerToken, Password};
use rsasl::validate::{Validate, Validation, ValidationError};
use smtpmail_core::smtp::sasl::{
    Binding, ChannelBinding, Credentials, Exchange, Mechanism, SaslError,
};
use smtpmail_core::smtp::secret::Secret;
use stringprep::saslprep;

/// As few as the RFCs allow: the tests are not optimised.
const ITERATIONS: u32 = 4096;

/// What the connection would be bound to.
const END_POINT: [u8; 32] = [7; 32];

/// Its usual list is without channel binding.
static MECHANISMS: &[rsasl::prelude::Mechanism] = &[
    EXTERNAL,
    LOGIN,
    OAUTHBEARER,
    PLAIN,
    SCRAM_SHA1,
    SCRAM_SHA1_PLUS,
    SCRAM_SHA256,
    SCRAM_SHA256_PLUS,
    XOAUTH2,
];

/// The connection, as the server knows it.
struct EndPoint;

impl ChannelBindingCallback for EndPoint {
    fn get_cb_data(&self, name: &str) -> Option<&[u8]> {
        (name == "tls-server-end-point").then_some(&END_POINT)
    }
}

const XOAUTH2_ERROR: &str = r#"{"status":"401","schemes":"bearer","scope":"mail"}"#;

/// Who the oracle says that we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Peer {
    user: Option<String>,
    authzid: Option<String>,
    password: Option<Vec<u8>>,
    token: Option<String>,
    fields: Vec<(String, String)>,
}

impl Validation for Peer {
    type Value = Peer;
}

/// Whom the oracle knows.
struct Known {
    /// In the notation of SCRAM, in which the oracle hands names on.
    saslname: String,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
    token: String,
}

impl SessionCallback for Known {
    fn callback(
        &self,
        _session: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        if context.get_ref::<AuthId>() == Some(&self.saslname) {
            request.satisfy::<ScramStoredPassword<'_>>(&ScramStoredPassword::new(
                ITERATIONS,
                &self.salt,
                &self.stored_key,
                &self.server_key,
            ))?;
        }
        let token = context.get_ref::<OAuthBearerToken>();
        let known = token.is_some_and(|token| token.trim_start_matches("Bearer ") == self.token);
        let refusal = OAuthBearerError::new("invalid_token", Some("mail"), None);
        if request.is::<OAuthBearerValidate>() {
            request.satisfy::<OAuthBearerValidate>(&known.then_some(()).ok_or(refusal))?;
        }
        if request.is::<XOAuth2Validate>() {
            request.satisfy::<XOAuth2Validate>(&known.then_some(()).ok_or(XOAUTH2_ERROR))?;
        }
        Ok(())
    }

    fn validate(
        &self,
        _session: &SessionData,
        context: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        validate.with::<Peer, _>(|| {
            let fields = context.get_ref::<OAuthBearerKV>().unwrap_or_default();
            Ok(Peer {
                user: context.get_ref::<AuthId>().map(str::to_owned),
                authzid: context.get_ref::<AuthzId>().map(str::to_owned),
                password: context.get_ref::<Password>().map(<[u8]>::to_vec),
                token: context.get_ref::<OAuthBearerToken>().map(str::to_owned),
                fields: fields
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
            })
        })?;
        Ok(())
    }
}

/// RFC 5802 §5.1.
fn saslname(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

fn hmac(digest: MessageDigest, key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    let mut signer = Signer::new(digest, &key).unwrap();
    signer.update(text).unwrap();
    signer.sign_to_vec().unwrap()
}

impl Known {
    /// A user of SCRAM with `mechanism`'s hash.
    fn user(mechanism: Mechanism, user: &str, password: &str, salt: &[u8]) -> Self {
        let (digest, length) = match mechanism {
            Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => (MessageDigest::sha1(), 20),
            _ => (MessageDigest::sha256(), 32),
        };
        let password = saslprep(password).unwrap();
        let mut salted = vec![0; length];
        let rounds = ITERATIONS as usize;
        pbkdf2_hmac(password.as_bytes(), salt, rounds, digest, &mut salted).unwrap();
        let client_key = hmac(digest, &salted, b"Client Key");
        Self {
            saslname: saslname(&saslprep(user).unwrap()),
            salt: salt.to_vec(),
            stored_key: hash(digest, &client_key).unwrap().to_vec(),
            server_key: hmac(digest, &salted, b"Server Key"),
            token: String::new(),
        }
    }

    fn token(token: &str) -> Self {
        Self {
            saslname: String::new(),
            salt: Vec::new(),
            stored_key: Vec::new(),
            server_key: Vec::new(),
            token: token.to_owned(),
        }
    }
}

/// The oracle, as the server of one exchange.
fn oracle(mechanism: &str, known: Known) -> Session<Peer, EndPoint> {
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(MECHANISMS))
        .with_callback(known)
        .unwrap();
    SASLServer::<Peer, _>::with_cb(config, EndPoint)
        .start_suggested(Mechname::parse(mechanism.as_bytes()).unwrap())
        .unwrap()
}

fn credentials(user: &str, secret: &str, authzid: Option<&str>) -> Credentials {
    Credentials {
        user: user.to_owned(),
        secret: Secret::from(secret),
        authzid: authzid.map(str::to_owned),
    }
}

fn begin(
    mechanism: Mechanism,
    credentials: &Credentials,
    channel_binding: ChannelBinding<'_>,
) -> Result<Exchange, SaslError> {
    let binding = Binding {
        nonce: "rOprNGfwEbeRWgbNEkqOFmSr",
        channel_binding,
        host: "mx.example.org",
        port: 587,
    };
    mechanism.start(credentials, &binding)
}

/// How an exchange ended.
#[derive(Debug)]
struct Ended {
    /// What we think of it, were it followed by 235.
    ours: Result<(), SaslError>,
    /// What the oracle thinks of it.
    peer: Option<Peer>,
    /// Why the server refused, as we would tell it.
    told: Option<String>,
}

/// Run an exchange to its end; `between` may change what the server says, by the
/// number of its message.
fn run(
    mut exchange: Exchange,
    mut server: Session<Peer, EndPoint>,
    between: impl Fn(usize, &mut Vec<u8>),
) -> Ended {
    let mut response = exchange.initial_response();
    let mut ours = Ok(());
    for number in 0..4 {
        let mut said = Vec::new();
        let input = response.as_ref().map(Secret::expose);
        let Ok(state) = server.step(input, &mut said) else {
            ours = ours.and(Err(SaslError::ServerNotProven));
            break;
        };
        if state.has_sent_message() {
            between(number, &mut said);
            match exchange.respond(&said) {
                Ok(next) => response = Some(next),
                Err(error) => {
                    ours = Err(error);
                    break;
                }
            }
        }
        if state.is_finished() {
            break;
        }
    }
    Ended {
        ours: ours.and_then(|()| exchange.finished_ok()),
        peer: server.validation(),
        told: exchange.server_error().map(str::to_owned),
    }
}

fn honest(_: usize, _: &mut Vec<u8>) {}

const SCRAM: [Mechanism; 4] = [
    Mechanism::ScramSha1,
    Mechanism::ScramSha1Plus,
    Mechanism::ScramSha256,
    Mechanism::ScramSha256Plus,
];

/// The binding with which a mechanism goes through at a server that could bind.
fn its_binding(mechanism: Mechanism) -> ChannelBinding<'static> {
    match mechanism.binds_channel() {
        true => ChannelBinding::TlsServerEndPoint(&END_POINT),
        false => ChannelBinding::Unsupported,
    }
}

/// Names and passwords: what people have, and what notations trip over. All of it
/// is allowed by SASLprep, and some of it changed.
const WORDS: &str = "[ -~äöüßéñΩжﬁⅨª漢\u{a0}\u{ad}]{1,24}";

/// Long tokens of RFC 6750 §2.1.
const TOKENS: &str = "[A-Za-z0-9._~+/-]{1,80}={0,2}";

fn usable(text: &str) -> bool {
    saslprep(text).is_ok_and(|text| !text.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn scram_proves_both_to_each_other(
        user in WORDS, password in WORDS, acts_for in proptest::option::of("[a-z]{1,9}"),
        salt in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        prop_assume!(usable(&user) && usable(&password));
        for mechanism in SCRAM {
            let credentials = credentials(&user, &password, acts_for.as_deref());
            let ours = begin(mechanism, &credentials, its_binding(mechanism)).unwrap();
            let known = Known::user(mechanism, &user, &password, &salt);
            let name = known.saslname.clone();
            let ended = run(ours, oracle(mechanism.keyword(), known), honest);
            prop_assert_eq!(&ended.ours, &Ok(()), "{:?}", mechanism);
            let peer = ended.peer.unwrap();
            prop_assert_eq!(peer.user, Some(name));
            prop_assert_eq!(&peer.authzid, &acts_for);
        }
    }

    #[test]
    fn scram_with_another_password_is_refused_by_both(
        user in WORDS, password in WORDS, other in WORDS,
    ) {
        prop_assume!(usable(&user) && usable(&password) && usable(&other));
        prop_assume!(saslprep(&password).unwrap() != saslprep(&other).unwrap());
        for mechanism in SCRAM {
            let ours = begin(mechanism, &credentials(&user, &other, None), its_binding(mechanism));
            let known = Known::user(mechanism, &user, &password, b"salt");
            let ended = run(ours.unwrap(), oracle(mechanism.keyword(), known), honest);
            prop_assert_eq!(ended.peer, None);
            prop_assert!(matches!(ended.ours, Err(SaslError::Refused(_))), "{:?}", ended.ours);
        }
    }

    #[test]
    fn scram_believes_no_server_whose_words_were_changed(
        password in "[ -~]{1,20}", message in 0..2_usize, at in any::<prop::sample::Index>(),
        flip in 1..=127_u8, cut in any::<bool>(),
    ) {
        prop_assume!(usable(&password));
        for mechanism in SCRAM {
            let credentials = credentials("tim", &password, None);
            let ours = begin(mechanism, &credentials, its_binding(mechanism)).unwrap();
            let known = Known::user(mechanism, "tim", &password, b"salt");
            let ended = run(ours, oracle(mechanism.keyword(), known), |number, said| {
                if number == message {
                    let at = at.index(said.len());
                    match cut {
                        true => said.truncate(at),
                        false => said[at] ^= flip,
                    }
                }
            });
            prop_assert!(ended.ours.is_err(), "{:?}: message {}", mechanism, message);
        }
    }

    #[test]
    fn plain_and_login_hand_over_what_was_typed(
        user in WORDS, password in WORDS, acts_for in proptest::option::of("[a-zé]{1,9}"),
    ) {
        prop_assume!(usable(&user) && usable(&password));
        let acting = credentials(&user, &password, acts_for.as_deref());
        // The oracle prepares what it is given here, as RFC 4616 §2 has servers do.
        let exchange = begin(Mechanism::Plain, &acting, ChannelBinding::Unsupported).unwrap();
        if user.len() + password.len() > 1 {
            let ended = run(exchange, oracle("PLAIN", Known::token("")), honest);
            prop_assert_eq!(ended.ours, Ok(()));
            prop_assert_eq!(ended.peer, Some(Peer {
                user: Some(saslprep(&user).unwrap().into()),
                authzid: Some(acts_for.unwrap_or_default()),
                password: Some(saslprep(&password).unwrap().as_bytes().to_vec()),
                ..Peer::default()
            }));
        }
        let exchange = begin(Mechanism::Login, &acting, ChannelBinding::Unsupported).unwrap();
        let ended = run(exchange, oracle("LOGIN", Known::token("")), honest);
        prop_assert_eq!(ended.ours, Ok(()));
        prop_assert_eq!(ended.peer, Some(Peer {
            user: Some(user),
            password: Some(password.into_bytes()),
            ..Peer::default()
        }));
    }

    #[test]
    fn tokens_arrive_whole_and_refusals_are_understood(
        user in "[a-z0-9.@=,]{1,24}", token in TOKENS, other in TOKENS,
    ) {
        prop_assume!(token != other);
        for (known, good) in [(&token, true), (&other, false)] {
            let bearer = credentials(&user, &token, None);
            for mechanism in [Mechanism::Oauthbearer, Mechanism::Xoauth2] {
                let exchange = begin(mechanism, &bearer, ChannelBinding::Unsupported).unwrap();
                let ended = run(exchange, oracle(mechanism.keyword(), Known::token(known)), honest);
                prop_assert_eq!(ended.ours.is_ok(), good, "{:?}", mechanism);
                prop_assert_eq!(ended.told.is_none(), good, "{:?}", ended.told);
                let peer = ended.peer.unwrap();
                let taken = peer.token.unwrap();
                if mechanism == Mechanism::Oauthbearer {
                    prop_assert_eq!(taken, format!("Bearer {token}"));
                    prop_assert_eq!(peer.authzid, Some(saslname(&user)));
                    let fields = [("host", "mx.example.org"), ("port", "587")];
                    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
                    prop_assert_eq!(peer.fields, fields);
                } else {
                    prop_assert_eq!(&taken, &token);
                    prop_assert_eq!(peer.user.as_deref(), Some(user.as_str()));
                }
            }
        }
    }

    #[test]
    fn external_names_whom_we_act_for(acts_for in proptest::option::of("[^\0]{1,40}")) {
        let exchange = begin(
            Mechanism::External,
            &credentials("ignored", "", acts_for.as_deref()),
            ChannelBinding::Unsupported,
        );
        let ended = run(exchange.unwrap(), oracle("EXTERNAL", Known::token("")), honest);
        prop_assert_eq!(ended.ours, Ok(()));
        let peer = ended.peer.unwrap();
        prop_assert_eq!(peer.authzid, Some(acts_for.unwrap_or_default()));
    }
}

#[test]
fn a_binding_taken_out_of_the_list_is_noticed_by_the_server() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        for (binding, good) in [
            (ChannelBinding::Unsupported, true),
            (ChannelBinding::NotOffered, false),
            (ChannelBinding::TlsServerEndPoint(&END_POINT), false),
        ] {
            let known = Known::user(mechanism, "tim", "tanstaaf", b"salt");
            let ours = begin(mechanism, &credentials("tim", "tanstaaf", None), binding).unwrap();
            let ended = run(ours, oracle(mechanism.keyword(), known), honest);
            assert_eq!(ended.ours.is_ok(), good, "{mechanism:?} {binding:?}");
            assert_eq!(ended.peer.is_some(), good, "{mechanism:?} {binding:?}");
        }
    }
}

#[test]
fn a_login_bound_to_another_connection_is_refused() {
    for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
        let known = Known::user(mechanism, "tim", "tanstaaf", b"salt");
        let elsewhere = ChannelBinding::TlsServerEndPoint(&[8; 32]);
        let ours = begin(mechanism, &credentials("tim", "tanstaaf", None), elsewhere).unwrap();
        let ended = run(ours, oracle(mechanism.keyword(), known), honest);
        assert!(
            matches!(&ended.ours, Err(SaslError::Refused(text)) if text.contains("channel-bindings")),
            "{:?}",
            ended.ours
        );
        assert_eq!(ended.peer, None);
    }
}

#[test]
fn another_user_is_refused() {
    let known = Known::user(Mechanism::ScramSha256, "tim", "tanstaaf", b"salt");
    let credentials = credentials("tom", "tanstaaf", None);
    let binding = ChannelBinding::Unsupported;
    let ours = begin(Mechanism::ScramSha256, &credentials, binding).unwrap();
    let ended = run(ours, oracle("SCRAM-SHA-256", known), honest);
    assert!(
        matches!(ended.ours, Err(SaslError::Refused(_))),
        "{ended:?}"
    );
    assert_eq!(ended.peer, None);
}
