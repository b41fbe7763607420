//! What the values of a column are, and that nothing is loaded as something else than it is meant.

use tidegate_core::manifest::Kind;
use tidegate_core::manifest::starter::{Meaning, Sample, write};

use super::starter::{kind_of, sample_of};
use super::valid;

const NUMERIC: Kind = Kind::Numeric { precision: None, scale: None };

/// What a column of these values is meant as, which is then text.
fn meant(values: &[&str], delimiter: u8) -> Option<Meaning> {
    let mut rows = vec!["v"];
    rows.extend(values);
    let column = sample_of("a.csv", &rows, '\u{0}', delimiter).columns[0].clone();
    assert!(column.meaning.is_none() || column.kind == Kind::Text, "{column:?}");
    column.meaning
}

fn read(values: &[&str], delimiter: u8) -> (Kind, String, bool) {
    let meant = meant(values, delimiter).unwrap_or_else(|| panic!("{values:?} are what they seem"));
    (meant.kind, meant.how, meant.sure)
}

fn table(rows: &[&str]) -> Sample {
    sample_of("a.csv", rows, ',', b',')
}

#[test]
fn marks_in_numbers_are_told_by_all_values_and_keep_the_column_text() {
    let (integer, comma, semicolon) = (Kind::Integer, b',', b';');
    assert_eq!(read(&["1,044", "2,000"], comma), (integer, "thousands \",\"".into(), true));
    assert_eq!(read(&["1,044.5", "2,000"], comma), (NUMERIC, "thousands \",\"".into(), true));
    assert_eq!(read(&["12,50", "7"], semicolon), (NUMERIC, "decimal \",\"".into(), true));
    let european = "decimal \",\", thousands \".\"".to_owned();
    assert_eq!(read(&["1.234,56", "12,50"], semicolon), (NUMERIC, european.clone(), true));
    assert_eq!(
        read(&["1.234", "12,5"], semicolon),
        (NUMERIC, european, true),
        "1.234 is no small number here"
    );
    assert_eq!(read(&["1 234", "7"], comma), (integer, "marks between thousands".into(), true));
    assert_eq!(read(&["$1", "$20"], comma).0, integer);
    assert_eq!(read(&[" 7", " 8"], comma).0, integer);
}

#[test]
fn marks_that_mean_one_of_two_things_are_not_guessed() {
    assert!(!read(&["1,044", "2,000"], b';').2);
    assert!(!read(&["1.234", "5.678"], b';').2);
    assert!(!read(&["1,234.5", "1.234,5"], b',').2);
    assert_eq!(meant(&["1.234", "5.67"], b';'), None);
    assert_eq!(kind_of(&["1.234", "5.678"]), NUMERIC);
}

#[test]
fn a_date_is_read_by_the_values_that_tell_the_day_from_the_month() {
    assert_eq!(read(&["27/07/2021", "01/02/2021"], b','), (Kind::Date, "%d/%m/%Y".into(), true));
    assert_eq!(read(&["07/27/2021", "01/02/2021"], b','), (Kind::Date, "%m/%d/%Y".into(), true));
    assert_eq!(read(&["01.02.2021"], b','), (Kind::Date, "%d.%m.%Y".into(), true));
    assert_eq!(read(&["27-Jul-21"], b','), (Kind::Date, "%d-%b-%y".into(), true));
    assert_eq!(read(&["Jul 27, 2021"], b','), (Kind::Date, "%b %d, %Y".into(), true));
    assert_eq!(read(&["2021/07/27"], b','), (Kind::Date, "%Y/%m/%d".into(), true));
    let (kind, how, _) = read(&["27/07/2021 04:05:06 PM"], b',');
    assert_eq!((kind, how), (Kind::Timestamp, "%d/%m/%Y %I:%M:%S %p".into()));
    assert!(!read(&["01/02/2021", "03/04/2021"], b',').2, "nothing tells");
    assert!(!read(&["27/07/2021", "07/27/2021"], b',').2, "some are one, some the other");
    assert_eq!(kind_of(&["2021-07-27"]), Kind::Date);
    assert_eq!(meant(&["1/2", "3/4"], b','), None);
}

#[test]
fn a_text_for_a_missing_value_makes_no_column_text() {
    let rows: Vec<String> = (1..11).map(|id| format!("{id},{}", ["NA", "5"][usize::from(id > 1)])).collect();
    let mut with_header = vec!["id,x"];
    with_header.extend(rows.iter().map(String::as_str));
    let text = write(&[table(&with_header)], "p").text;
    assert!(text.contains("null: \"NA\"") && text.contains("x: {type: integer, optional: true}"), "{text}");
    let nulls = write(&[table(&["id,n", "1,NULL", "2,5", "3,NULL", "4,NULL"])], "p").text;
    assert!(
        nulls.contains("null: \"NULL\"") && nulls.contains("\"n\": {type: integer, optional: true}"),
        "{nulls}"
    );
    let copied = write(&[table(&["id,t", "1,\\N", "2,a"])], "p").text;
    assert!(copied.contains("null: \"\\\\N\""), "{copied}");
    let manifest = valid(&copied);
    assert_eq!(manifest.datasets[0].csv.null.as_deref(), Some("\\N"));
}

#[test]
fn a_code_that_looks_like_a_missing_value_is_not_made_null_in_silence() {
    let starter = write(&[table(&["id,country,n", "1,NA,5", "2,DE,NA", "3,FR,7"])], "p");
    assert!(
        starter.text.contains("      country: text # of 3 sampled: 1 \"NA\"; these are rejected"),
        "{}",
        starter.text
    );
    assert!(starter.remarks[0].doubts.iter().any(|doubt| doubt.contains("missing, or a code?")));
    let alone = write(&[table(&["id,country", "1,NA", "2,DE"])], "p");
    assert!(!alone.text.contains("null:"), "{}", alone.text);
    assert!(alone.remarks[0].doubts.iter().any(|doubt| doubt.contains("keeps it as text")));
}

#[test]
fn documents_times_and_words_for_true_have_types() {
    assert_eq!(kind_of(&["{\"a\":1}", "{}", "[1]"]), Kind::Jsonb);
    assert_eq!(kind_of(&["{a: 1}", "{b}"]), Kind::Text);
    assert_eq!(kind_of(&["10:30", "11:45:10"]), Kind::Time);
    assert_eq!(kind_of(&["yes", "no", "Yes"]), Kind::Boolean);
    assert_eq!(kind_of(&["y", "y"]), Kind::Text);
    assert_eq!(kind_of(&["Y", "N"]), Kind::Boolean);
}
