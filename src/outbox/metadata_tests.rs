//! The metadata file: tables of what programs write, and properties.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn parse(source: &str) -> Result<Metadata, ProblemKind> {
    Metadata::parse(source.as_bytes())
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

#[test]
fn reads_what_every_emacs_wrote() {
    let table: &[(&str, &[&str])] = &[
        (
            "(setq      smtpmail-recipient-address-list (\"b@x\" \"a@x\")\n)\n",
            &["b@x", "a@x"],
        ),
        (
            "(setq smtpmail-recipient-address-list '(\"a@x\"))\n",
            &["a@x"],
        ),
        (
            "(setq smtpmail-recipient-address-list (quote (\"a@x\")))\n",
            &["a@x"],
        ),
        ("(setq      smtpmail-recipient-address-list nil\n)\n", &[]),
        (
            "(setq smtpmail-recipient-address-list (#(\"a@x\" 0 3 (face (italic)))))",
            &["a@x"],
        ),
        (
            "; -*- coding: utf-8 -*-\r\n(setq smtpmail-recipient-address-list\r\n (\"ü@x\"))\r\n",
            &["ü@x"],
        ),
    ];
    for (source, expected) in table {
        let metadata = parse(source).expect(source);
        assert_eq!(metadata.recipients, texts(expected), "{source}");
        assert_eq!(metadata.record, None);
        assert_eq!(metadata.state(), State::Waiting);
    }
}

#[test]
fn a_stored_nil_is_not_an_absent_variable() {
    let source = "(setq      smtpmail-recipient-address-list (\"a@x\")\n     smtpmail-smtp-server \"m\"\n     \
                  smtpmail-stream-type nil\n     smtpmail-smtp-service 25\n     smtpmail-new-thing (1 \"two\" [)\n)\n";
    assert_eq!(parse(source), Err(ProblemKind::UnexpectedCode));
    let metadata = parse(&source.replace(" [", " (x)")).expect("good");
    assert_eq!(metadata.variables.server, Some(Value::Text("m".into())));
    assert_eq!(metadata.variables.stream_type, Some(Value::Nil));
    assert_eq!(metadata.variables.service, Some(Value::Integer(25)));
    assert_eq!(metadata.variables.user, None);
    let kept = [(
        "smtpmail-new-thing".to_owned(),
        "(1 \"two\" (x))".to_owned(),
    )];
    assert_eq!(metadata.other_variables, kept);
    assert!(
        metadata
            .to_source()
            .expect("writable")
            .contains("     smtpmail-new-thing (1 \"two\" (x))\n")
    );
}

#[test]
fn code_is_reported_and_not_run() {
    for source in [
        "(shell-command \"rm -rf ~\")",
        "(progn (setq smtpmail-recipient-address-list (\"a\")))",
        "(setq smtpmail-recipient-address-list (list \"a\"))",
        "(setq smtpmail-recipient-address-list (concat \"a\" \"b\"))",
        "(setq smtpmail-recipient-address-list (\"a\" b))",
        "(setq smtpmail-recipient-address-list \"a\")",
        "(setq smtpmail-recipient-address-list (\"a\"))(delete-file \"x\")",
        "(setq smtpmail-recipient-address-list (\"a\") smtpmail-smtp-server (getenv \"X\"))",
        "(setq \"a\" 1)",
        "smtpmail",
        "\"(setq)\"",
        "#!/bin/sh\nrm",
        "\u{0}\u{1}",
    ] {
        assert_eq!(parse(source), Err(ProblemKind::UnexpectedCode), "{source}");
    }
}

#[test]
fn a_cut_file_is_half_written_or_unexpected_but_never_an_entry_of_ours() {
    let whole = sample().to_source().expect("writable");
    let form_end = whole.find("\n)\n").expect("the form ends") + 2;
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        match parse(&whole[..end]) {
            Err(_) => {}
            // Without its facts, or with all of them but the last newline.
            Ok(metadata) => assert!(
                metadata.record.is_none() && (form_end..=form_end + HEADING.len()).contains(&end)
                    || end == whole.len() - 1,
                "cut at {end}: {metadata:?}"
            ),
        }
    }
    assert_eq!(parse(""), Err(ProblemKind::HalfWritten));
    assert_eq!(
        parse("(setq smtpmail-recipient-address-list (\"a@x\""),
        Err(ProblemKind::HalfWritten)
    );
}

