//! Any format, and any text in it: neither panics, and what a column accepts is canonical.

use tidegate_core::manifest::Manifest;
use tidegate_core::shape::Form;
use tidegate_core::validate::{Scratch, Validator, hint};

use super::{ITERATIONS, TEST_TIME, in_words};

const FORMATS: [&str; 32] = [
    "%d", "%m", "%Y", "%y", "%b", "%B", "%H", "%I", "%p", "%M", "%S", "%f", "%.f", "%z", "%:z", "%Z", "%j",
    "%a", "%e", "/", "-", ".", " ", ":", "T", "%", "%%", "é", "epoch_s", "epoch_ms", "excel", "%F %T",
];

const TEXTS: [&str; 32] = [
    "0",
    "1",
    "2",
    "7",
    "27",
    "2021",
    "21",
    "07",
    "/",
    "-",
    ".",
    ",",
    " ",
    ":",
    "T",
    "Z",
    "PM",
    "jul",
    "July",
    "Tue",
    "+0200",
    "+02:00",
    "UTC",
    "Europe/Berlin",
    "infinity",
    "44404.5",
    "1627401728",
    "(",
    ")",
    "$",
    "é",
    "NA",
];

const KINDS: [&str; 6] =
    ["date", "time", "timestamp", "timestamptz", "timestamptz, time_zone: Europe/Berlin", "date"];

/// Columns of other types, whose settings are always valid.
const OTHERS: [&str; 4] = [
    "{type: numeric, decimal: ',', thousands: '.', strip: '$€', accounting: true, trim: true}",
    "{type: integer, thousands: ' ', null: [NA, '-'], optional: true}",
    "{type: boolean, true: [Y, jul], false: [N, é], default: false}",
    "{type: date, default: now, optional: true}",
];

#[test]
fn formats() {
    bolero::check!().with_iterations(ITERATIONS / 4).with_test_time(TEST_TIME).for_each(|input: &[u8]| {
        let Some(([kind, split], bytes)) = input.split_first_chunk::<2>() else { return };
        let (first, second) = bytes.split_at((*split as usize % 8).min(bytes.len()));
        let format = in_words(true, first, &FORMATS);
        let value = String::from_utf8(in_words(true, second, &TEXTS)).expect("words are texts");
        let format = String::from_utf8(format).expect("words are texts");
        let column = match OTHERS.get(*kind as usize / 6) {
            Some(other) => (*other).to_owned(),
            None => format!("{{type: {}, format: \"{format}\"}}", KINDS[*kind as usize % KINDS.len()]),
        };
        let text =
            format!("{{pipeline: p, datasets: {{d: {{key: id, columns: {{id: text, v: {column}}}}}}}}}");
        let Ok(manifest) = Manifest::parse(&text, &|_| None) else { return };
        let dataset = &manifest.datasets[0];
        let line = format!("1,\"{value}\"");
        let mut scratch = Scratch::default();
        let validator = Validator::new(dataset);
        let Ok(row) = validator.check(line.as_bytes(), &mut scratch) else {
            let _ = hint(dataset, 1, &value);
            return;
        };
        let mut again = Scratch::default();
        let canonical = Validator::of(dataset, Form::Canonical);
        let row_again = canonical.check(row.canonical, &mut again);
        let row_again = row_again.unwrap_or_else(|reasons| panic!("{column}: {line}: {reasons:?}"));
        assert_eq!(row_again.canonical, row.canonical, "{column}: {line}");
        assert_eq!(hint(dataset, 1, &value), None, "{column}: {line}");
    });
}
