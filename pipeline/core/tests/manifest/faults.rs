//! Every way in which a manifest can be wrong, with the exact words.

use proptest::prelude::*;
use tidegate_core::manifest::Manifest;

use super::{faulty, no_variables};

/// Asserts the faults of a manifest, as they are rendered.
#[track_caller]
pub(super) fn assert_faults(text: &str, expected: &[&str]) {
    assert_eq!(faulty(text).to_string().lines().collect::<Vec<_>>(), expected, "{text}");
}

/// Asserts the faults of a manifest with one dataset, which begins in line 3.
#[track_caller]
fn assert_dataset_faults(dataset: &str, expected: &[&str]) {
    assert_faults(&format!("pipeline: p\ndatasets:\n  jobs:\n{dataset}"), expected);
}

#[test]
fn all_faults_are_reported_at_once_each_with_its_place() {
    let text = r#"pipeline: Company
landnig: in
stable_for: soon
datasets:
  jobs:
    key: ide
    colums: {}
    columns:
      id: int
      name: {type: varchar, optinal: true}
      at: {type: timestamptz, min: yesterday}
      boss: {type: integer, references: job}
"#;
    assert_eq!(
        faulty(text).render("tidegate.yaml").lines().collect::<Vec<_>>(),
        [
            "tidegate.yaml:1:11: \"Company\" cannot name a pipeline; use a-z, 0-9 and \"-\", a letter first, at most 32 characters",
            "tidegate.yaml:2:1: unknown key \"landnig\"; did you mean \"landing\"?",
            "tidegate.yaml:3:13: stable_for must be a duration, not \"soon\"; write a number with its unit, like 500ms or 2s, at most 3600 s",
            "tidegate.yaml:6:10: the key \"ide\" is no column of jobs; did you mean \"id\"?",
            "tidegate.yaml:7:5: unknown key \"colums\"; did you mean \"columns\"?",
            "tidegate.yaml:9:11: \"int\" is no type; did you mean \"integer\"?",
            "tidegate.yaml:10:20: varchar takes a length; write varchar(n), with n from 1 to 10485760, or text",
            "tidegate.yaml:10:29: unknown key \"optinal\"; did you mean \"optional\"?",
            "tidegate.yaml:11:36: min of a column of type timestamptz cannot be \"yesterday\"; write a timestamp with its zone, like 2021-07-27T16:02:08Z",
            "tidegate.yaml:12:41: there is no dataset \"job\" to reference; did you mean \"jobs\"?",
        ]
    );
}

#[test]
fn what_is_missing_is_named() {
    assert_faults(
        "",
        &[
            "1:1: \"pipeline\" is missing; name it: \"pipeline: company\"",
            "1:1: \"datasets\" is missing; give at least one: \"datasets: {jobs: {key: id, columns: {id: integer}}}\"",
        ],
    );
    assert_dataset_faults(
        "    table: x\n",
        &[
            "3:3: \"key\" is missing; name the column that identifies a row, \"key: id\", or several, \"key: [a, b]\"; \"key: none\" if no column does",
            "3:3: \"columns\" is missing; list them in the order of the files: \"columns: {id: integer, name: text}\"",
        ],
    );
    assert_dataset_faults(
        "    key: id\n    columns: {}\n",
        &[
            "5:14: there is no column; list them in the order of the files: \"columns: {id: integer, name: text}\"",
        ],
    );
}

#[test]
fn what_is_no_yaml_is_one_fault_with_its_place() {
    assert_faults(
        "pipeline: p\n  datasets: x\n",
        &[
            "2:11: this is no YAML: mapping values are not allowed in this context; check indentation and quotes, here and just above",
        ],
    );
    assert_faults(
        "- a\n",
        &["1:1: expected a mapping at the top of the manifest; begin with \"pipeline: <name>\""],
    );
    assert_faults(
        "pipeline: &x p\n",
        &["1:14: anchors are not part of the grammar; write the value itself out where it is needed"],
    );
    assert_faults(
        "pipeline: !!str p\n",
        &["1:17: tags are not part of the grammar; write the value itself out where it is needed"],
    );
    assert_faults(
        "pipeline: p\n---\npipeline: q\n",
        &["2:1: the document ends here; keep one manifest in a file, without \"---\" and \"...\""],
    );
    for nested in ["- ", "? ", ": ", ": - "] {
        let fault = "1:1: this is nested too deeply; write fewer \"-\", \"?\" and \":\" in a line";
        assert_faults(&nested.repeat(100_000), &[fault]);
    }
}

