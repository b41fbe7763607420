//! Every type, to its ends, goes to a file and comes back.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tidegate_avro::check;
use tidegate_core::manifest::Codec;
use tidegate_core::shape::Form;
use tidegate_core::validate::{Scratch, Validator};

use super::database::{Database, lines};

const ALL: &str = "
pipeline: types
datasets:
  everything:
    key: id
    csv: {delimiter: ';', null: 'NULL'}
    columns:
      id: bigint
      small: {type: smallint, optional: true}
      whole: {type: integer, optional: true}
      exact: {type: 'numeric(20,4)', optional: true}
      free: {type: numeric, optional: true}
      wide: {type: 'numeric(60,0)', optional: true}
      single: {type: real, optional: true}
      twice: {type: double, optional: true}
      yes: {type: boolean, optional: true}
      words: {type: text, optional: true}
      few: {type: 'varchar(9)', optional: true}
      day: {type: date, optional: true}
      clock: {type: time, optional: true}
      local: {type: timestamp, optional: true}
      moment: {type: timestamptz, optional: true}
      known: {type: uuid, optional: true}
      document: {type: jsonb, optional: true}
";

/// Of each column, values as Postgres reads them, that a line may have.
const VALUES: [(&str, &[&str]); 16] = [
    ("small", &["-32768", "0", "32767"]),
    ("whole", &["-2147483648", "-1", "2147483647"]),
    ("exact", &["-9999999999999999.9999", "0.0001", "0", "12345.6000", "10000"]),
    ("free", &["1e-100", "-123456789012345678901234567890.5", "0", "1.10", "1e100"]),
    ("wide", &["999999999999999999999999999999999999999999999999999999999999", "-1", "10000000000000000"]),
    ("single", &["3.4028235e38", "-1e-45", "0.1", "-0", "16777216"]),
    ("twice", &["1.7976931348623157e308", "5e-324", "0.1", "-0", "1e16"]),
    ("yes", &["true", "false"]),
    ("words", &["plain", "NULL", " a;b\"c\"\n\r\nd\te ", "\u{feff}bom", "\\.", "日本語 🦀", "\\N", "1"]),
    ("few", &["äöüäöüäöü", "x"]),
    ("day", &["0001-01-01", "1969-12-31", "2000-02-29", "9999-12-31", "10000-01-01", "5874897-12-31"]),
    ("clock", &["00:00:00", "23:59:59.999999", "12:30:00.5"]),
    ("local", &["0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999"]),
    ("moment", &["0001-01-01 00:00:00+00", "2021-07-27 16:02:08+02", "294246-12-31 23:59:59.999999+00"]),
    ("known", &["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"]),
    ("document", &["{\"b\": [1, null, \"\\u00e4\\n\"], \"a\": 1.50}", "null", "\"x\"", "[]"]),
];

/// Values that no line may have, but other writers: most have no form in Avro.
const STRANGE: [(&str, &[&str]); 9] = [
    ("exact", &["NaN"]),
    ("free", &["NaN", "Infinity", "-Infinity"]),
    ("single", &["NaN", "Infinity", "-Infinity"]),
    ("twice", &["NaN", "-Infinity"]),
    ("words", &[""]),
    ("day", &["infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC"]),
    ("clock", &["24:00:00"]),
    ("local", &["infinity", "-infinity", "0044-03-15 12:00:00.5 BC", "294276-12-31 23:59:59.999999"]),
    ("moment", &["infinity", "-infinity", "4713-01-01 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00"]),
];

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A row for each value, and one without any.
async fn insert(database: &Database, values: &[(&str, &[&str])]) {
    let mut id = 0;
    for (column, values) in values {
        for value in *values {
            id += 1;
            let sql = format!(
                "insert into everything (id, {column}, _source, _line) values ({id}, {}, {id}, 7)",
                literal(value)
            );
            database.execute(&sql).await;
        }
    }
    database
        .execute("insert into everything (id) values (-9223372036854775808), (9223372036854775807)")
        .await;
}

