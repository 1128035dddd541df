//! Moments of a dialogue that no transcript brings about, for they are no lines:
//! what came together, how long the connection lay idle, and exact limits.

mod logins;

use smtpmail_core::smtp::command::{Command, Line};
use smtpmail_core::smtp::dialogue::{
    Dialogue, FIRST_MESSAGES_IN_FLIGHT, Input, MAX_COMMAND_OCTETS_IN_FLIGHT, MessageId, Output,
    RefusedRecipients, SpeedUp, Verdict,
};
use smtpmail_core::smtp::failure::{Failure, FailureKind, Phase};
use smtpmail_core::smtp::reply::Reply;
use smtpmail_core::smtp::secret::Secret;

use super::dialogue_support::{mailbox, message, plan};

/// A dialogue, driven input by input.
struct Driven(Dialogue);

impl Driven {
    /// A connection in clear, ready for its first message.
    fn ready(extensions: &[&str]) -> Self {
        let mut plan = plan(1);
        plan.login = None;
        plan.refused_recipients = RefusedRecipients::SendRest;
        let mut driven = Self(Dialogue::new(plan));
        driven.hear(220);
        let lines = [&["mx"], extensions].concat();
        let lines = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        let mut outputs = driven.handle(Input::Reply(Reply::new(250, lines)));
        if matches!(outputs[..], [Output::Ask(_)]) {
            outputs = driven.handle(Input::Login(None));
        }
        assert!(matches!(outputs.last(), Some(Output::Ready)), "{outputs:?}");
        driven
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        self.0.handle(input);
        std::iter::from_fn(|| self.0.next_output()).collect()
    }

    fn hear(&mut self, code: u16) -> Vec<Output> {
        self.handle(Input::Reply(reply(code)))
    }

    /// A message to one; what is said at once.
    fn send(&mut self, id: MessageId) -> Vec<String> {
        said(&self.handle(Input::NextMessage(message(id, 1, 100))))
    }

    /// The connection is gone; whether that is put down to a speed-up.
    fn blames(self, speed_up: SpeedUp) -> bool {
        self.blames_for(FailureKind::Closed, speed_up)
    }

    fn blames_for(mut self, kind: FailureKind, speed_up: SpeedUp) -> bool {
        let failure = Failure::new(kind, Phase::Mail, "gone");
        let outputs = self.handle(Input::Closed(failure));
        let blamed =
            |output: &Output| matches!(output, Output::SwitchOff(off, _) if *off == speed_up);
        outputs.iter().any(blamed)
    }
}

fn reply(code: u16) -> Reply {
    Reply::new(code, vec![b"ok".to_vec()])
}

/// The verbs of all commands in `outputs`.
fn said(outputs: &[Output]) -> Vec<String> {
    let commands = outputs.iter().filter_map(|output| match output {
        Output::Send(commands) => Some(commands),
        _ => None,
    });
    let verb = |command: &Command| {
        let line = command.to_string();
        line.split(' ').next().unwrap_or_default().to_owned()
    };
    commands.flatten().map(verb).collect()
}

fn verdict(outputs: &[Output]) -> Verdict {
    match outputs {
        [Output::Finished(0, outcome), ..] => outcome.verdict.clone(),
        other => panic!("{other:?}"),
    }
}

const CHUNKS: [&str; 2] = ["PIPELINING", "CHUNKING"];

/// The text of one message is out, and its recipient is accepted.
fn text_is_out(extensions: &[&str]) -> Driven {
    let mut driven = Driven::ready(extensions);
    driven.send(0);
    let codes: &[u16] = match extensions.contains(&"CHUNKING") {
        true => &[250, 250],
        false => &[250, 250, 354],
    };
    for code in codes {
        driven.hear(*code);
    }
    driven.handle(Input::TextSent);
    driven
}

