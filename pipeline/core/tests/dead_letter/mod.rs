//! A dead letter is JSON with the exact line.

use std::time::SystemTime;

use tidegate_core::dead_letter::{Code, DeadLetter, Event, Reason, Stage};
use tidegate_core::position::Position;
use tidegate_core::split::TooLong;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn write(letter: &DeadLetter<'_>) -> String {
    let mut json = Vec::new();
    letter.write(&mut json);
    assert_eq!(&DeadLetter::parse(&json).unwrap(), letter);
    String::from_utf8(json).unwrap()
}

#[test]
fn a_dead_letter_is_json_with_the_exact_line() {
    let reasons = vec![Reason::new(Code::MissingValue, Some("name"), "name is required", b"")];
    let letter = DeadLetter::new(
        Event::Rejected,
        Stage::Transform,
        Position::new(3, 117),
        "d",
        b"117,,\"x\"",
        reasons,
        NOW,
    );
    assert_eq!(
        write(&letter),
        r#"{"event":"rejected","source":3,"line":117,"form":0,"dataset":"d","stage":"transform","text":"117,,\"x\"","reasons":[{"code":"missing_value","column":"name","message":"name is required","value":""}],"at":"1970-01-01T00:00:00.000Z"}"#
    );
}

#[test]
fn there_is_no_line_zero() {
    let letter = DeadLetter::new(Event::Rejected, Stage::Source, Position::new(1, 1), "d", b"", vec![], NOW);
    let json = write(&letter).replace("\"line\":1", "\"line\":0");
    assert!(DeadLetter::parse(json.as_bytes()).is_err());
}

#[test]
fn what_postgres_text_cannot_hold_is_kept_in_base64() {
    for bytes in [&b"a\0b"[..], b"\xff\xfe"] {
        let letter =
            DeadLetter::new(Event::Rejected, Stage::Source, Position::new(1, 1), "d", bytes, vec![], NOW);
        assert_eq!(letter.text, None);
        assert!(write(&letter).contains("\"bytes\":\""));
    }
}

#[test]
fn a_line_that_is_too_long_keeps_a_prefix_cut_between_characters() {
    let record = TooLong { prefix: "aé".as_bytes()[..2].to_vec(), length: 9, hash: blake3::hash(b"") };
    let letter = DeadLetter::too_long(Position::new(1, 1), "d", &record, "too long".into(), NOW);
    assert_eq!((letter.text.as_deref(), letter.length), (Some("a"), Some(9)));
}
