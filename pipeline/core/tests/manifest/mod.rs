//! The manifest: what it may say, every way in which it can be wrong, its schema, and its starter.

mod columns;
mod csv;
mod decimals;
mod faults;
mod generated;
mod keys;
mod readings;
mod schema;
mod service;
mod starter;
mod starter_columns;
mod starter_headers;
mod starter_keys;
mod tables;
mod topics;

use std::time::Duration;

use tidegate_core::manifest::{Bound, Csv, Faults, Kind, Manifest, Table};
use tidegate_core::syntax::Syntax;

fn no_variables(_: &str) -> Option<String> {
    None
}

/// Parses what must be valid.
fn valid(text: &str) -> Manifest {
    Manifest::parse(text, &no_variables).unwrap_or_else(|faults| panic!("{faults}\n\n{text}"))
}

/// Parses what must be faulty.
fn faulty(text: &str) -> Faults {
    Manifest::parse(text, &no_variables).expect_err("the manifest has faults")
}

const COMPANY: &str = r#"
pipeline: company
datasets:
  hired_employees:
    key: id
    columns:
      id: integer
      name: text
      datetime: timestamptz
      department_id: {type: integer, references: departments}
      job_id: {type: integer, references: jobs}
      manager_id: {type: integer, optional: true, references: hired_employees}
  departments:
    key: id
    columns: {id: integer, department: text}
  jobs:
    table: staff.jobs
    files: "job_*.txt"
    csv: {encoding: Latin1, delimiter: ";", quote: "'", header: true, null: "\\N"}
    key: id
    columns: {id: integer, job: text}
"#;