#[test]
fn later_versions_are_left_alone() {
    let source = sample().to_source().expect("writable");
    let later = source.replace("smtpmail-entry 1", "smtpmail-entry 2");
    assert_eq!(parse(&later), Err(ProblemKind::UnsupportedVersion));
    let later = source.replace("state held", "state enchanted 7");
    assert_eq!(parse(&later), Err(ProblemKind::UnsupportedVersion));
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let mut metadata = sample();
    metadata.variables.stream_type = Some(Value::Symbol("a b".into()));
    assert!(metadata.to_source().is_err());
    let mut metadata = sample();
    if let Some(record) = &mut metadata.record {
        record.facts.other.insert("state".into(), Value::Nil);
    }
    assert!(metadata.to_source().is_err());
    let mut metadata = sample();
    metadata.recipients = vec!["a".repeat(1 << 20); 5];
    assert!(metadata.to_source().is_err());
}

#[test]
fn line_ends_in_facts_stay_inside_their_comment() {
    let mut metadata = sample();
    if let Some(record) = &mut metadata.record {
        record.facts.subject = Some("a\n(delete-file \"x\")\r\n;; end\n".into());
    }
    let source = metadata.to_source().expect("writable");
    assert!(
        source
            .lines()
            .skip_while(|line| *line != ")")
            .skip(1)
            .all(|line| line.starts_with(";; "))
    );
    assert_eq!(parse(&source), Ok(metadata));
}

#[test]
fn a_fact_that_could_not_be_written_again_is_not_read() {
    let source = sample().to_source().expect("holdable");
    for line in [";; end 1", ";; end \"x\""] {
        let damaged = source.replace(";; end", &format!("{line}\n;; end"));
        assert_eq!(parse(&damaged), Err(ProblemKind::UnexpectedCode), "{line}");
    }
}

fn sample() -> Metadata {
    let facts = Facts {
        subject: Some("grüße".into()),
        size: Some(7),
        ..Facts::default()
    };
    Metadata {
        recipients: texts(&["a@example.org"]),
        variables: StoredVariables::default(),
        other_variables: Vec::new(),
        record: Some(Record {
            revision: 1,
            queued: Microseconds(5),
            state: State::Held,
            facts,
        }),
    }
}

fn any_text() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            any::<char>(),
            prop::sample::select(vec!['"', '\\', '\n', '\r', ';', ')', '\0', 'x'])
        ],
        0..12,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Integer),
        prop::sample::select(vec!["starttls", "ssl", "t", "plain"])
            .prop_map(|name| Value::Symbol(name.into())),
        any_text().prop_map(Value::Text),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    let time = || (0..1_u64 << 53).prop_map(|micros| Microseconds(micros).time());
    prop_oneof![
        Just(State::Waiting),
        Just(State::Held),
        Just(State::Refused),
        Just(State::Unknown),
        time().prop_map(|next_try| State::Deferred { next_try }),
        time().prop_map(|until| State::Scheduled { until }),
    ]
}

prop_compose! {
    fn any_facts()(
        account in option::of(any_text()), attempts in any::<u32>(), eight_bit in option::of(any::<bool>()),
        from in option::of(any_text()), last_reply in option::of(any_text()), message_id in option::of(any_text()),
        other in btree_map("x-[a-z]{1,4}", any_value(), 0..3),
        refused in vec((any_text(), any_text()), 0..3),
        sender in option::of(any_text()), size in option::of(0..i64::MAX as u64), subject in option::of(any_text()),
    ) -> Facts {
        let refused_recipients = refused.into_iter()
            .map(|(recipient, reply)| RefusedRecipient { recipient, reply }).collect();
        Facts { account, attempts, eight_bit, from, last_reply, message_id, other, refused_recipients,
            sender, size, subject }
    }
}

prop_compose! {
    fn any_metadata()(
        recipients in vec(any_text(), 0..4),
        values in vec(option::of(any_value()), 4),
        record in option::of((0..i64::MAX as u64, 0..i64::MAX as u64, any_state(), any_facts())),
    ) -> Metadata {
        let [server, stream_type, service, user] = <[_; 4]>::try_from(values).expect("four");
        Metadata {
            recipients,
            variables: StoredVariables { server, stream_type, service, user },
            other_variables: Vec::new(),
            record: record.map(|(revision, queued, state, facts)|
                Record { revision, queued: Microseconds(queued), state, facts }),
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(metadata in any_metadata()) {
        let source = metadata.to_source().expect("all of it can be written");
        prop_assert_eq!(parse(&source), Ok(metadata));
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Metadata::parse(&bytes);
    }

    #[test]
    fn no_lispy_bytes_panic_the_reader(source in "(\\(setq smtpmail-recipient-address-list )?[()'\"\\\\#;x0-9a nU\n]{0,60}") {
        let _ = parse(&source);
    }

    #[test]
    fn no_damage_panics_the_reader(
        metadata in any_metadata(), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = metadata.to_source().expect("all of it can be written").into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if cut {
            bytes.truncate(place);
        }
        let _ = Metadata::parse(&bytes);
    }
}
