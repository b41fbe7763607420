//! What the values of a column are, with the settings that read them, and that nothing is guessed that could be read
//! in two ways.

use tidegate_core::manifest::Kind;
use tidegate_core::manifest::starter::{ColumnSample, Inference, Layout, Notation, Sample, write};

use super::starter::{kind_of, sample_of};

const NUMERIC: Kind = Kind::Numeric { precision: None, scale: None };

fn column_of(values: &[&str], delimiter: u8) -> ColumnSample {
    let mut rows = vec!["v"];
    rows.extend(values);
    sample_of("a.csv", &rows, '\u{0}', delimiter).columns[0].clone()
}

/// The type of a column of these values, and the settings that read them.
#[track_caller]
fn read(values: &[&str], delimiter: u8) -> (Kind, Notation) {
    let column = column_of(values, delimiter);
    assert_eq!(column.meaning, None, "{values:?}");
    assert_eq!(column.misfits, 0, "{values:?}");
    (column.kind, column.notation)
}

/// What cannot be told of a column of these values, which is text.
#[track_caller]
fn doubt(values: &[&str], delimiter: u8) -> String {
    let column = column_of(values, delimiter);
    assert_eq!(column.kind, Kind::Text);
    column.meaning.unwrap_or_else(|| panic!("{values:?} are {:?}", column.kind)).how
}

fn table(rows: &[&str]) -> Sample {
    sample_of("a.csv", rows, ',', b',')
}

/// A table whose fields are in quotes where the rows have them.
fn table_with_quotes(rows: &[&str]) -> Sample {
    let mut inference = Inference::new("a.csv", Layout::plain(b',', rows[0].split(',').count()));
    for row in rows {
        let fields: Vec<&str> = row.split(',').map(|field| field.trim_matches('"')).collect();
        let quoted: Vec<bool> = row.split(',').map(|field| field.starts_with('"')).collect();
        inference.observe(&fields, &quoted);
    }
    inference.finish()
}

fn marks(decimal: Option<char>, thousands: Option<char>) -> Notation {
    Notation { decimal, thousands, ..Notation::default() }
}

fn formats(formats: &[&str]) -> Notation {
    Notation { formats: formats.iter().map(|format| (*format).to_owned()).collect(), ..Notation::default() }
}

#[test]
fn marks_in_numbers_are_told_by_all_values() {
    let (integer, comma, semicolon) = (Kind::Integer, b',', b';');
    assert_eq!(read(&["1,044", "2,000"], comma), (integer, marks(None, Some(','))));
    assert_eq!(read(&["1,044.5", "2,000"], comma), (NUMERIC, marks(None, Some(','))));
    assert_eq!(read(&["12,50", "7"], semicolon), (NUMERIC, marks(Some(','), None)));
    let european = marks(Some(','), Some('.'));
    assert_eq!(read(&["1.234,56", "12,50"], semicolon), (NUMERIC, european.clone()));
    assert_eq!(
        read(&["1.234", "12,5"], semicolon),
        (NUMERIC, european.clone()),
        "1.234 is no small number here"
    );
    assert_eq!(read(&["1.234.567", "1.234"], semicolon), (integer, european));
    assert_eq!(read(&["1 234", "7"], comma), (integer, marks(None, Some(' '))));
    assert_eq!(read(&["1'234.50", "7"], comma), (NUMERIC, marks(None, Some('\''))));
    assert_eq!(read(&["1 234,5", "7"], semicolon), (NUMERIC, marks(Some(','), Some(' '))));
    assert_eq!(read(&["3,000,000,000", "7"], comma), (Kind::BigInt, marks(None, Some(','))));
}

#[test]
fn what_stands_around_numbers_is_stripped() {
    let strip = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (kind, notation) = read(&["$1", "-$20"], b',');
    assert_eq!((kind, notation.strip), (Kind::Integer, strip(&["$"])));
    let (kind, notation) = read(&["$1,200.00", "5 EUR", "USD 5"], b',');
    assert_eq!(kind, NUMERIC);
    assert_eq!((notation.strip, notation.thousands), (strip(&["USD", "EUR", "$"]), Some(',')));
    let (kind, notation) = read(&["(5)", "7-", "8"], b',');
    assert_eq!((kind, notation.accounting, notation.strip), (Kind::Integer, true, vec![]));
    let (kind, notation) = read(&[" 7", " 8"], b',');
    assert_eq!((kind, notation.trim), (Kind::Integer, true));
    assert_eq!(read(&["2021-07-27 ", "2021-07-28"], b',').0, Kind::Date);
    assert!(!read(&["Ann ", " Bob"], b',').1.trim, "blanks around texts may be meant");
}