#[test]
fn keys_given_twice_do_not_hide_other_faults() {
    assert_faults(
        "pipeline: p\npipeline: q\nviews: [a]\ndatasets:\n  a: {key: id, columns: {id: integer, \"id\": text, 'id': text}}\n",
        &[
            "2:1: \"pipeline\" is given twice; the first is in line 1; remove one of them",
            "3:8: expected a path, found a list; write it as one text",
            "5:39: \"id\" is given twice; the first is in line 5; remove one of them",
            "5:51: \"id\" is given twice; the first is in line 5; remove one of them",
        ],
    );
}

#[test]
fn what_stands_where_something_else_belongs_is_named() {
    assert_dataset_faults(
        "    key: {a: id}\n    columns: id\n    csv: true\n",
        &[
            "4:10: expected the name of a column, a list of names, or \"none\", found a mapping; write it as one text",
            "5:14: expected a mapping of columns, found a text; write \"name: value\", a line each, indented",
            "6:10: expected a mapping of csv settings, found a text; write \"name: value\", a line each, indented",
        ],
    );
    assert_faults(
        "pipeline:\ndatasets: [a]\n",
        &[
            "1:1: expected the pipeline's name, found nothing; quote it where the text itself is meant",
            "2:11: expected a mapping of datasets, found a list; write \"name: value\", a line each, indented",
        ],
    );
}

#[test]
fn a_variable_that_is_not_set_is_a_fault_at_its_place() {
    let text = "pipeline: p\nlanding: ${BASE}/${IN\nviews: ${BASE}/${SQL}\ndatasets:\n  a: {key: id, columns: {id: integer}}\n";
    assert_faults(
        text,
        &[
            "2:10: the environment variable \"BASE\" is not set; set it, or write $${BASE} for the text itself",
            "2:10: \"${\" begins no variable here; write ${NAME} for a variable of the environment, $${ for the text itself",
            "3:8: the environment variable \"BASE\" is not set; set it, or write $${BASE} for the text itself",
            "3:8: the environment variable \"SQL\" is not set; set it, or write $${SQL} for the text itself",
        ],
    );
}

#[test]
fn names_keep_to_what_topics_and_postgres_allow() {
    assert_faults(
        "{pipeline: 1a, datasets: {Jobs-x: {key: _line, columns: {_line: integer, ctid: text, '': text}}}}",
        &[
            "1:12: \"1a\" cannot name a pipeline; use a-z, 0-9 and \"-\", a letter first, at most 32 characters",
            "1:27: \"Jobs-x\" cannot name a dataset; use a-z, 0-9 and \"_\", no digit first, at most 48 characters",
            "1:58: \"_line\" cannot name a column; every table has a column of that name already; choose another",
            "1:74: \"ctid\" cannot name a column; every table has a column of that name already; choose another",
            "1:86: \"\" cannot name a column; a name has 1 to 63 bytes",
        ],
    );
    let long = "x".repeat(40);
    assert_faults(
        &format!(
            "{{pipeline: {}, datasets: {{{long}: {{key: id, columns: {{id: integer}}}}}}}}",
            "p".repeat(20)
        ),
        &[&format!(
            "1:45: the topic \"pppppppppppppppppppp-accepted-{long}\" would be longer than 63 characters; shorten the name of the dataset or the pipeline"
        )],
    );
}

#[test]
fn settings_out_of_range_are_faults() {
    assert_faults(
        "pipeline: p\nlanding: ''\nstable_for: 2h\nmax_lag_bytes: 0\nmax_record_bytes: 17MiB\ndatasets: {}\nlease: 500ms\n",
        &[
            "2:10: landing must be a path; write one relative to the manifest",
            "3:13: stable_for must be a duration, not \"2h\"; write a number with its unit, like 500ms or 2s, at most 3600 s",
            "4:16: max_lag_bytes must be a size of at least 1 byte, not \"0\"; write a number of bytes, or one with KiB, MiB or GiB",
            "5:19: max_record_bytes must be a size from 1KiB to 16MiB, not \"17MiB\"; write a number of bytes, or one with KiB, MiB or GiB",
            "6:11: there is no dataset; give at least one: \"datasets: {jobs: {key: id, columns: {id: integer}}}\"",
            "7:8: lease must be a duration, not \"500ms\"; write a number with its unit, like 500ms or 2s, at least 1 s and at most 3600 s",
        ],
    );
}

