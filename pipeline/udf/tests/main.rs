//! The functions against the transform, and the compiled library through the interface of its plugin.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

mod agreement;
mod minimal;
mod plugin;

use tidegate_core::manifest::Manifest;

/// Manifests with all types and rules, in several dialects, with references.
const MANIFESTS: [&str; 3] = [
    // The example.
    include_str!("../../../examples/company/tidegate.yaml"),
    // Every type, and rules where the type takes some.
    r###"
pipeline: types
datasets:
  parents: {key: id, columns: {id: {type: integer, min: 1}}}
  all:
    key: c1
    columns:
      c0: {type: smallint, min: -9}
      c1: {type: integer, references: parents}
      c2: {type: bigint, one_of: [1, 2, "007"], optional: true}
      c3: {type: "numeric(5,2)", max: 99.5, optional: true}
      c4: {type: double, min: 1e-300, max: 1e300, optional: true}
      c5: {type: boolean, optional: true}
      c6: {type: text, pattern: "^[a\"'é#]*$", min_length: 1, max_length: 3, optional: true}
      c7: {type: varchar(3), one_of: ["a", "$${b}", "*/", "\"##", "\u2028\r\n", "é😀"], optional: true}
      c8: {type: date, min: 2000-01-01, optional: true}
      c9: {type: timestamptz, max: "2030-01-01T00:00:00.5+01:00", optional: true}
      c10: {type: uuid, optional: true}
      c11: {type: jsonb, optional: true}
"###,
    // Another dialect, a variable, odd names, and a reference to itself.
    r###"
pipeline: odd-names
landing: "${FOLDER}"
datasets:
  _tree_2:
    key: "Der Schlüssel, \"id\""
    csv: {delimiter: ";", quote: "'", header: true, null: "N/A"}
    columns:
      "Der Schlüssel, \"id\"": text
      "${parent}": {type: text, references: _tree_2, optional: true}
      rate: {type: numeric, max: "${RATE_MAX}"}
      "*/\n[dependencies]\n": {type: real, optional: true}
"###,
];

/// The environment of [`MANIFESTS`].
fn variable(name: &str) -> Option<String> {
    match name {
        "RATE_MAX" => Some("12.50".to_owned()),
        "FOLDER" => Some("/srv/s3cret".to_owned()),
        _ => None,
    }
}

fn manifests() -> Vec<Manifest> {
    let parse =
        |text: &&str| Manifest::parse(text, &variable).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    MANIFESTS.iter().map(parse).collect()
}
