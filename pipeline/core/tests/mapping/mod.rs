//! Lines of a shape, written in the columns of their dataset.

use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::shape::{Form, Shape};
use tidegate_core::syntax::Syntax;

use crate::names::manifest;

const COLUMNS: &str = "id: integer, a: {type: text, optional: true}, b: {type: text, optional: true}";

/// Writes a line of a file with the names `names`, under what `change` makes of the syntax.
fn write(names: &[&str], change: impl FnOnce(&mut Syntax), line: &str, csv: &str) -> Result<String, Reason> {
    let manifest = manifest(csv, COLUMNS);
    let dataset = &manifest.datasets[0];
    let mut shape = Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone());
    shape.columns = names.iter().map(|name| (*name).to_owned()).collect();
    change(&mut shape.syntax);
    let mut out = Vec::new();
    shape.mapped(dataset).write(line.as_bytes(), None, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

const NAMES: [&str; 3] = ["id", "a", "b"];

#[test]
fn a_short_row_is_padded_if_the_syntax_says_so() {
    for (line, expected) in [("1,x,y", "1,x,y"), ("1,x", "1,x,"), ("1", "1,,"), ("1,\"\"", "1,\"\",")] {
        assert_eq!(write(&NAMES, |syntax| syntax.pads = true, line, "").unwrap(), expected, "{line}");
    }
    assert_eq!(write(&["b", "id", "a"], |syntax| syntax.pads = true, "y,1", "").unwrap(), "1,,y");
    let fault = write(&NAMES, |syntax| syntax.pads = true, "1,x,y,z", "").unwrap_err();
    assert_eq!(fault.code, Code::WrongColumnCount);
}

#[test]
fn a_delimiter_may_end_each_line_if_nothing_follows_it() {
    let trails = |syntax: &mut Syntax| syntax.trailing_delimiter = true;
    for (line, expected) in
        [("1,x,y,", "1,x,y"), ("1,x,y", "1,x,y"), ("1,,,", "1,,"), ("1,x,y,\"\"", "1,x,y")]
    {
        assert_eq!(write(&NAMES, trails, line, "").unwrap(), expected, "{line}");
    }
    for line in ["1,x,y,z", "1,x,y,,", "1,x"] {
        assert_eq!(write(&NAMES, trails, line, "").unwrap_err().code, Code::WrongColumnCount, "{line}");
    }
    let both = |syntax: &mut Syntax| (syntax.trailing_delimiter, syntax.pads) = (true, true);
    assert_eq!(write(&NAMES, both, "1,x,", "").unwrap(), "1,x,");
}

#[test]
fn fields_beyond_the_names_are_cut_if_the_syntax_says_so() {
    let cuts = |syntax: &mut Syntax| syntax.cuts = true;
    assert_eq!(write(&NAMES, cuts, "1,x,y,z,\"q\"", "").unwrap(), "1,x,y");
    assert_eq!(write(&["", "b", "", "id"], cuts, "p,x,q,1,r", "").unwrap(), "1,,x");
    assert_eq!(write(&NAMES, cuts, "1,x", "").unwrap_err().code, Code::WrongColumnCount);
}

#[test]
fn a_line_of_another_count_is_refused_with_the_setting_that_helps() {
    let header = |syntax: &mut Syntax| syntax.header = true;
    let none = |_: &mut Syntax| {};
    for (has_header, line, expected) in [
        (
            true,
            "1,x",
            "the line has 2 fields, the header has 3; 'short_rows: pad' in 'csv' takes the last ones for missing values",
        ),
        (true, "1,x,y,z", "the line has 4 fields, the header has 3"),
        (
            true,
            "1,x,y,",
            "the line has 4 fields, the header has 3; 'trailing_delimiter: true' in 'csv' lets a delimiter end each line",
        ),
        (
            false,
            "1,x,y,z",
            "the line has 4 fields, its columns are 3: id, a, b; 'columns_unknown: ignore' in 'csv' leaves further fields out",
        ),
    ] {
        let fault = if has_header { write(&NAMES, header, line, "") } else { write(&NAMES, none, line, "") };
        assert_eq!(fault.unwrap_err().message, expected);
    }
}

#[test]
fn a_shape_that_pads_cuts_or_ends_with_a_delimiter_is_not_passed_on_as_it_is() {
    let manifest = manifest("", COLUMNS);
    let dataset = &manifest.datasets[0];
    let form = |change: fn(&mut Syntax)| {
        let mut shape = Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone());
        change(&mut shape.syntax);
        shape.form(dataset).0
    };
    assert_eq!(form(|_| {}), Form::Given);
    for change in [
        (|syntax| syntax.pads = true) as fn(&mut Syntax),
        |syntax| syntax.cuts = true,
        |syntax| syntax.trailing_delimiter = true,
    ] {
        assert_eq!(form(change), Form::Mapped);
    }
}