#[test]
fn marks_that_mean_one_of_two_things_are_not_guessed() {
    assert!(doubt(&["1,044", "2,000"], b';').contains("thousands: \",\" or decimal: \",\"?"));
    assert!(doubt(&["1.234", "5.678"], b';').contains("thousands: \".\""));
    assert!(doubt(&["1,234.5", "1.234,5"], b',').contains("both"));
    assert_eq!(read(&["1.234", "5.67"], b';'), (NUMERIC, Notation::default()));
    assert_eq!(kind_of(&["1.234", "5.678"]), NUMERIC);
}

#[test]
fn a_date_is_read_by_the_values_that_tell_the_day_from_the_month() {
    for (values, format) in [
        (&["27/07/2021", "01/02/2021"][..], "%d/%m/%Y"),
        (&["07/27/2021", "01/02/2021"], "%m/%d/%Y"),
        (&["01.02.2021"], "%d.%m.%Y"),
        (&["27-Jul-21", "01-May-21"], "%d-%b-%y"),
        (&["27 July 2021"], "%d %B %Y"),
        (&["Jul 27, 2021"], "%b %d, %Y"),
    ] {
        assert_eq!(read(values, b','), (Kind::Date, formats(&[format])), "{values:?}");
    }
    for (value, format) in [
        ("27/07/2021 04:05:06 PM", "%d/%m/%Y %I:%M:%S %p"),
        ("27/07/2021, 14:05", "%d/%m/%Y, %H:%M"),
        ("27.07.2021T14:05:06.25", "%d.%m.%YT%H:%M:%S%.f"),
        ("27/07/2021 4:05PM", "%d/%m/%Y %I:%M%p"),
    ] {
        assert_eq!(read(&[value], b','), (Kind::Timestamp, formats(&[format])), "{value}");
    }
    assert_eq!(read(&["27/07/2021 14:05 +0200"], b','), (Kind::Timestamptz, formats(&["%d/%m/%Y %H:%M %z"])));
    let several = formats(&["%d/%m/%Y", "%d.%m.%Y"]);
    assert_eq!(read(&["27/07/2021", "31.12.2020", "2020-12-30"], b','), (Kind::Date, several));
    assert_eq!(kind_of(&["2021-07-27"]), Kind::Date);
    for plain in [["2021/07/27", "2021-7-5"], ["2021-12-30", "2021/1/2"]] {
        assert_eq!(read(&plain, b','), (Kind::Date, Notation::default()), "no setting is needed");
    }
    assert_eq!(read(&["2021-07-27 00:00:00 UTC"], b','), (Kind::Timestamptz, Notation::default()));
    assert_eq!(kind_of(&["1/2", "3/4"]), Kind::Text);
}

#[test]
fn a_date_that_may_be_two_days_is_asked_for() {
    let asked = "format: \"%d/%m/%Y\" or \"%m/%d/%Y\"?";
    assert!(doubt(&["01/02/2021", "03/04/2021"], b',').starts_with(asked), "nothing tells");
    assert!(doubt(&["27/07/2021", "07/27/2021"], b',').starts_with(asked), "some are one, some the other");
    let starter = write(&[table(&["id,d", "1,01/02/2021", "2,03/04/2021"])], "p");
    assert!(starter.text.contains(&format!("      d: text # date, {asked}")), "{}", starter.text);
    assert!(starter.text.contains("    # not sure: 'd' stays text: date, "), "{}", starter.text);
}

#[test]
fn whole_numbers_that_may_be_times_are_told_by_their_names() {
    let hint = |name: &str, values: &[&str]| {
        let mut rows = vec![name];
        rows.extend(values);
        sample_of("a.csv", &rows, '\u{0}', b',').columns[0].hint.clone()
    };
    assert!(hint("created_at", &["1627401728", "1627401729"]).unwrap().contains("epoch_s"));
    assert!(hint("ts", &["1627401728123"]).unwrap().contains("epoch_ms"));
    assert!(hint("day", &["20210727"]).unwrap().contains("%Y%m%d"));
    assert_eq!(hint("phone", &["1627401728", "1627401729"]), None);
    assert!(hint("n", &["1.0", "3.0"]).unwrap().contains("all are whole"));
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
    let several = write(&[table(&["id,n,m", "1,NA,-", "2,5,6", "3,NULL,7"])], "p").text;
    assert!(several.contains("csv: {header: true, null: [\"NA\", \"NULL\", \"-\"]}"), "{several}");
    let alone = write(&[table(&["id,n,s", "1,NULL,-", "2,NA,-"])], "p").text;
    assert!(alone.contains("null: [\"NA\", \"NULL\", \"-\"]"), "a column has nothing else: {alone}");
}