#[test]
fn an_acceptance_of_a_chunk_with_more_behind_it_is_none() {
    let more = |code| Input::ReplyAndMore(reply(code));
    let mistrusted = text_is_out(&CHUNKS).handle(more(250));
    assert!(
        matches!(
            mistrusted.as_slice(),
            [Output::SwitchOff(SpeedUp::Chunking, _), Output::Finished(0, outcome), Output::Done(Some(_))]
                if matches!(outcome.verdict, Verdict::Unknown(_))
        ),
        "{mistrusted:?}"
    );
    // A refusal is one whatever follows, and what answers DATA cannot be taken
    // for the reply to a text.
    let refused = text_is_out(&CHUNKS).handle(more(554));
    assert!(matches!(verdict(&refused), Verdict::Failed(_)));
    for (extensions, input) in [
        (&CHUNKS[..], Input::Reply(reply(250))),
        (&CHUNKS[..1], more(250)),
    ] {
        let accepted = text_is_out(extensions).handle(input);
        assert!(matches!(verdict(&accepted), Verdict::Accepted(_)));
    }
    // Another message rides behind it: more replies are due.
    let mut riding = text_is_out(&CHUNKS);
    riding.send(1);
    assert!(matches!(
        verdict(&riding.handle(more(250))),
        Verdict::Accepted(_)
    ));
    // Before the text is out it is none anyway, and says nothing of the next.
    let mut early = Driven::ready(&CHUNKS);
    early.send(0);
    early.hear(250);
    early.hear(250);
    assert!(matches!(
        verdict(&early.handle(more(250))),
        Verdict::Failed(_)
    ));
}

#[test]
fn after_a_long_rest_the_text_waits_for_the_envelope_once() {
    for (long, first) in [
        (true, &["MAIL", "RCPT"][..]),
        (false, &["MAIL", "RCPT", "BDAT"]),
    ] {
        let mut driven = Driven::ready(&CHUNKS);
        driven.0.resume(long);
        assert_eq!(driven.send(0), first);
        driven.hear(250);
        driven.hear(250);
        driven.handle(Input::TextSent);
        driven.hear(250);
        assert_eq!(driven.send(1), ["MAIL", "RCPT", "BDAT"]);
    }
}

#[test]
fn that_a_connection_is_gone_after_a_rest_is_no_fault_of_a_speed_up() {
    let under_way = |rested| {
        let mut driven = Driven::ready(&["PIPELINING"]);
        if rested {
            driven.0.resume(false);
        }
        assert_eq!(driven.send(0), ["MAIL", "RCPT", "DATA"]);
        driven
    };
    assert!(under_way(false).blames(SpeedUp::Pipelining));
    assert!(!under_way(true).blames(SpeedUp::Pipelining));
    // Once it has said something, it was not.
    let mut alive = under_way(true);
    alive.hear(250);
    assert!(alive.blames(SpeedUp::Pipelining));
}

#[test]
fn pipelining_is_blamed_where_commands_were_dropped() {
    // After so many replies two, then one, of MAIL, RCPT and DATA are unanswered.
    for (replies, closed, silent) in [(0, true, false), (1, true, true), (2, false, false)] {
        for (kind, blamed) in [
            (FailureKind::Closed, closed),
            (FailureKind::Timeout, silent),
        ] {
            let mut driven = Driven::ready(&["PIPELINING"]);
            driven.send(0);
            for _ in 0..replies {
                driven.hear(250);
            }
            let found = driven.blames_for(kind, SpeedUp::Pipelining);
            assert_eq!(found, blamed, "{kind:?} after {replies}");
        }
    }
}

#[test]
fn a_text_for_several_waits_for_them_if_it_is_large() {
    for (octets, last) in [(1 << 20, "BDAT"), ((1 << 20) + 1, "RCPT")] {
        let mut driven = Driven::ready(&CHUNKS);
        let outputs = driven.handle(Input::NextMessage(message(0, 2, octets)));
        assert_eq!(said(&outputs).pop().as_deref(), Some(last), "{octets}");
    }
}

#[test]
fn a_refused_reset_ends_the_connection_unless_a_text_is_out() {
    let mut driven = Driven::ready(&["CHUNKING"]);
    driven.send(0);
    driven.hear(250);
    driven.hear(250);
    driven.handle(Input::TextSent);
    assert!(matches!(verdict(&driven.hear(554)), Verdict::Failed(_)));
    assert_eq!(driven.send(1), ["RSET"]);
    let outputs = driven.hear(500);
    assert!(matches!(
        outputs.last(),
        Some(Output::Done(Some(failure))) if failure.phase == Phase::Idle
    ));
    // What it meant to a text, the replies behind it tell.
    let told = second(two_texts_out(250), &[500, 250, 250, 250]);
    assert!(matches!(told, (Some(Verdict::Accepted(_)), false)));
}

#[test]
fn commands_are_tried_between_messages_only() {
    let mut driven = Driven::ready(&CHUNKS);
    let outputs = driven.handle(Input::Try(Command::Rset));
    assert_eq!(said(&outputs), ["RSET"]);
    // Not while the reply to one is due.
    assert!(driven.handle(Input::Try(Command::Rset)).is_empty());
    assert!(matches!(driven.hear(250)[..], [Output::Heard(_)]));
    driven.send(0);
    assert!(driven.handle(Input::Try(Command::Rset)).is_empty());
}

