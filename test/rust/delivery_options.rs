//! What a message asks of the server, on its way there: reports, a priority, TLS all
//! the way; with servers that know it, that do not, and that get it wrong.

mod support;

use smtpmail_core::delivery::{Event, Request};
use smtpmail_core::smtp::dialogue::{RefusedRecipients, Security};
use smtpmail_core::smtp::failure::{FailureKind, Phase};
use smtpmail_core::smtp::options::{DeliveryOptions, Dsn, EnvelopeId, Notify, Priority, Returned};
use smtpmail_test_server::{Options, Server};

use self::support::*;

const ALL: &str = "PIPELINING,CHUNKING,8BITMIME,STARTTLS,DSN,MT-PRIORITY,REQUIRETLS,SMTPUTF8";

fn reports() -> DeliveryOptions {
    DeliveryOptions {
        dsn: Some(Dsn {
            notify: Notify::When {
                success: true,
                failure: true,
                delay: false,
            },
            returned: Some(Returned::Headers),
            envelope_id: EnvelopeId::new("1+1@example.org"),
            demanded: false,
        }),
        ..DeliveryOptions::default()
    }
}

fn asking(server: &Server, recipients: &[&str], options: DeliveryOptions) -> Request {
    let mut all = request(server);
    all.messages[0].envelope.recipients = mailboxes(recipients);
    all.messages[0].envelope.options = options;
    all
}

fn left_out(ended: &Ended) -> Vec<&'static str> {
    let events = ended.events.iter().filter_map(|event| match event {
        Event::LeftOut(text) => Some(*text),
        _ => None,
    });
    events.collect()
}

/// The parameters of RCPT of each message stored, in order.
fn recipients_said(server: &Server) -> Vec<Vec<String>> {
    let messages = server.messages();
    let params = messages.iter().map(|message| &message.rcpt_params);
    params
        .map(|all| all.iter().map(|one| one.join(" ")).collect())
        .collect()
}

#[test]
fn reports_are_asked_for_recipient_by_recipient() {
    let server = start(options().caps(ALL));
    let ended = deliver(asking(
        &server,
        &["a+b@example.net", "jörg@example.net"],
        reports(),
    ));
    ended.assert_accepted();
    let message = &server.messages()[0];
    assert_eq!(
        message.mail_params,
        [
            "BODY=8BITMIME",
            "SMTPUTF8",
            "RET=HDRS",
            "ENVID=1+2B1@example.org"
        ]
    );
    let notify = "NOTIFY=SUCCESS,FAILURE";
    assert_eq!(
        recipients_said(&server),
        [[
            format!("{notify} ORCPT=rfc822;a+2Bb@example.net"),
            format!("{notify} ORCPT=utf-8;jörg@example.net")
        ]]
    );
    assert_eq!(left_out(&ended), [""; 0]);
}

/// RFC 5321 §4.5.3.1.10; RFC 9422 for a limit that is told before.
#[test]
fn each_of_several_transactions_says_the_same() {
    let limits = format!("{ALL},LIMITS RCPTMAX=1");
    for (caps, max_rcpts) in [(ALL, Some(1)), (limits.as_str(), None)] {
        let mut with = options().caps(caps);
        with.max_rcpts = max_rcpts;
        let server = start(with);
        let mut all = asking(&server, &["b@example.net", "c@example.net"], reports());
        all.plan.refused_recipients = RefusedRecipients::SendRest;
        let ended = deliver(all);
        ended.assert_accepted();
        let messages = server.messages();
        assert_eq!(messages.len(), 2);
        for (message, name) in messages.iter().zip(["b", "c"]) {
            let id = message.mail_params.last().expect("ENVID");
            assert_eq!(id, "ENVID=1+2B1@example.org");
            let orcpt = format!("ORCPT=rfc822;{name}@example.net");
            assert_eq!(
                message.rcpt_params,
                [["NOTIFY=SUCCESS,FAILURE".into(), orcpt]]
            );
        }
    }
}

#[test]
fn without_the_extension_the_message_goes_without_unless_it_is_demanded() {
    let server = start(options().caps("STARTTLS"));
    let options = DeliveryOptions {
        priority: Priority::new(3),
        ..reports()
    };
    let ended = deliver(asking(&server, &["b@example.net"], options.clone()));
    ended.assert_accepted();
    assert_eq!(left_out(&ended).len(), 2, "{:?}", left_out(&ended));
    assert!(ended.trace().contains("(no DSN): sent without"));
    let message = &server.messages()[0];
    assert!(message.mail_params.is_empty() && message.rcpt_params == [[""; 0]]);

    let mut demanding = options;
    demanding.dsn = demanding.dsn.map(|dsn| Dsn {
        demanded: true,
        ..dsn
    });
    let ended = deliver(asking(&server, &["b@example.net"], demanding));
    ended.assert_failed(FailureKind::Content, Phase::Mail);
    assert_eq!(left_out(&ended), [""; 0]);
    assert_eq!(server.report().commands.get("MAIL"), Some(&1));
}

/// RFC 8689 §4.2.1: TLS, its certificate verified, and the extension announced in it.
#[test]
fn tls_all_the_way_is_said_under_verified_tls_or_the_message_stays() {
    let demand = || DeliveryOptions {
        require_tls: true,
        ..DeliveryOptions::default()
    };
    let server = start(options().caps(ALL));
    let ended = deliver(asking(&server, &["b@example.net"], demand()));
    ended.assert_accepted();
    let message = &server.messages()[0];
    assert!(message.tls && message.mail_params.contains(&"REQUIRETLS".to_owned()));

    let refused = |with: Options, security| {
        let server = start(with);
        let mut all = asking(&server, &["b@example.net"], demand());
        all.plan.security = security;
        let ended = deliver_untrusting(all);
        assert_eq!(
            server.report().commands.get("MAIL"),
            None,
            "{}",
            ended.trace()
        );
        ended
    };
    // In clear, announced or not; in TLS, announced in clear only.
    refused(options().caps(ALL), Security::Never).assert_failed(FailureKind::Content, Phase::Mail);
    let mut before_tls = options().caps(ALL);
    before_tls.caps_tls = Some(vec!["DSN".into()]);
    refused(before_tls, Security::Required).assert_failed(FailureKind::Content, Phase::Mail);
    // A certificate that nobody vouches for ends it before.
    let mut untrusted = options().caps(ALL);
    untrusted.cert = smtpmail_test_server::CertKind::Untrusted;
    refused(untrusted, Security::Required)
        .assert_failed(FailureKind::Certificate, Phase::Handshake);
}

#[test]
fn a_server_that_refuses_what_it_announces_has_its_word_told() {
    for (parameter, phase) in [
        ("RET", Phase::Mail),
        ("NOTIFY", Phase::Recipient),
        ("ORCPT", Phase::Recipient),
        ("MT-PRIORITY", Phase::Mail),
    ] {
        let mut with = options().caps(ALL);
        with.refused_parameters = vec![parameter.into()];
        let server = start(with);
        let options = DeliveryOptions {
            priority: Priority::new(-1),
            ..reports()
        };
        let ended = deliver(asking(&server, &["b@example.net"], options));
        ended.assert_failed(FailureKind::Refused, phase);
        assert!(ended.failure().text.contains("555 "), "{parameter}");
        assert!(server.messages().is_empty());
    }
}
