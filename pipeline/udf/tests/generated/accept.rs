/*
[dependencies]
tidegate-udf = "=0.1.0"
*/

// Generated for the dataset hired_employees of the pipeline company. Change the manifest instead of this file.

use std::sync::LazyLock;

use arroyo_udf_plugin::udf;
use tidegate_udf::Functions;

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| Functions::from_text(MANIFEST, "hired_employees"));

/// Gives the canonical record, `form,source,line,canonical`, of a line that breaks no rule; null for any other record.
#[udf]
fn accept_hired_employees(value: &str) -> Option<String> {
    FUNCTIONS.accept(value)
}

/// What a line must be. Which keys exist, the sink knows.
const MANIFEST: &str = r#"
pipeline: "company"
datasets:
  "departments":
    key: "id"
    columns:
      "id": {type: "integer"}
  "jobs":
    key: "id"
    columns:
      "id": {type: "integer"}
  "hired_employees":
    key: "id"
    columns:
      "id": {type: "integer"}
      "name": {type: "text"}
      "datetime": {type: "timestamptz"}
      "department_id": {type: "integer", references: "departments"}
      "job_id": {type: "integer", references: "jobs"}
"#;
