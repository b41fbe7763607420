//! The generator of example data, and the example that it has written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tidegate::generate::{Company, RowFault};

fn example_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/company")
}

fn lines(dir: &Path, name: &str) -> Vec<String> {
    std::fs::read_to_string(dir.join(name)).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn the_committed_example_is_what_the_generator_writes() {
    let dir = tempfile::tempdir().unwrap();
    Company::example().write(dir.path()).unwrap();
    for name in ["departments.csv", "jobs.csv", "hired_employees.csv"] {
        let committed = std::fs::read(example_dir().join("landing").join(name)).unwrap();
        let written = std::fs::read(dir.path().join(name)).unwrap();
        assert!(
            committed == written,
            "examples/company/landing/{name} differs; its README says how to renew it"
        );
    }
}

#[test]
fn the_readme_of_the_example_lists_the_broken_rows() {
    let readme = std::fs::read_to_string(example_dir().join("README.md")).unwrap();
    assert!(readme.contains(&table_of_faults()), "the table should read:\n{}", table_of_faults());
}

#[test]
#[ignore = "writes into examples/company/landing"]
fn renew_the_example() {
    Company::example().write(&example_dir().join("landing")).unwrap();
    println!("{}", table_of_faults());
}

/// The broken rows of the example, as the table in its README shows them.
fn table_of_faults() -> String {
    let faults = Company::example().faults();
    let mut table = String::from("| what is wrong | records |\n| --- | --- |\n");
    for (fault, _, words) in RowFault::ALL {
        let records: Vec<_> = faults.iter().filter(|(_, found)| **found == fault).collect();
        let records: Vec<_> = records.iter().map(|(record, _)| record.to_string()).collect();
        table += &format!("| {words} | {} |\n", records.join(", "));
    }
    table
}

#[test]
fn the_example_is_broken_in_every_way_and_otherwise_whole() {
    let company = Company::example();
    let faults = company.faults();
    assert_eq!(faults.len(), RowFault::ALL.iter().map(|(_, rows, _)| rows).sum::<usize>());
    let dir = tempfile::tempdir().unwrap();
    company.write(dir.path()).unwrap();
    let text = std::fs::read_to_string(dir.path().join("hired_employees.csv")).unwrap();
    let records: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
    assert_eq!(records.len(), 2_000);
    for (number, record) in (1..).zip(&records) {
        assert_eq!(record.matches('"').count() % 2, 0, "record {number} has a quote that never closes");
        let whole = record.starts_with(&format!("{number},"))
            && record.matches(',').count() == 4
            && !record.contains(",,")
            && !record.ends_with(',');
        let spoilt_within =
            matches!(faults.get(&number), Some(fault) if !matches!(fault, RowFault::Missing(_)));
        assert_eq!(
            whole || spoilt_within || record.contains('"'),
            !matches!(faults.get(&number), Some(RowFault::Missing(_))),
            "record {number}: {record}"
        );
    }
    assert!(records.iter().any(|record| record.contains("\"Clara\nvan den Berg\"")));
    assert!(!std::fs::read_to_string(dir.path().join("jobs.csv")).unwrap().ends_with('\n'));
}

#[test]
fn departments_and_jobs_have_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let company = Company { employees: 0, departments: 40, jobs: 500, ..Company::default() };
    company.write(dir.path()).unwrap();
    for (name, count) in [("departments.csv", 40), ("jobs.csv", 500)] {
        let lines = lines(dir.path(), name);
        let names: BTreeSet<&str> = lines.iter().map(|line| line.split_once(',').unwrap().1).collect();
        assert_eq!(names.len(), count);
        assert!(lines.last().unwrap().starts_with(&format!("{count},")));
    }
}

#[test]
fn as_many_rows_lack_a_field_as_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let company = Company { employees: 20_000, rejects_percent: 5.0, ..Company::default() };
    company.write(dir.path()).unwrap();
    let missing = |line: &String| line.split(',').any(str::is_empty);
    let rejects = lines(dir.path(), "hired_employees.csv").iter().filter(|line| missing(line)).count();
    assert!((900..=1_100).contains(&rejects), "{rejects} of 20,000 lack a field");
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_another_does_not() {
    let write = |seed| {
        let dir = tempfile::tempdir().unwrap();
        Company { employees: 100, seed, ..Company::default() }.write(dir.path()).unwrap();
        std::fs::read(dir.path().join("hired_employees.csv")).unwrap()
    };
    assert_eq!(write(7), write(7));
    assert_ne!(write(7), write(8));
}

#[test]
fn a_company_without_departments_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Company { departments: 0, ..Company::default() }.write(dir.path()).unwrap_err();
    assert_eq!(error.to_string(), "employees need at least one department and one job");
}