#[test]
fn tables_files_and_csv_are_checked() {
    let rest = "    key: id\n    columns: {id: integer}\n";
    let table = "write \"table\" or \"schema.table\", without quotes, at most 63 bytes each";
    for name in ["a.b.c", ".a", "'a.\"b\"'"] {
        let shown = name.trim_matches('\'');
        let expected = format!("4:12: \"{shown}\" cannot name a table; {table}");
        assert_dataset_faults(&format!("    table: {name}\n{rest}"), &[&expected]);
    }
    assert_dataset_faults(
        &format!("    table: tidegate.jobs\n    files: in/*.csv\n{rest}"),
        &[
            "4:12: the schema \"tidegate\" is taken; put the table into another schema",
            "5:12: \"in/*.csv\" matches no file name; write a glob like \"jobs*.csv\", without folders; \"landing\" names the folder",
        ],
    );
    assert_dataset_faults(
        &format!("    files: 'a[.csv'\n    csv: {{delimiter: '', quote: \"\\n\", header: maybe}}\n{rest}"),
        &[
            "4:12: \"a[.csv\" is no glob: unclosed character class; missing ']'; escape what is meant literally: \"[[]\" for \"[\"",
            "5:22: delimiter must have 1 to 16 bytes and no line end, not \"\"; write it in double quotes: \";\", \"\\t\" or \"||\"; for runs of blanks write whitespace",
            "5:33: quote must be one ASCII character, not \"\\n\"; write one that ends no line, in double quotes: \";\" or \"\\t\"",
            "5:47: header must be true or false, not \"maybe\"; write true or false",
        ],
    );
    assert_dataset_faults(
        &format!("    csv: {{delimiter: ';', quote: ';'}}\n{rest}"),
        &["4:27: delimiter and quote are the same; choose another for one of them"],
    );
    let labels = "write a label of the WHATWG's Encoding Standard, such as utf-8, latin1, windows-1252, utf-16le or shift_jis";
    for (label, hint) in [
        ("windows1252x", "did you mean \"windows-1252\"?"),
        ("Latin-1", "did you mean \"latin1\"?"),
        ("x-user-defined", labels),
        ("replacement", labels),
    ] {
        assert_dataset_faults(
            &format!("    csv: {{encoding: {label}}}\n{rest}"),
            &[&format!("4:21: \"{label}\" is no encoding; {hint}")],
        );
    }
}

#[test]
fn a_key_is_a_column_that_is_exact_and_always_there() {
    assert_dataset_faults(
        "    key: id\n    columns: {id: {type: double, optional: true}}\n",
        &[
            "4:10: the key \"id\" is optional; a key is never missing; remove \"optional: true\" there",
            "4:10: the key \"id\" is of type double; choose a type whose values are exact, like integer, uuid or text",
        ],
    );
}

#[test]
fn two_datasets_do_not_share_files() {
    assert_faults(
        "pipeline: p\ndatasets:\n  a: {key: id, columns: {id: integer}}\n  b: {table: public.a, files: a*.csv, key: id, columns: {id: integer}}\n",
        &["4:31: b and a have the same files, \"a*.csv\"; give each dataset a glob of its own"],
    );
}

#[test]
fn references_have_the_type_of_the_key_and_form_no_cycle() {
    let text = "\
pipeline: p
datasets:
  d: {key: id, columns: {id: integer, a: {type: integer, references: a}}}
  a: {key: id, columns: {id: integer, b: {type: bigint, references: b}}}
  b: {key: id, columns: {id: integer, c: {type: integer, references: c}}}
  c: {key: id, columns: {id: integer, a: {type: integer, references: a}, c: {type: integer, references: c}}}
";
    assert_faults(
        text,
        &[
            "4:69: b is of type bigint, but the key of b, id, is of type integer; give both the same type",
            "4:69: references form a cycle: a → b → c → a; remove one of these references; the column can stay without it",
        ],
    );
}

