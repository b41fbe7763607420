//! Results on stdout: tables that fit, exact CSV and JSON.

use tidegate::cli::output::{shown, table};
use tidegate::formats::{self, Cells, csv};
use tidegate_postgres::relation::{Column, ColumnKind, Relation};

fn relation() -> Relation {
    let columns = vec![
        Column::new("year", ColumnKind::Number),
        Column::new("job", ColumnKind::Text),
        Column::new("done", ColumnKind::Boolean),
    ];
    let rows = vec![
        vec![Some("2021".into()), Some("a,\"b\"".into()), Some("true".into())],
        vec![Some("NaN".into()), None, None],
    ];
    Relation { columns, rows }
}

#[tokio::test]
async fn csv_has_a_header_row() {
    assert_eq!(
        csv(&relation(), Cells::Exact).await.unwrap(),
        "year,job,done\n2021,\"a,\"\"b\"\"\",true\nNaN,,\n"
    );
}

#[tokio::test]
async fn no_cell_is_a_formula_where_spreadsheets_may_read_it() {
    let columns = vec![Column::new("n", ColumnKind::Number), Column::new("=a", ColumnKind::Text)];
    let row = |n: &str, text: &str| vec![Some(n.to_owned()), Some(text.to_owned())];
    let rows = vec![
        row("-1", "-1"),
        row("1", "=1+1"),
        row("2", "@a"),
        row("3", "+a"),
        row("4", "\ta"),
        row("5", "a="),
    ];
    let relation = Relation { columns, rows };
    let expected = "n,'=a\n-1,'-1\n1,'=1+1\n2,'@a\n3,'+a\n4,'\ta\n5,a=\n";
    assert_eq!(csv(&relation, Cells::Harmless).await.unwrap(), expected);
}

#[test]
fn json_is_an_array_of_objects() {
    let json = formats::json(&relation()).unwrap();
    let expected = serde_json::json!([
        {"year": 2021, "job": "a,\"b\"", "done": true},
        {"year": "NaN", "job": null, "done": null},
    ]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), expected);
    assert_eq!(formats::json(&Relation::default()).unwrap(), "[]\n");
}

#[test]
fn a_table_shows_no_escape_sequence() {
    assert_eq!(shown("a\u{1b}[31m"), "a\\u{1b}[31m");
    let columns = vec![Column::new("\u{1b}[1m", ColumnKind::Text)];
    let relation = Relation { columns, rows: vec![vec![Some("b\u{202e}\u{9b}".into())]] };
    for columns_max in [None, Some(80), Some(12)] {
        let table = table(&relation, columns_max);
        assert!(!table.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{table:?}");
    }
}

fn wide() -> Relation {
    let number = |name| Column::new(name, ColumnKind::Number);
    let text = |name| Column::new(name, ColumnKind::Text);
    let columns = vec![number("source"), number("line"), text("dataset"), text("message"), text("text")];
    let row = |line: &str| {
        let message =
            "name is required; a line that is long enough that no terminal has room for it".to_owned();
        let values = ["1000001".into(), line.to_owned(), "hired_employees".into(), message, "é".repeat(3000)];
        values.map(Some).to_vec()
    };
    Relation { columns, rows: vec![row("17"), row("1234567890123")] }
}

#[test]
fn a_table_fits_into_a_narrow_terminal_and_breaks_no_number() {
    for columns_max in 60..=220 {
        let table = table(&wide(), Some(columns_max));
        let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns_max, "{widest} in {columns_max}:\n{table}");
        for word in ["1000001", "1234567890123", "source", "required"] {
            assert!(table.contains(word), "'{word}' is broken in {columns_max}:\n{table}");
        }
    }
    let narrow = table(&wide(), Some(100));
    assert!(narrow.starts_with('┌'), "{narrow}");
    let listed = table(&wide(), Some(60));
    assert!(listed.contains("dataset") && !listed.starts_with('┌'), "{listed}");
}

#[test]
fn a_table_that_has_room_stays_as_it_is() {
    assert_eq!(table(&relation(), Some(80)), table(&relation(), None));
    let whole = table(&wide(), None);
    assert!(whole.contains(&"é".repeat(3000)), "what is no terminal gets all of it");
}