#[test]
fn the_window_is_filled_to_its_last_octet() {
    // MAIL, DATA and so many RCPT take exactly the room that there is, or one
    // octet more.
    let mail = "MAIL FROM:<m0@example.org>\r\n".len();
    let room = MAX_COMMAND_OCTETS_IN_FLIGHT - mail - "DATA\r\n".len();
    let command = |octets: usize| {
        let rest = "RCPT TO:<@example.net>\r\n".len();
        mailbox(&format!("{}@example.net", "u".repeat(octets - rest)))
    };
    for more in [0, 1] {
        let count = room / 512;
        let mut long = message(0, 1, 100);
        long.recipients = (1..count).map(|_| command(512)).collect();
        long.recipients
            .push(command(room - (count - 1) * 512 + more));
        let mut driven = Driven::ready(&["PIPELINING"]);
        let outputs = driven.handle(Input::NextMessage(long));
        let last = said(&outputs).pop();
        assert_eq!(last.as_deref(), Some(["DATA", "RCPT"][more]));
    }
}

/// A chunk for two whose recipients are answered so, and which is refused in the
/// end; whether the sequence is blamed.
fn blames_the_sequence(to_recipients: [u16; 2], extensions: &[&str]) -> bool {
    let mut driven = Driven::ready(extensions);
    driven.handle(Input::NextMessage(message(0, 2, 100)));
    driven.hear(250);
    driven.hear(to_recipients[0]);
    driven.hear(to_recipients[1]);
    driven.handle(Input::TextSent);
    let outputs = driven.hear(554);
    let blamed = matches!(outputs[..], [Output::SwitchOff(SpeedUp::Pipelining, _), ..]);
    let expected = match blamed {
        true => {
            matches!(&outputs[1], Output::Finished(0, outcome) if matches!(outcome.verdict, Verdict::Untried(_)))
        }
        false => matches!(verdict(&outputs), Verdict::Failed(_)),
    };
    assert!(expected, "{outputs:?}");
    blamed
}

#[test]
fn a_complaint_of_the_sequence_counts_once_the_chunk_is_refused() {
    for (to_recipients, blamed) in [
        ([503, 250], true),
        ([250, 503], true),
        ([550, 250], false),
        ([250, 550], false),
    ] {
        assert_eq!(blames_the_sequence(to_recipients, &CHUNKS), blamed);
    }
}

#[test]
fn a_chunk_for_nobody_is_not_written_to_its_end() {
    let mut driven = Driven::ready(&CHUNKS);
    driven.send(0);
    driven.hear(250);
    let outputs = driven.hear(550);
    assert!(matches!(verdict(&outputs), Verdict::Failed(_)));
    assert!(matches!(outputs.last(), Some(Output::Done(Some(_)))));
}

#[test]
fn a_login_from_outside_finds_nothing_else_under_way() {
    let line = || Line::new(Secret::from("AUTH X")).expect("a line");
    let mut driven = Driven::ready(&CHUNKS);
    assert_eq!(said(&driven.handle(Input::Say(line()))), ["AUTH"]);
    assert!(matches!(driven.hear(235)[..], [Output::Heard(_)]));
    assert!(!driven.0.is_logged_in());
    driven.handle(Input::LoggedIn);
    assert!(driven.0.is_logged_in());
    driven.send(0);
    assert!(driven.handle(Input::Say(line())).is_empty());
    assert!(driven.handle(Input::Login(None)).is_empty());
    driven.hear(250);
    driven.hear(250);
    driven.handle(Input::TextSent);
    assert!(matches!(verdict(&driven.hear(250)), Verdict::Accepted(_)));
}

#[test]
fn a_farewell_that_may_not_be_one_leaves_texts_open() {
    // To RCPT, with the text out: the other recipient may get it.
    let farewell = |recipients| {
        let mut driven = Driven::ready(&CHUNKS);
        driven.handle(Input::NextMessage(message(0, recipients, 100)));
        driven.handle(Input::TextSent);
        driven.hear(250);
        let outputs = driven.hear(421);
        (driven, outputs)
    };
    let (mut driven, outputs) = farewell(2);
    assert!(outputs.is_empty(), "{outputs:?}");
    driven.hear(250);
    assert!(matches!(verdict(&driven.hear(250)), Verdict::Accepted(_)));
    // Nobody else can.
    let (_, outputs) = farewell(1);
    assert!(matches!(verdict(&outputs), Verdict::Failed(_)));
}

