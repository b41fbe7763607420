//! The starter infers a manifest that the parser accepts.

use tidegate_core::manifest::starter::{Inference, Layout, Sample, write as starter};
use tidegate_core::manifest::{Kind, Manifest};

use super::valid;

/// What is inferred from rows with the separator `|`, as many fields as the last of them has.
pub(super) fn sample_of(file_name: &str, rows: &[&str], separator: char, delimiter: u8) -> Sample {
    let width = rows.last().map_or(0, |row| row.split(separator).count());
    let mut inference = Inference::new(file_name, Layout::plain(delimiter, width));
    for row in rows {
        inference.observe(&row.split(separator).collect::<Vec<_>>(), &[]);
    }
    inference.finish()
}

fn sample(file_name: &str, rows: &[&str]) -> Sample {
    sample_of(file_name, rows, ',', b',')
}

/// The type of a column of these values, which have no header.
pub(super) fn kind_of(values: &[&str]) -> Kind {
    let mut rows = vec!["v"];
    rows.extend(values);
    sample_of("a.csv", &rows, '\u{0}', b',').columns[0].kind
}

fn write(samples: &[Sample], pipeline: &str) -> String {
    starter(samples, pipeline).text
}

fn names(sample: &Sample) -> Vec<&str> {
    sample.columns.iter().map(|column| column.name.as_str()).collect()
}

const NUMERIC: Kind = Kind::Numeric { precision: None, scale: None };

#[test]
fn a_starter_is_a_manifest_that_says_what_to_check() {
    let departments = sample("departments.csv", &["id,department", "1,Sales", "2,Legal", "3,"]);
    let hired = sample(
        "hired_employees.csv",
        &[
            "id,name,datetime,department_id,hired employee id,rate",
            "1,Ann,2021-11-07T02:48:42Z,2,,1.5",
            "2,Bob,2021-05-30T05:43:46Z,1,1,2",
            "3,Cy,,3,,",
            "4,Di,2021-09-01T23:27:38Z,1,1,7",
        ],
    );
    let text = write(&[hired, departments], "Company 1");
    let expected = r#"# Inferred from samples: check keys, types and references before the first run.
pipeline: company-1
landing: landing # files dropped here are read, and moved to landing/done when all is accounted for
views: sql/views # one metric query a file

datasets:
  hired_employees:
    files: "hired_employees*.csv"
    csv: {header: true}
    key: id
    columns:
      id: integer
      name: text
      datetime: {type: timestamptz, optional: true}
      department_id: {type: integer, references: departments}
      "hired employee id": {type: integer, optional: true, references: hired_employees}
      rate: {type: numeric, optional: true}
  departments:
    files: "departments*.csv"
    csv: {header: true}
    key: id
    columns:
      id: integer
      department: {type: text, optional: true}
"#;
    assert_eq!(text, expected);
    let manifest = valid(&text);
    assert_eq!(manifest.datasets[1].references[0].columns, [3]);
    assert_eq!(manifest.datasets[1].references[0].dataset, 0);
}

#[test]
fn files_without_a_header_get_column_numbers_and_an_id() {
    let plain = sample("jobs.csv", &["1,Analyst", "2,Clerk", "3,Clerk"]);
    assert_eq!((names(&plain), &plain.header), (vec!["id", "column_2"], &None));
    let repeated = sample("jobs.csv", &["1,Analyst", "1,Clerk", "2,Boss"]);
    assert_eq!(names(&repeated), ["column_1", "column_2"]);
    assert_eq!(repeated.header, None);
}

#[test]
fn a_first_row_that_does_not_fit_the_types_below_is_a_header() {
    let typed = sample("a.csv", &["name,age", "Ann,31", "Bob,42"]);
    assert_eq!(typed.header, Some(vec!["name".into(), "age".into()]));
    assert_eq!(sample("a.csv", &["Ann,31", "Bob,42"]).header, None);
    assert_eq!(sample("a.csv", &["x,42", "7,43", "8,44"]).header, None, "the first line has a broken value");
}

