//! What holds for any order and spelling of the names.

use proptest::prelude::*;
use tidegate_core::header::Header;
use tidegate_core::shape::Shape;

use super::manifest;

const COLUMNS: [&str; 5] = ["id", "first_name", "año", "e_mail", "größe"];

/// A spelling of a name that differs in what does not count.
fn spelling(name: &'static str) -> impl Strategy<Value = String> {
    let characters: Vec<char> = name.chars().collect();
    prop::collection::vec(
        (any::<bool>(), prop::sample::select(vec!["", "", " ", "_", "-", ".", " (", "\t"])),
        characters.len(),
    )
    .prop_map(move |choices| {
        let mut text = String::new();
        for (c, (upper, behind)) in characters.iter().zip(choices) {
            match (c, upper) {
                ('_', _) => {}
                ('ñ', false) => text.push_str("n\u{303}"),
                ('ß', _) => text.push('ß'),
                (c, true) => text.extend(c.to_uppercase()),
                (c, false) => text.push(*c),
            }
            text.push_str(behind);
        }
        text
    })
}

/// The columns in any order, each with its index and a spelling.
fn permutation() -> impl Strategy<Value = Vec<(usize, String)>> {
    let order = Just((0..COLUMNS.len()).collect::<Vec<_>>()).prop_shuffle();
    let spellings: Vec<_> = COLUMNS.iter().map(|name| spelling(name)).collect();
    (order, spellings).prop_map(|(order, spellings)| {
        order.into_iter().map(|column| (column, spellings[column].clone())).collect()
    })
}

proptest! {
    #[test]
    fn any_order_and_loose_spelling_of_the_names_gives_the_same_row(names in permutation()) {
        let columns: Vec<String> = COLUMNS.iter().map(|name| format!("{name}: text")).collect();
        let manifest = manifest("header: true", &columns.join(", "));
        let dataset = &manifest.datasets[0];
        let header: Vec<String> = names.iter().map(|(_, name)| name.clone()).collect();
        let matched = Header::of(&header, dataset).unwrap();
        let shape = Shape { columns: matched.columns, ..Shape::of_file(&manifest, dataset, dataset.csv.syntax.clone()) };
        let line: Vec<String> = names.iter().map(|(column, _)| format!("value {column}")).collect();
        let mut row = Vec::new();
        shape.mapped(dataset).write(line.join(",").as_bytes(), None, &mut row).unwrap();
        prop_assert_eq!(String::from_utf8(row).unwrap(), "value 0,value 1,value 2,value 3,value 4");
    }

    #[test]
    fn names_of_any_text_are_matched_or_refused(header in prop::collection::vec(".{0,8}", 0..12)) {
        for csv in ["header: true", "header: true, columns_unknown: ignore, columns_absent: 'null'"] {
            let manifest = manifest(csv, "id: integer, a: {type: text, optional: true, from: ''}");
            if let Ok(matched) = Header::of(&header, &manifest.datasets[0]) {
                prop_assert_eq!(matched.columns.len() + usize::from(matched.trailing_delimiter), header.len());
                for column in ["id", "a"] {
                    prop_assert!(matched.columns.iter().filter(|name| *name == column).count() < 2);
                }
            }
        }
    }
}
