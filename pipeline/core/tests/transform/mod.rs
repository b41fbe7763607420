//! Where the transform sends a line, by its references, and under which key.

use std::sync::Arc;
use std::time::SystemTime;

use tidegate_core::manifest::Manifest;
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::transform::{Transform, TransformOutput};
use tidegate_core::validate::Validator;

const FLIGHTS: &str = "\
pipeline: p
datasets:
  flights:
    key: none
    columns:
      flight: integer
      origin: {type: text, optional: true}
      hour: {type: integer, optional: true}
      code: {type: text, optional: true, references: weather.code}
    references: [{columns: [origin, hour], to: weather}]
  weather:
    key: [origin, hour]
    columns: {hour: integer, origin: text, code: {type: text, optional: true}}
";

struct Bench {
    manifest: Arc<Manifest>,
    transform: Transform,
}

impl Bench {
    fn new() -> Self {
        let manifest =
            Arc::new(Manifest::parse(FLIGHTS, &|_| None).unwrap_or_else(|faults| panic!("{faults}")));
        Self { transform: Transform::new(manifest.clone(), 100), manifest }
    }

    /// Applies one line of a dataset.
    fn line(&mut self, dataset: &str, text: &str) -> TransformOutput {
        let (index, _) = self.manifest.dataset(dataset).unwrap();
        let mut raw = Batch::default();
        let line = Line { fingerprint: 0, position: Position::new(3, 4), text: text.as_bytes() };
        raw.push_with(b"", |out| line.write(out));
        self.transform.apply(index, &raw, SystemTime::UNIX_EPOCH)
    }

    #[track_caller]
    fn is_accepted(&mut self, dataset: &str, text: &str) -> bool {
        let output = self.line(dataset, text);
        assert_eq!(output.accepted.len() + output.dead_letters.len(), 1, "{text}");
        output.accepted.len() == 1
    }
}

#[test]
fn a_line_has_its_key_whatever_divides_its_fields() {
    let delimiters =
        [("\";\"", "1;b;a"), ("\"||\"", "1||b||a"), ("whitespace", " 1  b\ta "), ("\",\"", "1,b,a")];
    for (delimiter, text) in delimiters {
        let manifest = format!(
            "{{pipeline: p, datasets: {{d: {{key: [z, id], csv: {{delimiter: {delimiter}}}, columns: {{id: integer, y: text, z: \
             text}}}}}}}}"
        );
        let manifest = Manifest::parse(&manifest, &|_| None).unwrap_or_else(|faults| panic!("{faults}"));
        let mut key = Vec::new();
        Validator::new(&manifest.datasets[0]).write_key(Position::new(3, 4), text.as_bytes(), &mut key);
        assert_eq!(String::from_utf8_lossy(&key), "a,1", "{delimiter}");
    }
}

fn key_of(batch: &Batch) -> String {
    String::from_utf8_lossy(batch.iter().next().expect("a record").key).into_owned()
}

#[test]
fn the_key_of_a_record_is_its_fields_in_the_order_of_the_key_or_the_position() {
    let mut bench = Bench::new();
    assert_eq!(key_of(&bench.line("weather", "7,EWR,").accepted), "EWR,7");
    assert_eq!(key_of(&bench.line("weather", "x,EWR,").dead_letters), "EWR,x");
    assert_eq!(key_of(&bench.line("flights", "1,,,").accepted), "3,4");
    assert_eq!(key_of(&bench.line("flights", "x,,,").dead_letters), "3,4");
}

#[test]
fn a_reference_of_several_columns_waits_until_all_of_them_are_known_together() {
    let mut bench = Bench::new();
    assert!(!bench.is_accepted("flights", "1,EWR,7,"));
    assert!(bench.is_accepted("weather", "8,EWR,") && bench.is_accepted("weather", "7,JFK,"));
    assert!(!bench.is_accepted("flights", "1,EWR,7,"), "each value is known, but not in one row");
    assert!(bench.is_accepted("weather", "007,EWR,"));
    assert!(bench.is_accepted("flights", "1,EWR,+7,"), "7 in another spelling");
    let letters = bench.line("flights", "1,LGA,7,").dead_letters;
    let letter = String::from_utf8_lossy(letters.iter().next().unwrap().value).into_owned();
    assert!(letter.contains("weather has no row 'LGA,7'") && letter.contains("\"origin, hour\""), "{letter}");
}

#[test]
fn a_reference_with_a_missing_part_holds() {
    let mut bench = Bench::new();
    for text in ["1,EWR,,", "1,,7,", "1,,,"] {
        assert!(bench.is_accepted("flights", text), "{text}");
    }
}

#[test]
fn a_reference_to_a_column_that_is_no_key_is_left_to_the_sink() {
    assert!(Bench::new().is_accepted("flights", "1,,,x"));
}
