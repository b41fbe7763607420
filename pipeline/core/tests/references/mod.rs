//! Which texts are the same key, and which keys are known.

use tidegate_core::manifest::Kind;
use tidegate_core::references::KnownKeys;
use tidegate_core::spelling::{normal_parts, same_key};

#[test]
fn texts_of_one_value_are_the_same_key() {
    let same = |kind, a: &str, b: &str| same_key(kind, a.as_bytes(), b.as_bytes());
    let numeric = Kind::Numeric { precision: None, scale: None };
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    assert!(same(Kind::Integer, "007", "+7") && !same(Kind::Integer, "7", "70"));
    assert!(same(Kind::Integer, "x", "x") && !same(Kind::Integer, "x", "y"), "no integers, but texts");
    assert!(same(numeric, "1.50", "15e-1") && !same(numeric, "1", "2") && !same(numeric, "a", "b"));
    assert!(same(Kind::Uuid, uuid, &uuid.to_uppercase().replace('-', "")));
    assert!(!same(Kind::Uuid, uuid, &uuid.replace('9', "8")) && !same(Kind::Uuid, "x-y", "z"));
    assert!(same(Kind::Timestamptz, "2021-01-01T00:00:00Z", "2021-01-01 01:00+01"));
    assert!(!same(Kind::Date, "2021-01-01", "2021-01-02") && !same(Kind::Date, "soon", "later"));
    assert!(!same(Kind::Text, "a", "A"));
}

#[test]
fn keys_are_known_by_value_and_given_up_beyond_the_limit() {
    let mut known = KnownKeys::new(&[true, false], 2);
    assert!(!known.may_exist(0, &[Kind::Integer], b"7"));
    assert!(known.may_exist(1, &[Kind::Integer], b"7"), "nobody keeps the keys of dataset 1");
    known.learn(0, &[Kind::Integer], b"007");
    assert!(known.may_exist(0, &[Kind::Integer], b"+7"));
    known.learn(0, &[Kind::Integer], b"8");
    assert!(!known.may_exist(0, &[Kind::Integer], b"9"));
    known.learn(0, &[Kind::Integer], b"10");
    assert!(known.may_exist(0, &[Kind::Integer], b"9"), "too many keys: undecided");
}

#[test]
fn keys_of_several_columns_are_known_by_the_values_of_all_of_them() {
    let kinds = [Kind::Text, Kind::Integer];
    let mut known = KnownKeys::new(&[true], 10);
    known.learn(0, &kinds, b"a,007");
    assert!(known.may_exist(0, &kinds, b"a,7") && known.may_exist(0, &kinds, b"a,+7"));
    assert!(!known.may_exist(0, &kinds, b"a,8") && !known.may_exist(0, &kinds, b"7,a"));
    known.learn(0, &kinds, b"a,b,7");
    assert!(known.may_exist(0, &kinds, b"a,b,7"), "a text with a comma");
}

#[test]
fn parts_of_a_key_do_not_run_into_each_other() {
    let normal =
        |parts: &[(Kind, &str)]| normal_parts(parts.iter().map(|(kind, part)| (*kind, part.as_bytes())));
    let (text, integer) = (Kind::Text, Kind::Integer);
    assert_eq!(normal(&[(text, "a"), (integer, "007")]), normal(&[(text, "a"), (integer, "7")]));
    assert_ne!(normal(&[(text, "ab"), (text, "c")]), normal(&[(text, "a"), (text, "bc")]));
    assert_ne!(normal(&[(text, "a,b"), (text, "c")]), normal(&[(text, "a"), (text, "b,c")]));
    assert_eq!(normal(&[(text, "a"), (integer, "")]), None, "a missing part");
}