#[test]
fn what_a_manifest_leaves_out_has_the_documented_default() {
    let manifest = valid(COMPANY);
    assert_eq!(manifest.landing.to_str(), Some("landing"));
    assert_eq!(manifest.views.to_str(), Some("sql/views"));
    assert_eq!((manifest.stable_for, manifest.lease), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!(manifest.max_lag_bytes, 256 << 20);
    assert_eq!(manifest.max_record_bytes, 1 << 20);
    assert_eq!((&manifest.fluvio, manifest.partitions()), (&None, 1));
    assert_eq!((&manifest.http, &manifest.backup), (&None, &None));
    let (_, departments) = manifest.dataset("departments").unwrap();
    assert_eq!(
        (manifest.schema.as_str(), &departments.table),
        ("public", &table("public", "departments", false))
    );
    assert_eq!(departments.files, "departments*.csv");
    assert_eq!(departments.csv, Csv::default());
}

#[test]
fn what_a_manifest_says_is_what_it_means() {
    let manifest = valid(
        "pipeline: p-1\nlanding: /in\nviews: v\nstable_for: 250ms\nlease: 2s\nmax_lag_bytes: 1 GiB\nmax_record_bytes: 1024\n\
         datasets: {a: {key: x, columns: {x: uuid}}}",
    );
    assert_eq!(manifest.pipeline, "p-1");
    assert_eq!((manifest.landing.to_str(), manifest.views.to_str()), (Some("/in"), Some("v")));
    assert_eq!((manifest.stable_for, manifest.lease), (Duration::from_millis(250), Duration::from_secs(2)));
    assert_eq!((manifest.max_lag_bytes, manifest.max_record_bytes), (1 << 30, 1024));
    let company = valid(COMPANY);
    let (_, jobs) = company.dataset("jobs").unwrap();
    assert_eq!(jobs.table, table("staff", "jobs", true));
    let syntax =
        Syntax { encoding: encoding_rs::WINDOWS_1252, header: true, ..Syntax::of_bytes(b';', b'\'') };
    assert_eq!(jobs.csv.syntax, syntax);
    assert_eq!(jobs.csv.null, ["\\N"]);
    assert!(jobs.matches("job_1.txt") && !jobs.matches("jobs.csv"));
}

fn table(schema: &str, name: &str, is_placed: bool) -> Table {
    Table { schema: schema.to_owned(), name: name.to_owned(), is_placed }
}

#[test]
fn the_schema_of_a_manifest_is_that_of_every_table_that_names_none() {
    let manifest = valid(&COMPANY.replace("pipeline: company", "pipeline: company\nschema: App"));
    let tables = ["departments", "jobs"].map(|name| manifest.dataset(name).unwrap().1.table.clone());
    assert_eq!(tables, [table("App", "departments", true), table("staff", "jobs", true)]);
    assert_eq!(manifest.schema, "App");
}

#[test]
fn no_table_of_a_user_lies_in_the_schema_of_tidegate() {
    for text in [
        COMPANY.replace("pipeline: company", "pipeline: company\nschema: tidegate"),
        COMPANY.replace("staff.jobs", "tidegate.jobs"),
    ] {
        let faults = faulty(&text).to_string();
        assert!(faults.contains("the schema \"tidegate\" is taken"), "{faults}");
    }
    let faults = faulty("pipeline: p\nschema: a.b\ndatasets: {a: {key: x, columns: {x: uuid}}}").to_string();
    assert!(faults.contains("\"a.b\" cannot name a schema"), "{faults}");
}

#[test]
fn a_dataset_stands_behind_all_it_references() {
    let manifest = valid(COMPANY);
    let order: Vec<_> = manifest.datasets.iter().map(|d| (d.name.as_str(), d.depth)).collect();
    assert_eq!(order, [("departments", 0), ("jobs", 0), ("hired_employees", 1)]);
    let (_, hired) = manifest.dataset("hired_employees").unwrap();
    let references: Vec<_> =
        hired.references.iter().map(|r| (&r.columns[..], r.dataset, &r.to[..])).collect();
    assert_eq!(references, [(&[3][..], 0, &[0][..]), (&[4], 1, &[0]), (&[5], 2, &[0])]);
    assert!(hired.columns.iter().all(|column| column.generated.is_none()));
    assert_eq!(hired.key, [0]);
    assert_eq!(hired.single_key().map(|key| key.name.as_str()), Some("id"));
}

#[test]
fn depth_is_the_longest_chain_of_references() {
    let manifest = valid(
        "{pipeline: p, datasets: {\
         c: {key: id, columns: {id: integer, a: {type: integer, references: a}, b: {type: integer, references: b}}},\
         b: {key: id, columns: {id: integer, a: {type: integer, references: a}}},\
         a: {key: id, columns: {id: integer}}}}",
    );
    let depths: Vec<_> = manifest.datasets.iter().map(|d| (d.name.as_str(), d.depth)).collect();
    assert_eq!(depths, [("a", 0), ("b", 1), ("c", 2)]);
}

#[test]
fn topics_carry_the_pipeline_and_no_underscore() {
    let manifest = valid(COMPANY);
    assert_eq!(
        manifest.topics(),
        [
            "company-raw-departments",
            "company-raw-jobs",
            "company-raw-hired-employees",
            "company-accepted-departments",
            "company-accepted-jobs",
            "company-accepted-hired-employees",
            "company-dead-letters",
        ]
    );
}

#[test]
fn a_file_belongs_to_the_dataset_with_the_longest_glob() {
    let manifest = valid(
        "{pipeline: p, datasets: {jobs: {key: id, columns: {id: integer}}, \
         jobs_archive: {key: id, columns: {id: integer}}}}",
    );
    let of = |file: &str| manifest.dataset_of_file(file).map(|(_, dataset)| dataset.name.as_str());
    assert_eq!(of("jobs_2021.csv"), Some("jobs"));
    assert_eq!(of("jobs_archive.csv"), Some("jobs_archive"));
    assert_eq!(of("departments.csv"), None);
}

#[test]
fn variables_come_from_the_environment_and_can_be_escaped() {
    let env = |name: &str| (name == "STAGE").then(|| "blue".to_owned());
    let text = "{pipeline: 'tide-${STAGE}', landing: '/data/$${STAGE}/${STAGE}$', \
                datasets: {a: {key: id, columns: {id: integer, n: {type: text, pattern: '^x$'}}}}}";
    let manifest = Manifest::parse(text, &env).unwrap();
    assert_eq!(manifest.pipeline, "tide-blue");
    assert_eq!(manifest.landing.to_str(), Some("/data/${STAGE}/blue$"));
}

#[test]
fn every_type_is_read_printed_and_named_as_postgres_does() {
    let cases = [
        ("smallint", "smallint"),
        ("integer", "integer"),
        ("bigint", "bigint"),
        ("numeric", "numeric"),
        ("numeric(12)", "numeric(12,0)"),
        ("numeric(12,2)", "numeric(12,2)"),
        ("real", "real"),
        ("double", "double precision"),
        ("boolean", "boolean"),
        ("text", "text"),
        ("varchar(255)", "character varying(255)"),
        ("date", "date"),
        ("time", "time without time zone"),
        ("timestamp", "timestamp without time zone"),
        ("timestamptz", "timestamp with time zone"),
        ("uuid", "uuid"),
        ("jsonb", "jsonb"),
    ];
    for (text, sql) in cases {
        let kind = Kind::parse(text).unwrap();
        assert_eq!((kind.to_string(), kind.sql()), (text.to_owned(), sql.to_owned()));
    }
}

#[test]
fn rules_are_kept_in_the_form_that_their_type_compares() {
    let manifest = valid(
        r#"
pipeline: p
datasets:
  a:
    key: id
    columns:
      id: {type: bigint, min: -9223372036854775808, one_of: [+1, 007]}
      amount: {type: "numeric(30,2)", min: -1e2, max: "12.50"}
      share: {type: double, max: 1.5}
      day: {type: date, min: 2020-02-29}
      hour: {type: time, max: "18:30"}
      local: {type: timestamp, min: 2021-01-01, max: "2021-01-01 10:00:00.250"}
      at: {type: timestamptz, min: 2021-01-01T00:30:00+02:00}
      name: {type: varchar(10), min_length: 2, max_length: 8, pattern: "^a", one_of: [yes, no]}
"#,
    );
    let columns = &manifest.datasets[0].columns;
    let instant = |bound: &Option<Bound>| match bound {
        Some(Bound::Instant(_, text)) => text.clone(),
        other => panic!("{other:?} is no instant"),
    };
    assert_eq!(columns[0].rules.min, Some(Bound::Integer(i64::MIN)));
    assert_eq!(columns[0].rules.one_of, Some(vec!["1".into(), "7".into()]));
    assert_eq!(columns[1].rules.min, Some(Bound::Decimal("-1e2".into())));
    assert_eq!(columns[1].rules.max, Some(Bound::Decimal("12.50".into())));
    assert_eq!(columns[2].rules.max, Some(Bound::Float(1.5)));
    assert_eq!(instant(&columns[3].rules.min), "2020-02-29");
    assert_eq!(instant(&columns[4].rules.max), "18:30:00");
    assert_eq!(instant(&columns[5].rules.min), "2021-01-01T00:00:00");
    assert_eq!(instant(&columns[5].rules.max), "2021-01-01T10:00:00.25");
    assert_eq!(instant(&columns[6].rules.min), "2020-12-31T22:30:00Z");
    assert_eq!((columns[7].rules.min_length, columns[7].rules.max_length), (Some(2), Some(8)));
    assert!(columns[7].rules.pattern.as_ref().unwrap().is_match("ab"));
    assert_eq!(columns[7].rules.one_of, Some(vec!["yes".into(), "no".into()]));
}

#[test]
fn the_former_name_of_a_key_still_works_and_is_told() {
    let text =
        |key: &str| format!("pipeline: p\n{key}\ndatasets: {{a: {{key: id, columns: {{id: integer}}}}}}\n");
    let former = Manifest::parse(&text("settle: 3s"), &|_| None).unwrap();
    assert_eq!(former.stable_for, Duration::from_secs(3));
    assert_eq!(former.deprecated, ["'settle' is deprecated: write 'stable_for'"]);
    let now = Manifest::parse(&text("stable_for: 3s"), &|_| None).unwrap();
    assert_eq!((now.stable_for, &now.deprecated[..]), (Duration::from_secs(3), &[][..]));
    let both = Manifest::parse(&text("settle: 3s\nstable_for: 3s"), &|_| None).unwrap_err();
    assert!(
        both.render("m.yaml").contains("m.yaml:2:9: settle is the former name of stable_for"),
        "{both:?}"
    );
}
