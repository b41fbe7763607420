//! The manifest that stands in what Arroyo compiles.

use tidegate_core::manifest::Manifest;
use tidegate_udf::manifest::minimal;
use tidegate_udf::source::{self, Function, Origin};

use crate::manifests;

/// A dataset as far as lines of it are concerned.
fn meaning(manifest: &Manifest, dataset: &str) -> String {
    let (_, dataset) = manifest.dataset(dataset).unwrap();
    let columns = dataset.columns.iter().map(|column| {
        let parent = column.references.map(|index| &manifest.datasets[index].name);
        format!("{:?} {:?} {} {parent:?} {:?}", column.name, column.kind, column.optional, column.rules)
    });
    let csv = (dataset.csv.delimiter, dataset.csv.quote, &dataset.csv.null);
    format!("{} {csv:?} {:#?}", dataset.key_column().name, columns.collect::<Vec<_>>())
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
