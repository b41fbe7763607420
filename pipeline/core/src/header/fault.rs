//! What is wrong with a header, in words, with the setting that would help.

use super::{Doubt, Matching, from};
use crate::manifest::{ColumnsAbsent, ColumnsUnknown, nearest};
use crate::printable::printable_line;

use super::spelling::loose;

/// How many unknown names a message shows.
const UNKNOWN_MAX: usize = 20;

/// The faults of a header.
pub(super) struct Faults<'m, 'a> {
    matching: &'m Matching<'a>,
    /// The fields that belong to no column.
    unknown: Vec<usize>,
    /// The columns that have no field.
    absent: Vec<usize>,
}

impl<'m, 'a> Faults<'m, 'a> {
    /// All faults: first names that cannot be decided, then unknown ones, then absent ones.
    pub(super) fn of(matching: &'m Matching<'a>) -> Vec<String> {
        let unknown = (0..matching.names.len()).filter(|field| matching.is_free(*field)).collect();
        let absent = matching.dataset.fields().map(|(index, _)| index);
        let absent = absent.filter(|index| matching.is_absent(*index)).collect();
        let faults = Self { matching, unknown, absent };
        let mut all: Vec<String> = matching.doubts.iter().map(|doubt| faults.doubt(doubt)).collect();
        if matching.dataset.csv.columns_unknown == ColumnsUnknown::Refuse && !faults.unknown.is_empty() {
            all.extend(faults.unknown.iter().take(UNKNOWN_MAX).map(|field| faults.unknown(*field)));
            all.push(faults.left_out());
        }
        all.extend(faults.absent.iter().filter_map(|column| faults.absent(*column)));
        all
    }

    fn name(&self, field: usize) -> String {
        format!("'{}'", printable_line(self.matching.names[field]))
    }

    fn doubt(&self, Doubt { fields, columns, is_loose }: &Doubt) -> String {
        let names = |columns: &[usize]| {
            let names = columns.iter().map(|column| &self.matching.dataset.columns[*column].name);
            names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" and ")
        };
        let first = self.matching.names[fields[0]];
        if let [_] = fields[..] {
            return format!(
                "the name {} fits the columns {}: say which with 'from: \"{}\"' in that column, or set 'header_match: exact' in \
                 'csv'",
                self.name(fields[0]),
                names(columns),
                printable_line(first)
            );
        }
        let column = names(columns);
        if fields.iter().all(|field| self.matching.names[*field] == first) {
            return format!("the header names the column {column} {}", times(fields.len()));
        }
        let fields: Vec<String> = fields.iter().map(|field| self.name(*field)).collect();
        let fields = fields.join(" and ");
        if *is_loose {
            let first = printable_line(first);
            format!(
                "the names {fields} fit the same column, {column}: say which with 'from: \"{first}\"' in it, or set \
                 'header_match: exact' in 'csv'"
            )
        } else {
            format!(
                "the names {fields} are both in 'from' of the column {column}: keep there the one that is meant"
            )
        }
    }

    fn unknown(&self, field: usize) -> String {
        let (name, dataset) = (self.matching.names[field], self.matching.dataset);
        if name.is_empty() {
            return format!(
                "field {} of the header has no name: if a column is meant, write 'from: \"\"' in it",
                field + 1
            );
        }
        let of_file = dataset.columns.iter().filter(|column| !column.is_field());
        if let Some(column) = of_file.into_iter().find(|column| loose(&column.name) == loose(name)) {
            let of_file = &column.name;
            return format!(
                "the header names {}, but the column '{of_file}' comes from the file and not from its lines",
                self.name(field)
            );
        }
        let absent = self.absent.iter().map(|column| &dataset.columns[*column]);
        let known = absent.flat_map(|column| from(column).into_iter().chain([column.name.as_str()]));
        let hint = nearest(name, known).map(|known| format!(", did you mean '{known}'?")).unwrap_or_default();
        format!(
            "the header names the column {}, which '{}' does not have{hint}",
            self.name(field),
            dataset.name
        )
    }

    /// What leaves unknown fields out.
    fn left_out(&self) -> String {
        let dataset = &self.matching.dataset.name;
        match self.unknown.len().saturating_sub(UNKNOWN_MAX) {
            0 => format!("'columns_unknown: ignore' in 'csv' of '{dataset}' leaves such fields out"),
            more => format!(
                "{more} more fields are unknown: 'columns_unknown: ignore' in 'csv' of '{dataset}' leaves them all out"
            ),
        }
    }

    fn absent(&self, column: usize) -> Option<String> {
        let dataset = self.matching.dataset;
        let column = &dataset.columns[column];
        let name = &column.name;
        if column.optional || column.reading.default.is_some() {
            let value = if column.reading.default.is_some() { "its default" } else { "null" };
            (dataset.csv.columns_absent == ColumnsAbsent::Refuse).then(|| {
                format!(
                    "the header lacks the optional column '{name}', which would become {value} in rows that have a \
                     value there; add it to the file, or allow that: set 'columns_absent: null' in 'csv' of '{}'",
                    dataset.name
                )
            })
        } else if column.generated.is_some() {
            None
        } else {
            let hint = match self.unknown[..] {
                [field] => format!(
                    "; if {} is it, write 'from: \"{}\"' in the column",
                    self.name(field),
                    printable_line(self.matching.names[field])
                ),
                [] => String::new(),
                _ => "; if it has another name there, write that with 'from:' in the column".to_owned(),
            };
            Some(format!("the header lacks the required column '{name}'{hint}"))
        }
    }
}

fn times(times: usize) -> String {
    if times == 2 { "twice".to_owned() } else { format!("{times} times") }
}