/// Two messages, both texts out, of which the first is answered so.
fn two_texts_out(code: u16) -> Driven {
    let mut driven = Driven::ready(&CHUNKS);
    driven.send(0);
    driven.handle(Input::TextSent);
    assert_eq!(driven.send(1), ["RSET", "MAIL", "RCPT", "BDAT"]);
    driven.handle(Input::TextSent);
    driven.hear(250);
    driven.hear(250);
    driven.hear(code);
    driven
}

/// What became of the second one after these replies, if that is known, and
/// whether the connection is over.
fn second(mut driven: Driven, codes: &[u16]) -> (Option<Verdict>, bool) {
    let outputs: Vec<_> = codes.iter().flat_map(|code| driven.hear(*code)).collect();
    let over = matches!(outputs.last(), Some(Output::Done(_)));
    let verdict = outputs.into_iter().find_map(|output| match output {
        Output::Finished(1, outcome) => Some(outcome.verdict),
        _ => None,
    });
    (verdict, over)
}

#[test]
fn a_server_that_goes_on_after_its_farewell_is_heard() {
    // Once nothing is to be learnt any more, that is the end.
    let accepted = |told| matches!(told, (Some(Verdict::Accepted(_)), true));
    // To RSET, whatever became of the message before it.
    assert!(matches!(second(two_texts_out(250), &[421]), (None, false)));
    assert!(accepted(second(two_texts_out(250), &[421, 250, 250, 250])));
    // Nothing is begun behind it.
    assert!(two_texts_out(421).send(2).is_empty());
    // After a farewell the reply to RSET says nothing of BDAT; after a BDAT that
    // was not known a refused RSET says that the text was taken for commands.
    for code in [250, 500] {
        assert!(
            accepted(second(two_texts_out(421), &[code, 250, 250, 250])),
            "{code}"
        );
    }
    assert!(accepted(second(two_texts_out(500), &[250, 250, 250, 250])));
    assert!(matches!(
        second(two_texts_out(500), &[500]),
        (Some(Verdict::Untried(_)), true)
    ));
}

#[test]
fn as_many_messages_are_wanted_as_can_be_under_way() {
    for (extensions, window) in [
        (&CHUNKS[..], FIRST_MESSAGES_IN_FLIGHT),
        (&["PIPELINING"], 2),
        (&["CHUNKING"], 2),
        // A login that is demanded has to find nothing else under way.
        (&["PIPELINING", "CHUNKING", "AUTH PLAIN"], 1),
    ] {
        let driven = Driven::ready(extensions);
        assert_eq!(driven.0.message_window(), window, "{extensions:?}");
    }
    assert_eq!(two_texts_out(421).0.message_window(), 0);
}

#[test]
fn no_more_messages_are_begun_than_may_be_under_way() {
    for (extensions, window) in [
        (&CHUNKS[..], FIRST_MESSAGES_IN_FLIGHT),
        (&["PIPELINING"], 2),
    ] {
        let mut driven = text_is_out(extensions);
        for id in 1..window {
            assert!(!driven.send(id as MessageId).is_empty(), "{id}");
            driven.handle(Input::TextSent);
        }
        assert!(
            driven.send(window as MessageId).is_empty(),
            "{extensions:?}"
        );
    }
}

#[test]
fn what_is_taken_for_the_reply_to_a_recipient() {
    let statuses = ["PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES"];
    for (extensions, code, text, unknown) in [
        (&statuses[..], 250, "2.1.5 ok", true),
        (&statuses, 250, "2.0.0 ok", false),
        (&statuses, 250, "ok", false),
        // A refusal is one, whatever it is about.
        (&statuses, 554, "5.1.1 no", false),
        // Who has not announced them does not mean them.
        (&CHUNKS, 250, "2.1.5 ok", false),
    ] {
        let reply = Reply::new(code, vec![text.as_bytes().to_vec()]);
        let outputs = text_is_out(extensions).handle(Input::Reply(reply));
        let off = matches!(outputs[..], [Output::SwitchOff(SpeedUp::Chunking, _), ..]);
        assert_eq!(off, unknown, "{extensions:?} {text}");
    }
}

#[test]
fn bdat_is_unknown_to_a_server_that_complains_of_it_alone() {
    let alone = text_is_out(&CHUNKS).hear(501);
    assert!(matches!(
        alone[..],
        [Output::SwitchOff(SpeedUp::Chunking, _), ..]
    ));
    let mut two = text_is_out(&CHUNKS);
    two.send(1);
    two.handle(Input::TextSent);
    assert!(matches!(verdict(&two.hear(501)), Verdict::Failed(_)));
}
