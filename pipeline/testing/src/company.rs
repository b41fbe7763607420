//! The company of `examples/company`: departments, jobs, and the employees it hired.

/// The manifest of the example, without its comments and paths, and with files taken at once.
pub const MANIFEST: &str = "\
pipeline: company
stable_for: 10ms
datasets:
  departments:
    key: id
    columns: {id: integer, department: text}
  jobs:
    key: id
    columns: {id: integer, job: text}
  hired_employees:
    key: id
    columns:
      id: integer
      name: text
      datetime: timestamptz
      department_id: {type: integer, references: departments}
      job_id: {type: integer, references: jobs}
";

/// The tables of the datasets. Each comes after those that it references.
pub const TABLES: [&str; 3] = ["departments", "jobs", "hired_employees"];

/// The views of the repository, by name.
pub const VIEWS: [(&str, &str); 3] = [
    ("hires_by_quarter", include_str!("../../../sql/views/hires_by_quarter.sql")),
    ("hires_by_department", include_str!("../../../sql/views/hires_by_department.sql")),
    ("departments_above_mean", include_str!("../../../sql/views/departments_above_mean.sql")),
];

/// The file of the example with the rows of a table.
///
/// # Panics
///
/// If the example has no such table.
pub fn file(table: &str) -> &'static str {
    match table {
        "departments" => include_str!("../../../examples/company/landing/departments.csv"),
        "jobs" => include_str!("../../../examples/company/landing/jobs.csv"),
        "hired_employees" => include_str!("../../../examples/company/landing/hired_employees.csv"),
        other => panic!("the example has no table '{other}'"),
    }
}
