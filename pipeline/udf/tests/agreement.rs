//! The functions say of every line what the transform says of it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tidegate_core::manifest::{Column, Kind, Manifest};
use tidegate_core::record::Batch;
use tidegate_core::shape::{Form, fingerprints};
use tidegate_core::syntax::Delimiter;
use tidegate_core::transform::Transform;
use tidegate_udf::Functions;
use tidegate_udf::manifest::minimal;

use crate::manifests;

/// A dataset, and what is to agree about it.
struct Case {
    manifest: Arc<Manifest>,
    dataset: usize,
    /// Made from the manifest itself.
    functions: Functions,
    /// Made from what is written into a source.
    again: Functions,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let manifests = manifests().into_iter().map(Arc::new);
    let cases = manifests.flat_map(|manifest| {
        (0..manifest.datasets.len()).map(move |index| {
            let dataset = &manifest.datasets[index];
            Case {
                dataset: index,
                functions: Functions::new(dataset),
                again: Functions::from_text(&minimal(&manifest, dataset), &dataset.name),
                manifest: Arc::clone(&manifest),
            }
        })
    });
    cases.collect()
});

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567_891_011)
}

impl Case {
    fn name(&self) -> &str {
        &self.manifest.datasets[self.dataset].name
    }

    /// What the transform sends to the accepted topic and to `dead-letters`, if it decides no reference.
    fn transformed(&self, value: &str) -> [Option<String>; 2] {
        let mut transform = Transform::new(Arc::clone(&self.manifest), usize::MAX);
        for index in 0..self.manifest.datasets.len() {
            transform.known_keys().give_up(index);
        }
        let mut raw = Batch::default();
        raw.push(b"", value.as_bytes());
        let outcome = transform.apply(self.dataset, &raw, now());
        let sent = [&outcome.accepted, &outcome.dead_letters].map(|batch| {
            assert!(batch.len() <= 1);
            batch.iter().next().map(|record| String::from_utf8(record.value.to_vec()).unwrap())
        });
        assert_eq!(
            sent.iter().flatten().count() as u64 + outcome.foreign + outcome.other_columns,
            1,
            "a record has one fate"
        );
        sent
    }

    /// What both functions give, held against the transform.
    fn called(&self, value: &str) -> [Option<String>; 2] {
        let [called, again] = [&self.functions, &self.again]
            .map(|functions| [functions.accept(value), functions.reject_at(value, now)]);
        assert_eq!(called, again, "of {} {value:?}", self.name());
        assert_eq!(called, self.transformed(value), "of {} {value:?}", self.name());
        called
    }
}

