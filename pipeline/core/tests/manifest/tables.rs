//! Datasets that share a table.

use super::faults::assert_faults;
use super::valid;

fn pair(one: &str, other: &str) -> String {
    format!("pipeline: p\ndatasets:\n  a: {{table: t, {one}}}\n  b: {{table: public.t, {other}}}\n")
}

const DISAGREE: &str = "give both the same columns, in any order, with the same types, `optional` and `generated`, and the same key and references; or give each \
                        dataset a table of its own";

#[test]
fn datasets_share_a_table_if_their_columns_keys_and_references_agree() {
    let manifest = valid(
        "\
pipeline: p
datasets:
  old_jobs:
    table: jobs
    key: [id, kind]
    columns: {kind: text, up: {type: text, optional: true, references: jobs.name}, id: integer, name: {type: text, max_length: 3}}
  staff:
    key: none
    columns: {job: integer, kind: text, name: {type: text, references: jobs.name}}
    references: [{columns: [job, kind], to: jobs}]
  jobs:
    key: [id, kind]
    columns: {id: integer, kind: text, name: text, up: {type: text, optional: true, references: old_jobs.name}}
",
    );
    let [old, jobs, staff] = &manifest.datasets[..] else { panic!("three") };
    assert_eq!((&old.name[..], &jobs.name[..], &staff.name[..]), ("old_jobs", "jobs", "staff"));
    assert_eq!((old.of_table, jobs.of_table, staff.of_table), (0, 0, 2));
    assert_eq!((old.depth, jobs.depth, staff.depth), (0, 0, 1));
    assert_eq!((&old.key[..], &jobs.key[..]), (&[2, 0][..], &[0, 1][..]));
    // Whichever dataset a reference names, it leads to the first one of the table.
    let to = |reference: &tidegate_core::manifest::Reference| (reference.dataset, reference.to.clone());
    assert_eq!(staff.references.iter().map(to).collect::<Vec<_>>(), [(0, vec![3]), (0, vec![2, 0])]);
    assert_eq!(old.references.iter().map(to).collect::<Vec<_>>(), [(0, vec![3])]);
    assert_eq!(jobs.references.iter().map(to).collect::<Vec<_>>(), [(0, vec![3])]);
    assert!(jobs.references_own_table() && old.references_own_table() && !staff.references_own_table());
    assert!(manifest.is_referenced(0) && manifest.is_referenced(1) && !manifest.is_referenced(2));
    assert_eq!((manifest.referenced_columns(0), manifest.referenced_columns(1)), (vec![3], vec![2]));
    assert_eq!(manifest.tables().map(|(index, _)| index).collect::<Vec<_>>(), [0, 2]);
    assert_eq!(manifest.datasets_of_table(0).count(), 2);
}

#[test]
fn datasets_of_one_table_that_do_not_agree_are_faults() {
    let columns = "key: id, columns: {id: integer, x: {type: text, optional: true}}";
    for (other, what) in [
        ("key: id, columns: {id: integer}", "do not agree in the column x"),
        ("key: id, columns: {id: integer, x: text}", "do not agree in the column x"),
        ("key: id, columns: {x: {type: text, optional: true}, id: bigint}", "do not agree in the column id"),
        (
            &format!("{}, y: text}}", columns.trim_end_matches('}').to_owned() + "}"),
            "do not agree in the column y",
        ),
        (
            "key: id, columns: {id: {type: integer, generated: {start: 1}}, x: {type: text, optional: true}}",
            "do not agree in the column id",
        ),
        ("key: none, columns: {id: integer, x: {type: text, optional: true}}", "do not have the same key"),
        (
            "key: id, columns: {id: {type: integer, references: a}, x: {type: text, optional: true}}",
            "do not have the same references",
        ),
    ] {
        let fault = format!("4:7: b and a have the same table, \"t\", but {what}; {DISAGREE}");
        assert_faults(&pair(columns, other), &[&fault]);
    }
    valid(&pair(columns, "columns: {x: {type: text, optional: true, pattern: a}, id: integer}, key: id"));
}
