//! What is wrong with a line is a dead letter with its reasons; what is right is in the table.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::home::Home;

/// A dataset with every type and rule.
const MANIFEST: &str = r#"
pipeline: odd
stable_for: 10ms
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

/// A test for each value of a column, and what becomes of the value: `Ok` with its text as Postgres shows it, or the
/// code of the reason against it. All values stand in one file, which is ingested once.
macro_rules! values {
    ($($name:ident: $column:literal, $value:literal => $fate:expr,)+) => {
        const VALUES: &[(&str, &str)] = &[$(($column, $value)),+];

        $(
            #[tokio::test]
            async fn $name() {
                assert_fate($column, $value, $fate).await;
            }
        )+
    };
}

values! {
    small_at_its_lowest: "small", "-32768" => Ok("-32768"),
    small_above_its_highest: "small", "32768" => Err("out_of_range"),
    small_with_a_fraction_of_zero: "small", "1.0" => Ok("1"),
    small_with_a_fraction: "small", "1.5" => Err("invalid_integer"),
    small_after_a_blank: "small", " 1" => Err("invalid_integer"),
    big_at_its_lowest: "big", "-9223372036854775808" => Ok("-9223372036854775808"),
    big_above_its_highest: "big", "9223372036854775808" => Err("out_of_range"),
    big_with_a_plus: "big", "+7" => Ok("7"),
    big_with_zeros_in_front: "big", "007" => Ok("7"),
    big_in_hexadecimal: "big", "0x7" => Err("invalid_integer"),
    amount_that_fits: "amount", "1234.56" => Ok("1234.56"),
    amount_with_an_exponent: "amount", "1.5e3" => Ok("1500.00"),
    amount_with_too_many_digits: "amount", "12345.6" => Err("out_of_range"),
    amount_with_too_many_decimals: "amount", "1.234" => Err("out_of_range"),
    amount_that_is_no_number: "amount", "NaN" => Err("invalid_number"),
    amount_with_a_comma: "amount", "1,5" => Err("invalid_number"),
    single_that_fits: "single", "3.5" => Ok("3.5"),
    single_above_its_highest: "single", "1e39" => Err("out_of_range"),
    ratio_near_its_highest: "ratio", "1e308" => Ok("1e+308"),
    ratio_above_its_highest: "ratio", "1e309" => Err("out_of_range"),
    ratio_below_its_smallest: "ratio", "1e-400" => Err("out_of_range"),
    ratio_that_is_infinite: "ratio", "Infinity" => Err("invalid_number"),
    flag_in_capitals: "flag", "YES" => Ok("t"),
    flag_as_a_digit: "flag", "0" => Ok("f"),
    flag_as_a_word: "flag", "maybe" => Err("invalid_boolean"),
    code_of_five_characters: "code", "äöüßé" => Ok("äöüßé"),
    code_of_six_characters: "code", "äöüßéè" => Err("too_long"),
    code_between_blanks: "code", " a " => Ok(" a "),
    day_that_leaps: "day", "2020-02-29" => Ok("2020-02-29"),
    day_that_does_not_leap: "day", "2021-02-29" => Err("invalid_date"),
    day_of_a_century_that_does_not_leap: "day", "1900-02-29" => Err("invalid_date"),
    day_with_dots: "day", "29.02.2020" => Err("invalid_date"),
    day_of_the_year_0: "day", "0000-01-01" => Err("out_of_range"),
    day_as_a_word: "day", "today" => Err("invalid_date"),
    hour_with_microseconds: "hour", "23:59:59.999999" => Ok("23:59:59.999999"),
    hour_without_seconds: "hour", "08:15" => Ok("08:15:00"),
    hour_25: "hour", "25:00:00" => Err("invalid_time"),
    hour_with_minute_60: "hour", "12:60" => Err("invalid_time"),
    local_with_a_t: "local", "2021-07-27T16:02:08" => Ok("2021-07-27 16:02:08"),
    local_with_a_fraction: "local", "2021-07-27 16:02:08.5" => Ok("2021-07-27 16:02:08.5"),
    local_in_utc: "local", "2021-07-27T16:02:08Z" => Err("invalid_timestamp"),
    local_with_an_offset: "local", "2021-07-27T16:02:08+02:00" => Err("invalid_timestamp"),
    at_in_utc: "at", "2021-07-27T16:02:08Z" => Ok("2021-07-27 16:02:08+00"),
    at_without_a_zone: "at", "2021-07-27T16:02:08" => Ok("2021-07-27 16:02:08+00"),
    at_with_an_offset: "at", "2021-07-27T16:02:08+02:00" => Ok("2021-07-27 14:02:08+00"),
    at_with_an_offset_into_march: "at", "2020-02-29T23:30:00-01" => Ok("2020-03-01 00:30:00+00"),
    at_on_a_day_that_does_not_leap: "at", "2021-02-29T00:00:00Z" => Err("invalid_timestamp"),
    at_hour_25: "at", "2021-07-27T25:00:00Z" => Err("invalid_timestamp"),
    at_its_latest: "at", "294276-12-31T23:59:59Z" => Ok("294276-12-31 23:59:59+00"),
    at_after_its_latest: "at", "294277-01-01T00:00:00Z" => Err("out_of_range"),
    at_after_its_latest_by_the_offset: "at", "294276-12-31T23:59:59-01:00" => Err("out_of_range"),
    at_before_its_first_by_the_offset: "at", "0001-01-01T00:00:00+01:00" => Err("out_of_range"),
    at_as_seconds: "at", "1627401728" => Err("invalid_timestamp"),
    tag_without_dashes: "tag", "A0EEBC999C0B4EF8BB6D6BB9BD380A11" => Ok("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    tag_that_is_too_short: "tag", "a0eebc99" => Err("invalid_uuid"),
    doc_with_an_escaped_backslash: "doc", r#"{"a": [1, "\\u0000"]}"# => Ok(r#"{"a": [1, "\\u0000"]}"#),
    doc_with_a_zero: "doc", r#"{"a": "\u0000"}"# => Err("invalid_json"),
    doc_without_quotes: "doc", "{a: 1}" => Err("invalid_json"),
    level_at_its_max: "level", "10" => Ok("10"),
    level_below_its_min: "level", "0" => Err("out_of_range"),
    level_above_its_max: "level", "11" => Err("out_of_range"),
    word_that_fits: "word", "abc" => Ok("abc"),
    word_that_is_too_short: "word", "ab" => Err("too_short"),
    word_in_capitals: "word", "ABC" => Err("pattern_mismatch"),
    kind_that_is_allowed: "kind", "blue" => Ok("blue"),
    kind_that_is_not_allowed: "kind", "green" => Err("not_allowed"),
    parent_that_is_unknown: "parent", "77" => Err("unknown_reference"),
    note_that_is_missing: "note", "" => Err("missing_value"),
}

/// What became of each of [`VALUES`]: the value as Postgres shows it, and the reasons against it.
async fn fates() -> &'static Vec<(Option<String>, Option<String>)> {
    static FATES: OnceCell<Vec<(Option<String>, Option<String>)>> = OnceCell::const_new();
    FATES
        .get_or_init(async || {
            let home = Home::new(MANIFEST).await;
            home.drop(
                "things.csv",
                (1..).zip(VALUES).map(|(id, (column, value))| line(id, column, value)).collect::<String>(),
            );
            home.ingest().await;
            let reasons = reasons(&home, 1).await;
            let mut fates = Vec::new();
            for (id, (column, _)) in (1..).zip(VALUES) {
                let stored =
                    home.query(&format!("select \"{column}\"::text from things where id = {id}")).await;
                fates.push((stored.into_iter().next(), reasons.get(&id).map(|reasons| reasons.join(", "))));
            }
            fates
        })
        .await
}

/// Fails unless a value is stored as Postgres reads it, or refused for its reason.
async fn assert_fate(column: &str, value: &str, fate: Result<&str, &str>) {
    let place = VALUES.iter().position(|its| *its == (column, value)).unwrap();
    let (stored, refused) = fates().await[place].clone();
    let stored = stored.map(|text| if column == "flag" { text[..1].to_owned() } else { text });
    let expected = match fate {
        Ok(text) => (Some(text.to_owned()), None),
        Err(code) => (None, Some(format!("{column} {code}"))),
    };
    assert_eq!((stored, refused), expected, "{column} '{value}'");
}

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
