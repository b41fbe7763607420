//! What a missing value becomes.

use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Form;
use tidegate_core::validate::Validator;

use super::{assert_fields, read, validator};

#[test]
fn a_constant_takes_the_place_of_a_missing_value_which_need_not_be_optional() {
    assert_fields("{type: text, default: CO}", &[("", "CO"), ("\"\"", "CO"), ("US", "US")]);
    assert_fields("{type: integer, default: 1.0, null: NA}", &[("NA", "1"), ("2", "2")]);
    assert_fields("{type: date, default: 2021-7-5}", &[("", "2021-07-05")]);
    assert_fields("{type: boolean, true: [Y], false: [N], default: false}", &[("", "false"), ("Y", "true")]);
    assert_fields("{type: text, default: \"\"}", &[("", "\"\"")]);
    assert_fields("{type: text, default: now}", &[("", "now")]);
}

#[test]
fn now_is_the_time_of_validation_in_the_form_of_the_type() {
    assert_fields("{type: timestamptz, default: now}", &[("", "2021-07-27T16:02:08.5Z")]);
    assert_fields(
        "{type: timestamp, default: now, time_zone: America/Bogota}",
        &[("", "2021-07-27T11:02:08.5")],
    );
    assert_fields("{type: date, default: now, time_zone: Pacific/Auckland}", &[("", "2021-07-28")]);
    assert_fields("{type: time, default: now}", &[("", "16:02:08.5")]);
}

#[test]
fn the_tables_own_default_leaves_the_value_missing() {
    let columns =
        "    columns: {id: integer, a: {type: text, default: table}, b: {type: text, default: x}}\n";
    assert_eq!(read(&validator(columns), "1,,"), "1,,x");
}

#[test]
fn a_canonical_line_gets_a_default_only_where_the_value_may_not_be_null() {
    let text = "{pipeline: p, datasets: {d: {key: id, columns: {id: integer, a: {type: text, default: x}, \
                b: {type: text, optional: true, default: y}, c: {type: text, default: table}}}}}";
    let manifest = Manifest::parse(text, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
    let dataset = &manifest.datasets[0];
    assert_eq!(read(&Validator::of(dataset, Form::Canonical), "1,,,"), "1,x,,");
    assert_eq!(read(&Validator::new(dataset), "1,,,"), "1,x,y,");
}