#[test]
fn a_column_gets_the_narrowest_type_that_holds_its_values() {
    assert_eq!(kind_of(&["1", "-2"]), Kind::Integer);
    assert_eq!(kind_of(&["1", "3000000000"]), Kind::BigInt);
    assert_eq!(kind_of(&["1", "2.5"]), NUMERIC);
    assert_eq!(kind_of(&["1", "99999999999999999999"]), NUMERIC);
    assert_eq!(kind_of(&["true", "FALSE"]), Kind::Boolean);
    assert_eq!(kind_of(&["2021-07-27", "2020-02-29"]), Kind::Date);
    assert_eq!(kind_of(&["2021-07-27 16:02:08", "2021-07-27T16:02"]), Kind::Timestamp);
    assert_eq!(kind_of(&["2021-07-27T16:02:08Z", "2021-07-27T16:02:08.5-03:00"]), Kind::Timestamptz);
    assert_eq!(kind_of(&["6f1e4a52-8a43-4d0e-9f64-0a3f5d8e7c21"]), Kind::Uuid);
    assert_eq!(kind_of(&["1", "x"]), Kind::Text);
    assert_eq!(kind_of(&["00123", "10117", "04109"]), Kind::Text);
    assert_eq!(kind_of(&["", ""]), Kind::Text);
}

#[test]
fn a_few_broken_rows_do_not_turn_a_column_into_text() {
    let mut rows: Vec<String> = (1..=18).map(|id| format!("{id},2021-07-27")).collect();
    rows.extend(["21,2021-07-27,surplus".into(), "x,".into(), "20,soon".into()]);
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let days = sample("days.csv", &rows);
    let kinds: Vec<_> =
        days.columns.iter().map(|column| (column.kind, column.misfits, column.empty)).collect();
    assert_eq!(kinds, [(Kind::Integer, 1, 0), (Kind::Date, 1, 1)]);
    assert_eq!(days.ragged, 1);
    let text = write(&[days], "p");
    assert!(text.contains("id: integer # of 20 sampled: 1 no integer; these are rejected\n"), "{text}");
    assert!(
        text.contains(
            "column_2: {type: date, optional: true} # of 20 sampled: 1 no date; these are rejected\n"
        ),
        "{text}"
    );
    valid(&text);
}

#[test]
fn references_are_guessed_from_names_and_never_form_a_cycle() {
    let samples = [
        sample("categories.csv", &["id,box_id,category_id", "1,1,1", "2,2,1"]),
        sample("boxes.csv", &["id,category_id,color_id", "1,1,red", "2,2,blue"]),
        sample("color.csv", &["id,shade", "1,2", "2,3"]),
    ];
    let manifest = valid(&write(&samples, "p"));
    let target = |dataset: &str, column: usize| {
        let (_, dataset) = manifest.dataset(dataset)?;
        let mut references = dataset.references.iter();
        let reference = references.find(|reference| reference.columns == [column])?;
        Some(manifest.datasets[reference.dataset].name.as_str())
    };
    assert_eq!((target("categories", 1), target("categories", 2)), (Some("boxes"), Some("categories")));
    assert_eq!(target("boxes", 1), None, "it would close a cycle");
    assert_eq!(target("boxes", 2), None, "a text cannot be an integer key");
}

#[test]
fn file_names_of_any_kind_become_names_and_globs_that_match_them() {
    let files = ["2021 Sales [EU].csv", "sales-eu.csv", "${HOME}.TXT", "über.csv", "x", ".csv", "\"q\\.csv"];
    let long = format!("{}.csv", "long_".repeat(30));
    let samples: Vec<Sample> =
        files.iter().copied().chain([long.as_str(), "x"]).map(|file| sample(file, &["1,2"])).collect();
    let text = write(&samples, "a-pipeline-of-thirty-two-letters-and-more");
    let manifest = valid(&text);
    assert_eq!(manifest.datasets.len(), files.len() + 1, "the second x is left out\n{text}");
    for (file, dataset) in files.iter().copied().chain([long.as_str()]).zip(&manifest.datasets) {
        assert!(dataset.matches(file), "{file} by {}", dataset.files);
    }
    let names: Vec<&str> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    assert_eq!(names[..5], ["sales_eu", "sales_eu_2", "home", "ber", "x"]);
}

#[test]
fn nothing_to_infer_from_gives_an_example() {
    let manifest = valid(&write(&[sample("empty.csv", &[])], ""));
    assert_eq!((manifest.pipeline.as_str(), manifest.datasets.len()), ("pipeline", 1));
    assert_eq!(manifest.datasets[0].name, "example");
}

#[test]
fn headers_that_yaml_would_misread_are_quoted() {
    let sample = sample("a.csv", &["null,true,ctid,a b", "1,2,3,4", "5,6,7,8"]);
    let manifest = Manifest::parse(&write(&[sample], "p"), &|_| None).unwrap();
    let columns: Vec<&str> = manifest.datasets[0].columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(columns, ["null", "true", "ctid_", "a b"]);
}
