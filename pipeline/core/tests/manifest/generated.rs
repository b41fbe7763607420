//! Keys that are generated.

use tidegate_core::manifest::Generated;

use super::faults::assert_faults;
use super::valid;

/// A manifest whose key is this, in line 2.
fn with_key(key: &str) -> String {
    format!("{{pipeline: p, datasets: {{a: {{key: id, columns: {{b: text,\nid: {key}}}}}}}}}")
}

fn generated(key: &str) -> Option<Generated> {
    valid(&with_key(key)).datasets[0].generated().map(|(_, how)| how)
}

#[test]
fn a_key_is_generated_where_it_says_so() {
    for kind in ["uuid", "text", "varchar(36)"] {
        assert_eq!(generated(&format!("{{type: {kind}, generated: uuid}}")), Some(Generated::Uuid));
    }
    for (kind, start) in [
        ("smallint", i64::from(i16::MAX)),
        ("integer", 1_000_000),
        ("bigint", i64::MAX),
        ("bigint", i64::MIN),
    ] {
        let key = format!("{{type: {kind}, generated: {{start: {start}}}}}");
        assert_eq!(generated(&key), Some(Generated::Sequence { start }));
    }
    assert_eq!(generated("{type: uuid}"), None);
}

#[test]
fn what_cannot_be_generated_is_a_fault() {
    let cases = [
        ("{type: uuid, generated: uid}", "2:29: \"uid\" is no way to generate a key; did you mean \"uuid\"?"),
        (
            "{type: uuid, generated: serial}",
            "2:29: \"serial\" is no way to generate a key; write \"uuid\", or \"{start: 1000000}\" for whole numbers",
        ),
        (
            "{type: uuid, generated: [uuid]}",
            "2:29: expected a mapping of what is generated, found a list; write \"name: value\", a line each, indented",
        ),
        (
            "{type: integer, generated: uuid}",
            "2:32: id is of type integer, which does not hold a UUID; choose uuid, text or a varchar of at least 36 characters",
        ),
        (
            "{type: varchar(35), generated: uuid}",
            "2:36: id is of type varchar(35), which does not hold a UUID; choose uuid, text or a varchar of at least 36 characters",
        ),
        (
            "{type: uuid, generated: {start: 1}}",
            "2:29: id is of type uuid, which does not hold a number; choose smallint, integer or bigint",
        ),
        (
            "{type: integer, generated: {start: 2147483648}}",
            "2:40: start 2147483648 is no value of id; choose one from -2147483648 to 2147483647",
        ),
        (
            "{type: smallint, min: 10, generated: {start: 9}}",
            "2:50: start 9 is no value of id; choose one from 10 to 32767",
        ),
        (
            "{type: integer, generated: {start: 1.5}}",
            "2:40: start must be a whole number, not \"1.5\"; say where it begins: \"generated: {start: 1000000}\"",
        ),
        (
            "{type: integer, one_of: [1], generated: {start: 1}}",
            "2:45: id is generated, so it is none of its one_of; remove \"one_of\" or \"generated\"",
        ),
        (
            "{type: integer, references: a, generated: {start: 1}}",
            "2:33: id is generated, so it cannot be a key of a; remove \"references\" or \"generated\"",
        ),
    ];
    for (key, fault) in cases {
        assert_faults(&with_key(key), &[fault]);
    }
    assert_faults(
        &with_key("{type: integer, generated: {stat: 1}}"),
        &[
            "2:32: \"start\" is missing; say where it begins: \"generated: {start: 1000000}\"",
            "2:33: unknown key \"stat\"; did you mean \"start\"?",
        ],
    );
}

#[test]
fn only_the_key_is_generated() {
    let text =
        "{pipeline: p, datasets: {a: {key: id, columns: {id: integer,\nb: {type: uuid, generated: uuid}}}}}";
    assert_faults(
        text,
        &[
            "2:28: b is generated, but it is not the key of a; only the key, id, can be generated; remove it here",
        ],
    );
}