#[test]
fn a_code_that_looks_like_a_missing_value_is_kept() {
    let starter = write(&[table(&["id,country,n", "1,NA,5", "2,DE,NA", "3,FR,7"])], "p");
    let text = &starter.text;
    assert!(text.contains("      country: text\n"), "{text}");
    assert!(text.contains("{type: integer, null: \"NA\", optional: true}"), "{text}");
    assert!(text.contains("csv: {header: true}\n"), "no marker holds for all columns:\n{text}");
    assert!(starter.remarks[0].doubts.iter().any(|doubt| doubt.contains("keeps it as text")));
    let alone = write(&[table(&["id,country", "1,NA", "2,DE"])], "p");
    assert!(!alone.text.contains("null:"), "{}", alone.text);
    assert!(alone.remarks[0].doubts.iter().any(|doubt| doubt.contains("keeps it as text")));
}

#[test]
fn a_code_without_quotes_among_codes_in_quotes_means_missing() {
    let bare = write(&[table_with_quotes(&["id,sex", "1,\"F\"", "2,NA", "3,\"M\""])], "p").text;
    assert!(bare.contains("null: \"NA\"") && bare.contains("sex: {type: text, optional: true}"), "{bare}");
    for rows in [["id,to", "1,\"DE\"", "2,\"NA\""], ["id,to", "1,DE", "2,NA"]] {
        let kept = write(&[table_with_quotes(&rows)], "p").text;
        assert!(kept.contains("      to: text\n"), "{kept}");
    }
}

#[test]
fn numbers_in_quotes_are_texts_where_some_are_none_and_other_numbers_have_no_quotes() {
    let kind_with = |id: &str, last: &str| {
        let mut rows = vec!["id,room".to_owned()];
        rows.extend((1..20).map(|row| format!("{},\"{}\"", id.replace('0', &row.to_string()), 100 + row)));
        rows.push(format!("{},\"{last}\"", id.replace('0', "20")));
        table_with_quotes(&rows.iter().map(String::as_str).collect::<Vec<_>>()).columns[1].kind
    };
    assert_eq!(kind_with("0", "207a"), Kind::Text);
    assert_eq!(kind_with("0", "207"), Kind::Integer);
    assert_eq!(kind_with("\"0\"", "207a"), Kind::Integer, "all is in quotes, which tells nothing");
}

#[test]
fn documents_times_and_words_for_true_have_types() {
    assert_eq!(kind_of(&["{\"a\":1}", "{}", "[1]"]), Kind::Jsonb);
    assert_eq!(kind_of(&["{a: 1}", "{b}"]), Kind::Text);
    assert_eq!(kind_of(&["10:30", "11:45:10"]), Kind::Time);
    assert_eq!(kind_of(&["yes", "no", "Yes"]), Kind::Boolean);
    assert_eq!(kind_of(&["y", "y"]), Kind::Text);
    assert_eq!(read(&["Y", "N"], b','), (Kind::Boolean, Notation::default()));
    let (kind, notation) = read(&["Sí", "no", "sí"], b',');
    assert_eq!((kind, notation.words), (Kind::Boolean, [vec!["sí".to_owned()], vec!["no".to_owned()]]));
    assert_eq!(read(&["Ja", "Nein"], b',').1.words[1], ["nein"]);
}

#[test]
fn settings_are_written_with_a_value_that_shows_why() {
    let text = write(
        &[sample_of("e.csv", &["Id;S;F", "1;1.234,56;27.07.2021", "2;12,50;28.07.2021"], ';', b';')],
        "p",
    )
    .text;
    for line in [
        "    csv: {delimiter: \";\", header: true}\n",
        "      S: {type: numeric, decimal: \",\", thousands: \".\"} # as in \"1.234,56\"\n",
        "      F: {type: date, format: \"%d.%m.%Y\"} # as in \"27.07.2021\"\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
