//! Keys of several columns or none, and references to them.

use super::faults::assert_faults;
use super::valid;

/// Flights with the weather of their origin: a key of two columns, and a reference to it.
const FLIGHTS: &str = "\
pipeline: p
datasets:
  flights:
    key: none
    columns:
      flight: integer
      origin: {type: text, references: airports.faa}
      time_hour: {type: timestamptz, optional: true}
    references: [{columns: [origin, time_hour], to: weather}]
  airports:
    key: id
    columns: {id: integer, faa: {type: text, optional: true}}
  weather:
    key: [origin, time_hour]
    columns: {time_hour: timestamptz, temp: real, origin: text}
";

/// A manifest of two datasets; `child` is what follows the name of the second.
fn family(parent: &str, child: &str) -> String {
    format!("pipeline: p\ndatasets:\n  a: {parent}\n  b: {child}\n")
}

#[test]
fn a_key_has_one_column_or_several_or_none() {
    let manifest = valid(FLIGHTS);
    let keys = manifest.datasets.iter().map(|dataset| (dataset.name.as_str(), &dataset.key[..]));
    assert_eq!(keys.collect::<Vec<_>>(), [("airports", &[0][..]), ("weather", &[2, 0]), ("flights", &[])]);
    let [airports, weather, flights] = &manifest.datasets[..] else { panic!("three") };
    assert_eq!(airports.single_key().map(|key| key.name.as_str()), Some("id"));
    assert!(weather.single_key().is_none() && weather.is_key(0) && !weather.is_key(1));
    assert!(flights.is_keyless() && flights.key_columns().len() == 0);
    for key in ["[none]", "\"none\""] {
        let one =
            valid(&format!("{{pipeline: p, datasets: {{a: {{key: {key}, columns: {{none: integer}}}}}}}}"));
        assert_eq!(one.datasets[0].key, [0], "in a list or in quotes it is the name of a column");
    }
    assert_faults(
        "{pipeline: p, datasets: {a: {key: none, columns: {none: integer}}}}",
        &[
            "1:30: key: none may mean the column none, or that there is no key; write \"none\" in quotes for the column, or rename it",
        ],
    );
}

#[test]
fn a_reference_leads_to_a_key_in_its_order_or_to_a_column_that_it_makes_unique() {
    let manifest = valid(FLIGHTS);
    let (_, flights) = manifest.dataset("flights").unwrap();
    let references = flights.references.iter();
    let found: Vec<_> =
        references.map(|r| (r.name(flights), manifest.datasets[r.dataset].names(&r.to))).collect();
    let expected =
        [("origin", "faa"), ("origin, time_hour", "origin, time_hour")].map(|(a, b)| (a.into(), b.into()));
    assert_eq!(found, expected);
    assert_eq!(manifest.referenced_columns(0), [1]);
    assert_eq!(manifest.referenced_columns(1), [0; 0], "a key is unique anyway");
    assert!(manifest.is_referenced(1) && !manifest.is_referenced(2));
    let key = valid(&family(
        "{key: x, columns: {x: text}}",
        "{key: y, columns: {y: {type: text, references: a.x}}}",
    ));
    assert_eq!(key.datasets[1].references[0].to, key.datasets[0].key);
    assert!(key.referenced_columns(0).is_empty());
}

#[test]
fn each_column_of_a_key_is_there_once_exact_and_never_missing() {
    let dataset = |rest: &str| format!("pipeline: p\ndatasets:\n  a: {rest}\n");
    assert_faults(
        &dataset("{key: [x, z, x], columns: {x: integer, y: real}}"),
        &["3:19: \"x\" is listed twice; remove one of them"],
    );
    assert_faults(
        &dataset("{key: [x, z], columns: {x: integer, y: real}}"),
        &["3:16: the key \"z\" is no column of a; did you mean \"x\"?"],
    );
    assert_faults(
        &dataset("{key: [x, y], columns: {x: {type: integer, optional: true}, y: real}}"),
        &[
            "3:13: the key \"x\" is optional; no column of a key is ever missing; remove \"optional: true\" there, or leave it out of the key",
            "3:16: the key \"y\" is of type real; choose a type whose values are exact, like integer, uuid or text",
        ],
    );
    assert_faults(
        &dataset("{key: [], columns: {x: integer}}"),
        &["3:12: expected a list of columns, found an empty list; write \"key: [a, b]\""],
    );
    let many: Vec<String> = (0..33).map(|i| format!("c{i}")).collect();
    assert_faults(
        &dataset(&format!("{{key: [{}], columns: {{x: integer}}}}", many.join(", "))),
        &["3:12: 33 columns are listed; an index of Postgres holds at most 32"],
    );
}

