//! What is wrong with a line is a dead letter with its reasons; what is right is in the table.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::home::Home;

/// A dataset with every type and rule.
const MANIFEST: &str = r#"
pipeline: odd
settle: 10ms
datasets:
  parents: {key: id, columns: {id: integer}}
  things:
    key: id
    columns:
      id: integer
      small: {type: smallint, optional: true}
      big: {type: bigint, optional: true}
      amount: {type: "numeric(6,2)", optional: true}
      single: {type: real, optional: true}
      ratio: {type: double, optional: true}
      flag: {type: boolean, optional: true}
      code: {type: varchar(5), optional: true}
      day: {type: date, optional: true}
      hour: {type: time, optional: true}
      local: {type: timestamp, optional: true}
      at: {type: timestamptz, optional: true}
      tag: {type: uuid, optional: true}
      doc: {type: jsonb, optional: true}
      level: {type: integer, optional: true, min: 1, max: 10}
      word: {type: text, optional: true, min_length: 3, pattern: "^[a-z]+$"}
      kind: {type: text, optional: true, one_of: [red, blue]}
      parent: {type: integer, optional: true, references: parents}
      note: text
"#;

const COLUMNS: [&str; 19] = [
    "id", "small", "big", "amount", "single", "ratio", "flag", "code", "day", "hour", "local", "at", "tag",
    "doc", "level", "word", "kind", "parent", "note",
];

/// A column, what a line says there, and what becomes of it: `Ok` with the value as Postgres shows it, or
/// the code of the reason.
type Case = (&'static str, &'static str, Result<&'static str, &'static str>);

