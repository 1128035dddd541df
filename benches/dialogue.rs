//! How long a whole dialogue takes without a network: a server that accepts
//! everything answers what is said.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use smtpmail_core::smtp::address::{EhloName, Mailbox, ReversePath};
use smtpmail_core::smtp::dialogue::{
    Dialogue, Input, Message, Output, Plan, RefusedRecipients, SaslContext, Security,
};
use smtpmail_core::smtp::options::DeliveryOptions;
use smtpmail_core::smtp::reply::{Reply, ReplyReader};

const GREETING: &str = "220 mx.example.org ESMTP\r\n";
const EHLO_REPLY: &str = "250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 52428800\r\n";

fn plan() -> Plan {
    Plan {
        ehlo_name: EhloName::parse("client.example.org").expect("a name"),
        security: Security::Never,
        clear_login_allowed: false,
        login_required: false,
        login: None,
        sasl: SaslContext {
            nonce: "rOprNGfwEbeRWgbNEkqOFmSr".into(),
            host: "mx.example.org".into(),
            port: 587,
        },
        verb: false,
        refused_recipients: RefusedRecipients::Abort,
        strict_content: false,
        without: Vec::new(),
    }
}

fn mailbox(index: usize) -> Mailbox {
    Mailbox::parse(&format!("r{index}@example.net")).expect("a mailbox")
}

fn message(id: u64, recipients: &[Mailbox]) -> Message {
    Message {
        id,
        reverse_path: ReversePath::Mailbox(mailbox(0)),
        recipients: recipients.to_vec(),
        octets: 2048,
        eight_bit: false,
        header_eight_bit: false,
        longest_line: 78,
        options: DeliveryOptions::default(),
    }
}

fn reply(octets: &str) -> Reply {
    let mut reader = ReplyReader::default();
    reader.feed(octets.as_bytes());
    reader
        .next_reply()
        .expect("a good reply")
        .expect("a whole one")
}

/// Deliver `messages` messages to `recipients`; how many were accepted.
fn deliver(messages: u64, recipients: &[Mailbox]) -> usize {
    let mut dialogue = Dialogue::new(plan());
    let mut wire = Vec::new();
    let (ok, go_on) = (reply("250 2.0.0 ok\r\n"), reply("354 go on\r\n"));
    dialogue.handle(Input::Reply(reply(GREETING)));
    for id in 0..messages {
        dialogue.handle(Input::NextMessage(message(id, recipients)));
    }
    dialogue.handle(Input::NoMoreMessages);
    let mut accepted = 0;
    while let Some(output) = dialogue.next_output() {
        match output {
            Output::Send(commands) => {
                for command in commands {
                    wire.clear();
                    command.write_to(&mut wire);
                    let answer = match black_box(wire.as_slice()) {
                        [b'E', ..] => reply(EHLO_REPLY),
                        [b'D', ..] => go_on.clone(),
                        _ => ok.clone(),
                    };
                    dialogue.handle(Input::Reply(answer));
                }
            }
            Output::SendText(..) => {
                dialogue.handle(Input::TextSent);
                dialogue.handle(Input::Reply(ok.clone()));
            }
            Output::Finished(..) => accepted += 1,
            Output::Done(_) => break,
            _ => {}
        }
    }
    accepted
}

fn dialogue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dialogue");
    for (messages, recipients) in [(1, 1), (100, 1), (1, 1000)] {
        let recipients: Vec<_> = (0..recipients).map(mailbox).collect();
        let name = BenchmarkId::new(format!("{messages} messages"), recipients.len());
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(deliver(messages, &recipients), messages as usize));
        });
    }
    group.finish();
}

criterion_group!(benches, dialogue);
criterion_main!(benches);