#[test]
fn only_a_key_of_one_column_is_generated() {
    for key in ["[x, y]", "none"] {
        assert_faults(
            &format!(
                "pipeline: p\ndatasets:\n  a:\n    key: {key}\n    columns:\n      x: {{type: uuid, generated: uuid}}\n      y: text\n"
            ),
            &[
                "6:34: x is generated, but it is not the only column of the key; write \"key: x\", or remove \"generated\" here",
            ],
        );
    }
}

#[test]
fn a_reference_has_the_columns_of_the_key_in_number_and_type() {
    let weather = "{key: [x, t], columns: {x: text, t: date}}";
    let list = |reference: &str| {
        family(weather, &format!("{{key: none, columns: {{x: text, t: date}}, references: [{reference}]}}"))
    };
    valid(&list("{columns: [x, t], to: a}"));
    let several =
        "write \"references: [{columns: [...], to: a}]\" in the dataset, with a column for each of x, t";
    assert_faults(
        &family(weather, "{key: none, columns: {x: {type: text, references: a}}}"),
        &[&format!("4:56: x references a, but its key is x, t; {several}")],
    );
    assert_faults(
        &list("{columns: [t, x], to: a}"),
        &[
            "4:82: t is of type date, but the key of a, x, is of type text; give both the same type",
            "4:82: x is of type text, but the key of a, t, is of type date; give both the same type",
        ],
    );
    assert_faults(
        &list("{columns: [x, u], to: a}"),
        &["4:74: the reference \"u\" is no column of b; did you mean \"x\"?"],
    );
    assert_faults(&list("{columns: [x, x], to: a}"), &["4:74: \"x\" is listed twice; remove one of them"]);
    assert_faults(
        &list("{columns: [x, t], to: a}, {columns: [t, x], to: b}"),
        &[
            "4:108: b has no key to reference; name a column whose values are unique, like \"b.id\", or give b a key",
            "4:108: t, x has two references; remove one of them",
        ],
    );
}

#[test]
fn a_reference_to_a_column_needs_one_whose_values_can_be_unique() {
    let child = |to: &str| format!("{{key: none, columns: {{x: {{type: text, references: {to}}}}}}}");
    let parent = "{key: [x, t], columns: {x: text, t: date, y: text, r: real}}";
    valid(&family(parent, &child("a.y")));
    assert_faults(
        &family(parent, &child("a.x")),
        &[
            "4:56: x is one of several columns of the key of a; its values are not unique alone; reference the whole key from the dataset: \"references: [{columns: [...], to: ...}]\"",
        ],
    );
    assert_faults(
        &family(parent, &child("a.z")),
        &["4:56: the referenced \"z\" is no column of a; did you mean \"x\"?"],
    );
    assert_faults(
        &family(parent, &child("a.r")),
        &[
            "4:56: a.r is of type real, so it cannot be referenced; reference a column whose values are exact, like integer, uuid or text",
            "4:56: x is of type text, but the column of a, r, is of type real; give both the same type",
        ],
    );
    assert_faults(
        &family(parent, &child("c.y")),
        &["4:56: there is no dataset \"c\" to reference; did you mean \"a\"?"],
    );
    assert_faults(
        &family(
            parent,
            "{key: none, columns: {x: {type: text, references: a.y}}, references: [{columns: [x], to: a.y}]}",
        ),
        &["4:95: x has two references; remove one of them"],
    );
    assert_faults(
        &family(parent, "{key: none, columns: {x: text, t: text}, references: [{columns: [x, t], to: a.y}]}"),
        &[
            "4:82: 2 columns reference the one column a.y; name one column to reference it, or the dataset alone for its key",
        ],
    );
}