#[test]
fn faults_are_never_none_and_carry_place_message_and_hint() {
    let faults = Manifest::parse("{pipeline: p}", &no_variables).unwrap_err();
    let [fault] = faults.as_slice() else { panic!("one fault, not {faults}") };
    assert_eq!((fault.line, fault.column), (1, 1));
    assert_eq!(fault.message, "\"datasets\" is missing");
    assert!(fault.hint.as_ref().is_some_and(|hint| hint.starts_with("give at least one")));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(
        cuts in proptest::collection::vec((0..super::COMPANY.len(), 0..6_usize, "[-a:{}\\[\\]\"'$#&*!?|>, \n\t~é.]{0,4}"), 1..8),
    ) {
        let mut text = super::COMPANY.to_owned();
        for (at, length, insert) in cuts {
            let from = text.floor_char_boundary(at.min(text.len()));
            let to = text.floor_char_boundary((from + length).min(text.len()));
            text.replace_range(from..to.max(from), &insert);
        }
        if let Err(faults) = Manifest::parse(&text, &no_variables) {
            let lines = text.lines().count() + 1;
            prop_assert!(faults.as_slice().is_sorted_by_key(|fault| (fault.line, fault.column)));
            prop_assert!(faults.as_slice().iter().all(|fault| (1..=lines).contains(&fault.line) && fault.column >= 1), "{}", faults);
            prop_assert_eq!(faults.to_string().lines().count(), faults.as_slice().len());
        }
    }
}

#[test]
fn a_name_of_half_a_mebibyte_is_not_compared_with_another() {
    // A table of their distances would take two terabytes.
    let (name, other) = ("a".repeat(500_000), "b".repeat(500_000));
    let column = format!("r: {{type: integer, references: {other}}}");
    let dataset = format!("  ? {name}\n  : {{key: id, columns: {{id: integer, {column}}}}}\n");
    let faults = faulty(&format!("pipeline: p\ndatasets:\n{dataset}")).to_string();
    let expected = format!("there is no dataset \"{other}\" to reference; datasets are {name}");
    assert!(faults.contains(&expected), "{:.300}", faults);
}

#[test]
fn a_glob_is_not_longer_than_its_matcher_can_be() {
    for files in ["a".repeat(1_000_000), "é*[!b]".repeat(1000), "[a-z]".repeat(205)] {
        let fault = "4:12: the glob of the files is too long; a glob has at most 1024 bytes; name the files otherwise";
        let rest = "    key: id\n    columns: {id: integer}\n";
        assert_dataset_faults(&format!("    files: \"{files}\"\n{rest}"), &[fault]);
    }
    for files in ["é*[!b]".repeat(146), "[a-zß-ü]".repeat(102), "{a*,[!b-ü]}".repeat(85)] {
        super::valid(&format!(
            "pipeline: p\ndatasets:\n  jobs:\n    key: id\n    files: \"{files}\"\n    columns: {{id: integer}}\n"
        ));
    }
}

#[test]
fn a_nul_does_not_end_the_manifest_in_silence() {
    let text = "pipeline: p\ndatasets:\n  jobs:\n    key: id\n    columns: {id: integer}\n  é\0: landing\n";
    assert_faults(text, &["6:4: this is no text: it holds a NUL; remove the NUL, and what else is no text"]);
}

#[test]
fn a_lone_carriage_return_ends_a_line() {
    let nested = format!("pipeline: p\r\ndatasets:\r{}", "- ".repeat(100_000));
    assert_faults(&nested, &["3:1: this is nested too deeply; write fewer \"-\", \"?\" and \":\" in a line"]);
    let two = "pipeline: p\rdatasets: {jobs: {key: id, columns: {id: integer}}}\r---\rpipeline: q\r";
    assert_faults(
        two,
        &["3:1: the document ends here; keep one manifest in a file, without \"---\" and \"...\""],
    );
}

#[test]
fn keys_given_twice_are_found_behind_a_block_of_text_in_any_script() {
    let text = "pipeline: p\nlanding: |\n  ééééééééé\nlanding: x\ndatasets:\n  jobs:\n    key: id\n    columns: {id: integer}\n    key: id\n";
    assert_faults(
        text,
        &[
            "4:1: \"landing\" is given twice; the first is in line 2; remove one of them",
            "9:5: \"key\" is given twice; the first is in line 7; remove one of them",
        ],
    );
}