/// A field that a column of some case may take, or that stands in the way of the one who splits.
fn any_field() -> impl Strategy<Value = String> {
    let words = [
        "",
        "1",
        "007",
        "-9",
        "+2",
        "99.5",
        "1e-300",
        "true",
        "f",
        "a",
        "é😀",
        "${b}",
        "*/",
        "\"##",
        "\u{2028}\r\n",
        "2021-07-27",
        "2021-07-27T16:02:08Z",
        "2030-01-01 00:00+01",
        "12.50",
        "12.51",
        "N/A",
        "'N/A'",
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        "{\"a\": 1}",
        "\\u0000",
        "\0",
        " ",
        "\r",
        "\n",
        "\"",
        "'",
        "\"a\"\"b\"",
        "'a;b'",
        "\"a,b\r\nc\"",
        "\"unclosed",
        ",",
        ";",
    ];
    prop_oneof![8 => select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A field for a column: mostly one that it takes.
fn field(column: &Column) -> impl Strategy<Value = String> + use<> {
    let taken: &[&str] = match column.kind {
        _ if column.rules.one_of.is_some() && column.kind.is_text() => &["a", "\"a\"", "*/", "é😀", "${b}"],
        _ if column.kind.is_number() => &["1", "007", "+2", "12"],
        Kind::Boolean => &["true", "f"],
        Kind::Date => &["2021-07-27"],
        Kind::Timestamptz => &["2021-07-27T16:02:08Z", "2029-12-31 23:00+01"],
        Kind::Uuid => &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        Kind::Jsonb => &["1", "\"{\"\"a\"\": 1}\"", "[]"],
        _ => &["a", "\"a\"", "aa", "é", "'a'"],
    };
    prop_oneof![12 => select(taken.to_vec()).prop_map(str::to_owned), 1 => any_field()]
}

/// A case, and a value of its raw topic: mostly of Tidegate's form, and of as many fields as there are columns.
fn value() -> impl Strategy<Value = (usize, String)> {
    let positions = ["own,3,117,", "own,1,1,", "0,3,117,", "0,1,1,", "0,9223372036854775807,1,"];
    let foreign =
        ["", "2,1,1,", "0,1,0,", "0,1,", "x,1,1,", "-1,1,1,", "4294967296,1,1,", "own,1,0,", "{\"event\":"];
    let head = prop_oneof![9 => select(positions.to_vec()), 1 => select(foreign.to_vec())];
    (0..CASES.len(), head).prop_flat_map(|(index, head)| {
        let dataset = &CASES[index].manifest.datasets[CASES[index].dataset];
        let Delimiter::Byte(by) = dataset.csv.syntax.dialect.delimiter else { panic!("a byte") };
        let by = char::from(by).to_string();
        let head = head.replace("own", &fingerprints(dataset)[Form::Given as usize].to_string());
        let fields: Vec<_> = dataset.columns.iter().map(|column| field(column).boxed()).collect();
        let fields = prop_oneof![9 => fields, 1 => proptest::collection::vec(any_field(), 0..14)];
        fields.prop_map(move |fields| (index, format!("{head}{}", fields.join(&by))))
    })
}

#[test]
fn the_functions_and_the_transform_agree() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 8192,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    // What became of the values, by dataset: the test is worth nothing where all fare alike.
    let fates = Mutex::new(BTreeMap::<_, [u32; 3]>::new());
    let agreement = runner.run(&value(), |(index, value)| {
        let fate = match CASES[index].called(&value) {
            [Some(_), _] => 0,
            [_, Some(_)] => 1,
            _ => 2,
        };
        fates.lock().unwrap().entry(CASES[index].name()).or_default()[fate] += 1;
        Ok(())
    });
    agreement.unwrap_or_else(|error| panic!("{error}"));
    let fates = fates.into_inner().unwrap();
    assert_eq!(fates.len(), CASES.len());
    assert!(fates.values().flatten().all(|count| *count > 20), "accepted, rejected, foreign: {fates:?}");
}

fn company(dataset: &str) -> &'static Case {
    CASES.iter().find(|case| case.name() == dataset).unwrap()
}

#[test]
fn a_line_is_accepted_or_refused_and_its_references_are_not_asked_for() {
    let case = company("hired_employees");
    let [accepted, rejected] = case.called("0,3,117,7,\"Ada\",2021-07-27T16:02:08Z,999,999");
    assert_eq!(accepted.as_deref(), Some("0,3,117,7,Ada,2021-07-27T16:02:08Z,999,999"));
    assert_eq!(rejected, None);
    let [fingerprint, ..] = fingerprints(&case.manifest.datasets[case.dataset]);
    let [accepted, rejected] =
        case.called(&format!("{fingerprint},3,117,7,Ada,2021-07-27T16:02:08Z,999,999"));
    assert_eq!(accepted, Some(format!("{fingerprint},3,117,7,Ada,2021-07-27T16:02:08Z,999,999")));
    assert_eq!(rejected, None);
    let [accepted, rejected] = case.called("0,3,117,7,,soon,1,1");
    assert_eq!(accepted, None);
    assert_eq!(
        rejected.as_deref(),
        Some(
            r#"{"event":"rejected","source":3,"line":117,"form":0,"dataset":"hired_employees","stage":"transform","text":"7,,soon,1,1","reasons":[{"code":"missing_value","column":"name","message":"name is required","value":""},{"code":"invalid_timestamp","column":"datetime","message":"datetime is not a timestamp, YYYY-MM-DDTHH:MM:SSZ","value":"soon"}],"at":"2009-02-13T23:31:31.011Z"}"#
        )
    );
}

#[test]
fn a_foreign_record_is_left_out() {
    let case = company("departments");
    for foreign in [
        "",
        "hello",
        "1,Sales",
        "1,1,1,1,Sales",
        "0,1,0,1,Sales",
        "0,1,x,1,Sales",
        "-1,1,1,1,Sales",
        "{\"event\":\"rejected\"}",
    ] {
        assert_eq!(case.called(foreign), [None, None], "{foreign}");
    }
}

#[test]
fn a_dead_letter_is_dated_when_it_is_made() {
    let functions = &company("departments").functions;
    let at = |letter: Option<String>| letter.unwrap().split_once(",\"at\":").unwrap().1.to_owned();
    let before = at(functions.reject_at("0,1,1,x,Sales", SystemTime::now));
    let made = at(functions.reject("0,1,1,x,Sales"));
    let after = at(functions.reject_at("0,1,1,x,Sales", SystemTime::now));
    assert!(before <= made && made <= after, "{before} {made} {after}");
}