const CASES: [Case; 67] = [
    ("small", "-32768", Ok("-32768")),
    ("small", "32768", Err("out_of_range")),
    ("small", "1.0", Err("invalid_integer")),
    ("small", " 1", Err("invalid_integer")),
    ("big", "-9223372036854775808", Ok("-9223372036854775808")),
    ("big", "9223372036854775808", Err("out_of_range")),
    ("big", "+7", Ok("7")),
    ("big", "007", Ok("7")),
    ("big", "0x7", Err("invalid_integer")),
    ("amount", "1234.56", Ok("1234.56")),
    ("amount", "1.5e3", Ok("1500.00")),
    ("amount", "12345.6", Err("out_of_range")),
    ("amount", "1.234", Err("out_of_range")),
    ("amount", "NaN", Err("invalid_number")),
    ("amount", "1,5", Err("invalid_number")),
    ("single", "3.5", Ok("3.5")),
    ("single", "1e39", Err("out_of_range")),
    ("ratio", "1e308", Ok("1e+308")),
    ("ratio", "1e309", Err("out_of_range")),
    ("ratio", "1e-400", Err("out_of_range")),
    ("ratio", "Infinity", Err("invalid_number")),
    ("flag", "YES", Ok("t")),
    ("flag", "0", Ok("f")),
    ("flag", "maybe", Err("invalid_boolean")),
    ("code", "äöüßé", Ok("äöüßé")),
    ("code", "äöüßéè", Err("too_long")),
    ("code", " a ", Ok(" a ")),
    ("day", "2020-02-29", Ok("2020-02-29")),
    ("day", "2021-02-29", Err("invalid_date")),
    ("day", "1900-02-29", Err("invalid_date")),
    ("day", "29.02.2020", Err("invalid_date")),
    ("day", "0000-01-01", Err("out_of_range")),
    ("day", "today", Err("invalid_date")),
    ("hour", "23:59:59.999999", Ok("23:59:59.999999")),
    ("hour", "08:15", Ok("08:15:00")),
    ("hour", "25:00:00", Err("invalid_time")),
    ("hour", "12:60", Err("invalid_time")),
    ("local", "2021-07-27T16:02:08", Ok("2021-07-27 16:02:08")),
    ("local", "2021-07-27 16:02:08.5", Ok("2021-07-27 16:02:08.5")),
    ("local", "2021-07-27T16:02:08Z", Err("invalid_timestamp")),
    ("local", "2021-07-27T16:02:08+02:00", Err("invalid_timestamp")),
    ("at", "2021-07-27T16:02:08Z", Ok("2021-07-27 16:02:08+00")),
    ("at", "2021-07-27T16:02:08", Ok("2021-07-27 16:02:08+00")),
    ("at", "2021-07-27T16:02:08+02:00", Ok("2021-07-27 14:02:08+00")),
    ("at", "2020-02-29T23:30:00-01", Ok("2020-03-01 00:30:00+00")),
    ("at", "2021-02-29T00:00:00Z", Err("invalid_timestamp")),
    ("at", "2021-07-27T25:00:00Z", Err("invalid_timestamp")),
    ("at", "294276-12-31T23:59:59Z", Ok("294276-12-31 23:59:59+00")),
    ("at", "294277-01-01T00:00:00Z", Err("out_of_range")),
    ("at", "294276-12-31T23:59:59-01:00", Err("out_of_range")),
    ("at", "0001-01-01T00:00:00+01:00", Err("out_of_range")),
    ("at", "1627401728", Err("invalid_timestamp")),
    ("tag", "A0EEBC999C0B4EF8BB6D6BB9BD380A11", Ok("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")),
    ("tag", "a0eebc99", Err("invalid_uuid")),
    ("doc", r#"{"a": [1, "\\u0000"]}"#, Ok(r#"{"a": [1, "\\u0000"]}"#)),
    ("doc", r#"{"a": "\u0000"}"#, Err("invalid_json")),
    ("doc", "{a: 1}", Err("invalid_json")),
    ("level", "10", Ok("10")),
    ("level", "0", Err("out_of_range")),
    ("level", "11", Err("out_of_range")),
    ("word", "abc", Ok("abc")),
    ("word", "ab", Err("too_short")),
    ("word", "ABC", Err("pattern_mismatch")),
    ("kind", "blue", Ok("blue")),
    ("kind", "green", Err("not_allowed")),
    ("parent", "77", Err("unknown_reference")),
    ("note", "", Err("missing_value")),
];

/// A line of `things` whose other optional columns are missing.
fn line(id: usize, column: &str, value: &str) -> String {
    let field = |name: &&str| match *name {
        name if name == column => format!("\"{}\"", value.replace('"', "\"\"")),
        "id" => id.to_string(),
        "note" => "x".to_owned(),
        _ => String::new(),
    };
    COLUMNS.iter().map(field).collect::<Vec<_>>().join(",") + "\n"
}

/// The dead letters of a source: for each line the pairs of column and code.
async fn reasons(home: &Home, source: u64) -> BTreeMap<u64, Vec<String>> {
    let mut of_lines: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for letter in home.dead_letters().await {
        if letter["source"] == source {
            let column = letter["column"].as_str().unwrap_or("-");
            let reason = format!("{column} {}", letter["code"].as_str().unwrap());
            of_lines.entry(letter["line"].as_u64().unwrap()).or_default().push(reason);
        }
    }
    of_lines
}

#[tokio::test]
async fn every_value_is_stored_as_postgres_reads_it_or_refused_for_its_reason() {
    let home = Home::new(MANIFEST).await;
    let lines: String = CASES.iter().enumerate().map(|(i, case)| line(i + 1, case.0, case.1)).collect();
    home.drop("things.csv", lines);
    home.ingest().await;
    let reasons = reasons(&home, 1).await;
    let mut wrong = Vec::new();
    for (i, (column, value, expected)) in CASES.iter().enumerate() {
        let stored = home.query(&format!("select \"{column}\"::text from things where id = {}", i + 1)).await;
        let stored = stored.first().map(String::as_str);
        let stored = match *column {
            "flag" => stored.map(|text| &text[..1]),
            _ => stored,
        };
        let refused = reasons.get(&(i as u64 + 1)).map(|reasons| reasons.join(", "));
        let is_right = match expected {
            Ok(text) => stored == Some(*text) && refused.is_none(),
            Err(code) => stored.is_none() && refused.as_deref() == Some(&format!("{column} {code}")),
        };
        if !is_right {
            wrong.push(format!("{column} '{value}' should be {expected:?}: {stored:?}, {refused:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_line_is_refused_for_all_its_reasons_at_once() {
    let home = Home::new(MANIFEST).await;
    let mut fields = [""; 19];
    (fields[0], fields[1], fields[8], fields[15], fields[17]) = ("x", "70000", "never", "A", "77");
    home.drop("things.csv", format!("{}\n1,2,3\n{}\n", fields.join(","), ",".repeat(30)));
    home.ingest().await;
    let reasons = reasons(&home, 1).await;
    assert_eq!(
        reasons[&1],
        [
            "id invalid_integer",
            "small out_of_range",
            "day invalid_date",
            "word too_short",
            "word pattern_mismatch",
            "note missing_value"
        ],
        "and the reference is not looked up"
    );
    assert_eq!(reasons[&2], ["- wrong_column_count"]);
    assert_eq!(reasons[&3], ["- wrong_column_count"]);
}

#[tokio::test]
async fn a_line_that_a_constraint_refuses_is_set_aside_and_the_rest_of_its_batch_is_applied() {
    let home = Home::new(MANIFEST).await;
    home.ingest().await;
    home.query("alter table things add constraint unlucky check (small <> 13)").await;
    let lines: String =
        (1..=500).map(|id| line(id, "small", if id % 100 == 50 { "13" } else { "7" })).collect();
    home.drop("things.csv", lines);
    home.ingest().await;
    let letters = home.dead_letters().await;
    let refused: Vec<&Value> = letters.iter().map(|letter| &letter["line"]).collect();
    assert_eq!(refused, [50, 150, 250, 350, 450]);
    for letter in &letters {
        assert_eq!(letter["code"], "constraint_violation", "{letter}");
        assert_eq!(letter["status"], "rejected", "{letter}");
        assert!(letter["message"].as_str().unwrap().contains("unlucky"), "{letter}");
    }
    assert_eq!(home.query("select count(*) from things").await, ["495"]);
    let source = &home.sources().await[0];
    assert_eq!((&source["accepted"], &source["rejected"]), (&495.into(), &5.into()), "{source}");
}

#[tokio::test]
async fn a_trigger_that_raises_refuses_its_line_alone() {
    let home = Home::new(MANIFEST).await;
    home.ingest().await;
    home.query(
        "create function refuse() returns trigger language plpgsql as
            $$ begin if new.note = 'no' then raise exception 'not this one'; end if; return new; end $$",
    )
    .await;
    home.query(
        "create trigger refuse before insert or update on things for each row execute function refuse()",
    )
    .await;
    home.drop("things.csv", [line(1, "note", "yes"), line(2, "note", "no"), line(3, "note", "yes")].concat());
    home.ingest().await;
    assert_eq!(home.query("select id from things order by id").await, ["1", "3"]);
    let letters = home.dead_letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0]["code"], "constraint_violation");
    assert!(letters[0]["message"].as_str().unwrap().contains("not this one"), "{}", letters[0]);
}

#[tokio::test]
async fn an_older_line_of_a_key_stands_in_for_a_newer_one_that_is_refused() {
    let home = Home::new(MANIFEST).await;
    home.ingest().await;
    home.query("alter table things add check (small <> 13)").await;
    home.drop("things.csv", [line(1, "small", "1"), line(1, "small", "2"), line(1, "small", "13")].concat());
    home.ingest().await;
    assert_eq!(home.query("select small, _line from things").await, ["2|2"]);
    let source = &home.sources().await[0];
    assert_eq!((&source["accepted"], &source["rejected"]), (&2.into(), &1.into()), "{source}");
}