/// Copies the rows of CSV lines into another database, and holds them against the first.
async fn assert_same_through_lines(database: &Database, lines: &str) {
    let manifest = database.postgres.manifest();
    let validator = Validator::of(&manifest.datasets[0], Form::Canonical);
    let mut rest = lines;
    let mut scratch = Scratch::default();
    // Lines are split as the dataset's own files are.
    let mut canonical = String::new();
    while !rest.is_empty() {
        let mut in_quotes = false;
        let end = rest
            .bytes()
            .position(|byte| {
                in_quotes ^= byte == b'"';
                byte == b'\n' && !in_quotes
            })
            .unwrap();
        let row = validator.check(&rest.as_bytes()[..end], &mut scratch);
        let row = row.unwrap_or_else(|reasons| panic!("{}: {reasons:?}", &rest[..end]));
        canonical.push_str(std::str::from_utf8(row.canonical).unwrap());
        canonical.push('\n');
        rest = &rest[end + 1..];
    }
    database
        .execute("drop table if exists again; create table again (like everything including defaults)")
        .await;
    let columns: Vec<&str> = manifest.datasets[0].columns.iter().map(|column| column.name.as_str()).collect();
    database.copy("again", &columns.join(", "), canonical).await;
    let columns = columns.join(", ");
    let of = |table: &str| {
        format!("select row({columns})::text from {table} order by row({columns})::text collate \"C\"")
    };
    assert_eq!(database.query(&of("again")).await, database.query(&of("everything")).await);
}

#[tokio::test]
async fn values_that_lines_may_have_come_back_in_either_way() {
    for codec in Codec::ALL {
        let database = Database::new(ALL).await;
        insert(&database, &VALUES).await;
        let folder = tempfile::tempdir().unwrap();
        let backup = database.back_up(folder.path(), codec).await;
        let path = folder.path().join(&backup.id);
        let checked = check(database.postgres.manifest(), &path, &[]).unwrap();
        assert_eq!(checked.len(), 1);
        assert_same_through_lines(&database, &lines(database.postgres.manifest(), &checked[0])).await;
        let other = Database::new(ALL).await;
        other.fill(&path).await.unwrap();
        assert_eq!(other.rows("everything").await, database.rows("everything").await, "{codec}");
        let identity = "select identity from tidegate.pipeline";
        assert_eq!(other.query(identity).await, database.query(identity).await);
    }
}

#[tokio::test]
async fn values_that_have_no_form_in_avro_are_kept_as_text() {
    let database = Database::new(ALL).await;
    insert(&database, &STRANGE).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = database.back_up(folder.path(), Codec::Zstandard).await;
    let path = folder.path().join(&backup.id);
    let other = Database::new(ALL).await;
    other.fill(&path).await.unwrap();
    assert_eq!(other.rows("everything").await, database.rows("everything").await);
    // As lines they are what they are, and the rules of lines say what becomes of them.
    let manifest = database.postgres.manifest();
    let checked = check(manifest, &path, &[]).unwrap();
    let text = lines(manifest, &checked[0]);
    for expected in ["NaN", "0044-03-15 BC", "24:00:00", "infinity"] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
}

/// Texts of all columns of a row.
fn row() -> impl Strategy<Value = Vec<Option<String>>> {
    let number = || any::<i64>().prop_map(|n| n.to_string());
    let text = || {
        proptest::collection::vec(
            prop_oneof![Just('"'), Just('\n'), Just(';'), Just('\\'), any::<char>()],
            1..12,
        )
        .prop_map(|chars| chars.into_iter().filter(|c| *c != '\0').chain(['x']).collect::<String>())
    };
    let columns: Vec<BoxedStrategy<String>> = vec![
        any::<i16>().prop_map(|n| n.to_string()).boxed(),
        any::<i32>().prop_map(|n| n.to_string()).boxed(),
        (any::<i32>(), 0..10_000u32).prop_map(|(n, f)| format!("{n}.{f:04}")).boxed(),
        (number(), number(), -50..50i32)
            .prop_map(|(a, b, e)| format!("{a}{}e{e}", b.trim_start_matches('-')))
            .boxed(),
        (number(), number()).prop_map(|(a, b)| format!("{a}{}", b.trim_start_matches('-'))).boxed(),
        any::<f32>().prop_map(|n| n.to_string()).boxed(),
        any::<f64>().prop_map(|n| n.to_string()).boxed(),
        any::<bool>().prop_map(|b| b.to_string()).boxed(),
        text().boxed(),
        "[a-zä\"]{1,9}".boxed(),
        (-719_162..2_145_000_000i64 / 1000).prop_map(|days| format!("{days} days")).boxed(),
        (0..86_400_000_000i64).prop_map(|at| format!("{at} us")).boxed(),
        (-62_135_596_800_000_000..9_223_000_000_000_000_000i64).prop_map(|at| format!("{at} us")).boxed(),
        (-62_135_596_800_000_000..9_223_000_000_000_000_000i64).prop_map(|at| format!("{at} us")).boxed(),
        any::<u128>().prop_map(|n| uuid::Uuid::from_u128(n).to_string()).boxed(),
        text().prop_map(|text| serde_json::json!({ "text": text, "n": [1, null] }).to_string()).boxed(),
    ];
    columns.into_iter().map(proptest::option::of).collect::<Vec<_>>()
}

