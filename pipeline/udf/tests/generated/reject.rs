/*
[dependencies]
tidegate-udf = "=0.1.0"
*/

// Generated for the dataset all of the pipeline types. Change the manifest instead of this file.

use std::sync::LazyLock;

use arroyo_udf_plugin::udf;
use tidegate_udf::Functions;

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| Functions::from_text(MANIFEST, "all"));

/// Gives the dead letter, as JSON, of a line that breaks a rule; null for any other record.
#[udf]
fn reject_all(value: &str) -> Option<String> {
    FUNCTIONS.reject(value)
}

/// What a line must be. Which keys exist, the sink knows.
const MANIFEST: &str = r###"
pipeline: "types"
datasets:
  "parents":
    key: "id"
    columns:
      "id": {type: "integer"}
  "all":
    key: "c1"
    columns:
      "c0": {type: "smallint", min: "-9"}
      "c1": {type: "integer", references: "parents"}
      "c2": {type: "bigint", optional: true, one_of: ["1", "2", "7"]}
      "c3": {type: "numeric(5,2)", optional: true, max: "99.5"}
      "c4": {type: "double", optional: true, min: "1e-300", max: "1e300"}
      "c5": {type: "boolean", optional: true}
      "c6": {type: "text", optional: true, min_length: "1", max_length: "3", pattern: "^[a\"'\U000000E9#]*$"}
      "c7": {type: "varchar(3)", optional: true, one_of: ["a", "$${b}", "*/", "\"##", "\U00002028\U0000000D\U0000000A", "\U000000E9\U0001F600"]}
      "c8": {type: "date", optional: true, min: "2000-01-01"}
      "c9": {type: "timestamptz", optional: true, max: "2029-12-31T23:00:00.5Z"}
      "c10": {type: "uuid", optional: true}
      "c11": {type: "jsonb", optional: true}
"###;
