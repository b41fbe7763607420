//! The manifest that stands in what Arroyo compiles.

use tidegate_core::manifest::{Column, Manifest};
use tidegate_core::shape::fingerprints;
use tidegate_udf::manifest::minimal;
use tidegate_udf::source::{self, Function, Origin};

use crate::manifests;

/// A dataset as far as lines of it are concerned.
fn meaning(manifest: &Manifest, dataset: &str) -> String {
    let (_, dataset) = manifest.dataset(dataset).unwrap();
    let columns = dataset.columns.iter().map(|column| {
        let Column { name, kind, optional, rules, reading, .. } = column;
        format!("{name:?} {kind:?} {optional} {rules:?} {reading:?}")
    });
    let csv = (&dataset.csv.syntax.dialect, &dataset.csv.null);
    let references = dataset.references.iter().map(|reference| {
        let parent = &manifest.datasets[reference.dataset];
        format!("{:?} {} {}", reference.columns, parent.name, parent.names(&reference.to))
    });
    let references: Vec<_> = references.collect();
    format!("{:?} {csv:?} {:#?} {references:?}", dataset.key, columns.collect::<Vec<_>>())
}

#[test]
fn the_minimal_manifest_asks_the_same_of_a_line_and_needs_no_environment() {
    for manifest in manifests() {
        for dataset in &manifest.datasets {
            let text = minimal(&manifest, dataset);
            let again = Manifest::parse(&text, &|name| panic!("asks for {name}"))
                .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
            assert_eq!(meaning(&again, &dataset.name), meaning(&manifest, &dataset.name), "{text}");
            assert!(text.is_ascii() && !text.contains('\r'), "{text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}

/// Every setting of how the texts of columns are read.
const SETTINGS: &str = r###"
pipeline: p
datasets:
  d:
    key: id
    csv: {null: [NA, "-"], quoted_null: true, empty: text, trim: true, time_zone: Europe/Berlin, decimal: ",", thousands: "."}
    columns:
      id: integer
      a: {type: text, null: "", trim: true}
      b: {type: text, empty: "null", null: ["${x}", é], default: now}
      c: {type: numeric, decimal: ".", thousands: " ", strip: "$€", accounting: true, default: 1.5}
      d: {type: date, format: ["%d/%m/%Y", excel], optional: true}
      e: {type: timestamptz, format: [epoch_s, epoch_ms], default: now}
      f: {type: boolean, "true": [Y, sí], "false": [N], default: false}
      g: {type: date, default: now}
      h: {type: uuid, default: table}
      i: {type: integer, trim: false}
"###;

#[test]
fn the_minimal_manifest_reads_the_texts_of_columns_in_the_same_way() {
    let settings = SETTINGS.replace("${x}", "$${x}");
    let manifest = Manifest::parse(&settings, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let text = minimal(&manifest, &manifest.datasets[0]);
    let again = Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n{text}"));
    assert_eq!(meaning(&again, "d"), meaning(&manifest, "d"), "{text}");
    assert_eq!(fingerprints(&again.datasets[0]), fingerprints(&manifest.datasets[0]), "{text}");
}

#[test]
fn a_source_has_one_block_of_dependencies_and_one_function() {
    for manifest in manifests() {
        for dataset in &manifest.datasets {
            for function in Function::ALL {
                let origin = Origin::Path("/srv/*/tide\"gate".to_owned());
                let text = source::of(&manifest, dataset, function, &origin);
                let (comment, rest) = text.strip_prefix("/*\n").unwrap().split_once("*/").unwrap();
                let table: toml::Table = toml::from_str(comment).unwrap();
                let path = table["dependencies"]["tidegate-udf"]["path"].as_str();
                assert_eq!(path, Some("/srv/*/tide\"gate"));
                assert!(!rest.contains("/*\n[dependencies]"), "{rest}");
                assert_eq!(rest.matches("#[udf]").count(), 1, "{rest}");
                assert!(rest.contains(&format!(
                    "\nfn {function}_{}(value: &str) -> Option<String> {{",
                    dataset.name
                )));
            }
        }
    }
}