#[tokio::test]
async fn any_rows_come_back_in_either_way() {
    let mut runner = TestRunner::default();
    let database = Database::new(ALL).await;
    let columns = VALUES.map(|(column, _)| column);
    for id in 0..400 {
        let values = row().new_tree(&mut runner).unwrap().current();
        let values = values.into_iter().zip(columns).map(|(value, column)| match (value, column) {
            (None, _) => "null".to_owned(),
            (Some(days), "day") => format!("'1970-01-01'::date + {}", days.trim_end_matches(" days")),
            (Some(at), "clock") => format!("'00:00'::time + '{at}'::interval"),
            (Some(at), "local") => format!("'1970-01-01'::timestamp + '{at}'::interval"),
            (Some(at), "moment") => format!("'1970-01-01'::timestamptz + '{at}'::interval"),
            (Some(text), _) => literal(&text),
        });
        let (columns, values) = (columns.join(", "), values.collect::<Vec<_>>().join(", "));
        database.execute(&format!("insert into everything (id, {columns}) values ({id}, {values})")).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let backup = database.back_up(folder.path(), Codec::Snappy).await;
    let path = folder.path().join(&backup.id);
    let checked = check(database.postgres.manifest(), &path, &[]).unwrap();
    assert_eq!(checked[0].rows, 400);
    assert_same_through_lines(&database, &lines(database.postgres.manifest(), &checked[0])).await;
    let other = Database::new(ALL).await;
    other.fill(&path).await.unwrap();
    assert_eq!(other.rows("everything").await, database.rows("everything").await);
}

#[tokio::test]
async fn names_and_own_tables_come_back() {
    const NAMES: &str = "
pipeline: names
datasets:
  record:
    key: 'the \"key\"'
    columns: {'the \"key\"': integer, 'Größe (m²)': 'numeric(6,2)', 'Größe [m²]': {type: text, optional: true}, '1st': text}
";
    let database = Database::new(NAMES).await;
    database
        .execute("insert into record values (1, 2.50, null, 'a', 3, 4), (2, -0.01, 'x', 'b', -1, -1)")
        .await;
    database
        .execute(
            "insert into tidegate.shapes (shape, dataset, columns, header, delimiter, quote, rules) \
             values (7, 'record', '{a,b}', false, ',', '\"', ''); \
             insert into tidegate.sources (source, dataset, kind, name, identity, bytes, lines, completed_at, shape) \
             values (3, 'record', 'file', 'names.csv', '\\x00ff', 9, 5, now(), 7), (4, 'record', 'upload', '\"', 'b', null, null, null, 7); \
             insert into tidegate.ledger (source, chunk, accepted, accepted_count, uncounted_count) \
             values (3, 0, '\\x3a30', 1, 1); \
             insert into tidegate.dead_letters (source, line, dataset, stage, status, text, reasons, awaits, shape) \
             values (3, 5, 'record', 'sink', 'rejected', E'a,\"b\\n', '[{\"code\": \"x\"}]', null, 7); \
             insert into tidegate.requests values ('a', 'b', '{1,2}'); \
             insert into tidegate.tokens (name, role, hash) values ('n', 'read', 'h')",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    let backup = database.back_up(folder.path(), Codec::Deflate).await;
    assert_eq!((backup.largest_source, backup.datasets[0].rows), (4, 2));
    let path = folder.path().join(&backup.id);
    let manifest = database.postgres.manifest();
    let checked = check(manifest, &path.join("record.avro"), &[]).unwrap();
    assert_eq!(lines(manifest, &checked[0]), "1,2.50,,a\n2,-0.01,x,b\n");
    let other = Database::new(NAMES).await;
    other.fill(&path).await.unwrap();
    for table in [
        "record",
        "tidegate.shapes",
        "tidegate.sources",
        "tidegate.ledger",
        "tidegate.dead_letters",
        "tidegate.requests",
        "tidegate.tokens",
    ] {
        assert_eq!(other.rows(table).await, database.rows(table).await, "{table}");
    }
    // Only into an empty one.
    let error = other.fill(&path).await.unwrap_err().to_string();
    for table in [
        "\"public\".\"record\" has 2 rows",
        "\"sources\" has 2 rows",
        "\"ledger\" has 1 row",
        "\"tokens\" has 1 row",
    ] {
        assert!(error.contains(table), "{table} is not in: {error}");
    }
}