#[test]
fn values_of_the_file_fill_the_columns_that_lines_lack() {
    let manifest = manifest("null: NA", COLUMNS);
    let dataset = &manifest.datasets[0];
    let shape = Shape {
        columns: vec!["id".into(), "b".into()],
        ..Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone())
    };
    let written = |value: &str, line: &str| {
        let mut mapping = shape.mapped(dataset).with_values([(1, value.to_owned())]);
        let mut out = Vec::new();
        mapping.write(line.as_bytes(), None, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written("2021", "1,x"), "1,2021,x");
    assert_eq!(written("a,\"b\"", "1,x"), "1,\"a,\"\"b\"\"\",x");
    assert_eq!(written("NA", "1,x"), "1,\"NA\",x", "it is a value, and not the text for a missing one");
    assert_eq!(written("", "1,x"), "1,,x");
}

#[test]
fn fields_that_the_manifest_leaves_out_are_not_told_as_gone() {
    let gone = |csv: &str| {
        let manifest = manifest(csv, COLUMNS);
        let dataset = &manifest.datasets[0];
        let columns = ["id", "other", "", "a"].map(str::to_owned).to_vec();
        let mut mapping = Shape { columns, ..Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone()) }
            .mapped(dataset);
        let text = b"1,x,y,z";
        mapping.write(text, None, &mut Vec::new()).unwrap();
        let gone: Vec<String> = mapping.gone().map(str::to_owned).collect();
        (gone, mapping.dropped(text).count())
    };
    assert_eq!(gone(""), (vec!["other".to_owned()], 1));
    assert_eq!(gone("columns_unknown: ignore"), (vec![], 0));
}

#[test]
fn what_decides_fields_alone_does_not_make_another_file_of_a_file() {
    let identity = |change: fn(&mut Syntax)| {
        let mut syntax = Syntax { header: true, ..Syntax::default() };
        change(&mut syntax);
        syntax.identity()
    };
    let plain = identity(|_| {});
    assert_eq!(plain, [1, b',', b'"']);
    for change in [
        (|syntax| syntax.pads = true) as fn(&mut Syntax),
        |syntax| syntax.cuts = true,
        |syntax| syntax.trailing_delimiter = true,
        |syntax| syntax.repeated_header = true,
        |syntax| syntax.sep_line = true,
    ] {
        assert_eq!(identity(change), plain);
    }
    assert_ne!(identity(|syntax| syntax.skip_lines = 1), plain);
}

#[test]
fn a_row_of_one_column_may_lack_its_value() {
    for form in [Form::Mapped, Form::Canonical] {
        let manifest = manifest("", "id: integer, a: {type: text, optional: true}");
        let mut dataset = manifest.datasets[0].clone();
        dataset.columns.remove(0);
        let (its_form, mapping) = Shape::of_rows(&manifest, &dataset, form).form(&dataset);
        assert_eq!(its_form, form);
        let mut mapping = mapping.expect("a delimiter may end its lines");
        for (line, expected) in [(",", ""), ("x", "x"), ("\"\"", "\"\"")] {
            let mut out = Vec::new();
            mapping.write(line.as_bytes(), None, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{line}");
        }
    }
}

#[test]
fn what_meant_missing_in_the_dataset_stays_a_value_of_a_column_with_its_own_texts() {
    let manifest =
        manifest("null: [NA, x]", "id: integer, a: {type: text, null: '-'}, b: {type: text, optional: true}");
    let dataset = &manifest.datasets[0];
    let before =
        Shape { null: vec!["NA".into()], ..Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone()) };
    let mut out = Vec::new();
    before.mapped(dataset).write(b"1,NA,NA", None, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "1,NA,");
}
