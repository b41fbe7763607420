//! Columns by which rows are found, as SQL: a key, or the columns that a reference leads to.

use tidegate_core::manifest::Dataset;

use crate::identifier::quoted;

/// Columns that identify rows of a table. There is at least one.
#[derive(Clone, Debug)]
pub struct KeySql {
    /// The columns, quoted.
    pub columns: Vec<String>,
    /// Their types, as Postgres names them.
    pub types: Vec<String>,
}

impl KeySql {
    /// Returns columns of a dataset, by their indices.
    pub fn new(dataset: &Dataset, columns: &[usize]) -> Self {
        let of = || columns.iter().map(|index| &dataset.columns[*index]);
        Self {
            columns: of().map(|column| quoted(&column.name)).collect(),
            types: of().map(|column| column.kind.sql()).collect(),
        }
    }

    /// Returns what identifies a row of a dataset: its key, or its position if the dataset has no key.
    pub fn of_rows(dataset: &Dataset) -> Self {
        if dataset.is_keyless() {
            let own = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
            return Self { columns: own(["_source", "_line"]), types: own(["bigint", "bigint"]) };
        }
        Self::new(dataset, &dataset.key)
    }

    /// Returns the columns as a list: `"a", "b"`.
    pub fn list(&self) -> String {
        self.columns.join(", ")
    }

    /// Returns the columns of a relation as a list: `parent."a", parent."b"`.
    pub fn list_of(&self, relation: &str) -> String {
        self.each(", ", |_, column, _| format!("{relation}.{column}"))
    }

    /// Returns the condition that two relations, which both have the columns, agree in them.
    pub fn is_same(&self, one: &str, other: &str) -> String {
        self.each(" and ", |_, column, _| format!("{one}.{column} = {other}.{column}"))
    }

    /// Returns names for the columns that do not depend on theirs: `key_1, key_2`.
    pub fn numbered(&self) -> String {
        self.each(", ", |i, _, _| format!("key_{i}"))
    }

    /// Returns the columns of a relation under those names: `held."a" as key_1, held."b" as key_2`.
    pub fn list_as_numbered(&self, relation: &str) -> String {
        self.each(", ", |i, column, _| format!("{relation}.{column} as key_{i}"))
    }

    /// Returns the condition that the columns of a relation are those of another one, which has them under the names of
    /// [`KeySql::numbered`].
    pub fn is_numbered(&self, relation: &str, other: &str) -> String {
        self.each(" and ", |i, column, _| format!("{relation}.{column} = {other}.key_{i}"))
    }

    /// Returns the condition that the columns of a relation are those of another one, which has them as texts under the
    /// names of [`KeySql::numbered`].
    pub fn is_text(&self, relation: &str, texts: &str) -> String {
        self.each(" and ", |i, column, kind| format!("{relation}.{column} = {texts}.key_{i}::{kind}"))
    }

    /// Returns the condition that the columns of a relation are these expressions, one for each.
    pub fn is(&self, relation: &str, values: &[String]) -> String {
        self.each(" and ", |i, column, kind| format!("{relation}.{column} = ({})::{kind}", values[i - 1]))
    }

    /// Returns the parameters from number `first` on, one array of texts for each column: `$1::text[], $2::text[]`.
    pub fn parameters(&self, first: usize) -> String {
        self.each(", ", |i, _, _| format!("${}::text[]", first + i - 1))
    }

    /// Returns the columns of a relation as one text, joined by commas as the keys of records on topics are.
    pub fn text_of(&self, relation: &str) -> String {
        self.each(" || ',' || ", |_, column, _| format!("{relation}.{column}::text"))
    }

    fn each(&self, separator: &str, part: impl Fn(usize, &str, &str) -> String) -> String {
        let columns = self.columns.iter().zip(&self.types).enumerate();
        let parts: Vec<String> = columns.map(|(i, (column, kind))| part(i + 1, column, kind)).collect();
        parts.join(separator)
    }
}
