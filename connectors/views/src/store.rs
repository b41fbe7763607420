//! A store: the table of changes under an incremental view, and the statements that keep it.
//!
//! Each statement on the fact table *inserts* what it adds and, negated, what it removes. Reading sums the changes
//! up, and folding replaces many changes by their sums. Therefore no writer waits for another because of a view.
//!
//! Every change has a number, drawn while its transaction holds a lock on the fact table. `truncate` excludes all
//! other holders of a lock. It draws a number too, and stores the number in `tidegate.view_resets`: changes up to the
//! largest number that a snapshot sees there do not count in that snapshot. This is exact at every isolation level.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_postgres::table::quoted;

use crate::sql::all_of;

/// What a store keeps, and of which table. All expressions use the table's own columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSpec {
    /// The dataset whose table is aggregated.
    pub dataset: String,
    /// The conditions for the rows that count, in the order of the query, since one condition may guard the next
    /// against an error.
    pub conditions: Vec<String>,
    /// The expressions that the store groups by: `k1`, `k2`, ...
    pub keys: Vec<String>,
    /// The types of the keys.
    pub(super) key_types: Vec<String>,
    /// Aggregates that add up: `s1`, `s2`, ... There is always `n`, the number of rows.
    pub(super) sums: Vec<Sum>,
    /// Expressions within keys and sums that are worth computing once per row.
    pub(super) shareable: BTreeSet<String>,
    /// All columns of the table that the store uses, with their types.
    pub(super) columns: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) sql: String,
    /// Whether its type is `numeric`; otherwise `bigint`.
    pub(super) is_numeric: bool,
}

/// A store in the database: a table of changes in the schema `tidegate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewStore {
    /// The name of the table.
    pub name: String,
    /// What the store keeps.
    pub spec: StoreSpec,
}

impl StoreSpec {
    /// Returns whether a view that needs `other` can read this store.
    pub(super) fn covers(&self, other: &Self) -> bool {
        self.dataset == other.dataset
            && other.conditions.iter().all(|condition| self.conditions.contains(condition))
            && self.conditions.iter().all(|condition| other.conditions.contains(condition))
            && other.keys.iter().all(|key| self.keys.contains(key))
            && other.sums.iter().all(|sum| self.sums.contains(sum))
    }

    /// Returns whether the store uses this column of the dataset's table.
    pub fn uses(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    /// Returns the aggregates that the store adds up.
    pub fn aggregates(&self) -> Vec<&str> {
        std::iter::once("count(*)").chain(self.sums.iter().map(|sum| sum.sql.as_str())).collect()
    }

    /// Returns the columns of the store's table that a change fills.
    pub fn change_columns(&self) -> Vec<String> {
        self.key_columns().into_iter().chain(self.sum_columns()).collect()
    }

    fn sum_columns(&self) -> Vec<String> {
        std::iter::once("n".to_owned()).chain((1..=self.sums.len()).map(|i| format!("s{i}"))).collect()
    }

    fn key_columns(&self) -> Vec<String> {
        (1..=self.keys.len()).map(|i| format!("k{i}")).collect()
    }

    /// Returns the query that computes these columns, the change, for the rows of `relation`.
    pub fn change(&self, relation: &str) -> String {
        let mut texts: Vec<String> =
            self.keys.iter().cloned().chain(self.sums.iter().map(|sum| sum.sql.clone())).collect();
        let mut from = relation.to_owned();
        if !self.conditions.is_empty() {
            from = format!("(select * from {from} where {}) as counted", all_of(&self.conditions));
        }
        for level in share(&self.shareable, &mut texts) {
            let shared: Vec<String> = level.iter().map(|(name, sql)| format!("{sql} as {name}")).collect();
            // Without the offset Postgres would inline the shared expressions again.
            from = format!("(select *, {} from {from} offset 0) as shared", shared.join(", "));
        }
        let (keys, sums) = texts.split_at(self.keys.len());
        let outputs = keys.iter().cloned().chain(["count(*)".to_owned()]).chain(sums.iter().cloned());
        let outputs: Vec<String> =
            outputs.zip(self.change_columns()).map(|(sql, name)| format!("{sql} as {name}")).collect();
        let groups: Vec<String> = (1..=keys.len()).map(|i| i.to_string()).collect();
        let end = match groups.is_empty() {
            true => "having count(*) > 0".to_owned(),
            false => format!("group by {}", groups.join(", ")),
        };
        format!("select {} from {from} {end}", outputs.join(", "))
    }

    /// Returns the statements of a trigger function that insert a statement's change into the table `store`.
    pub(super) fn trigger_body(&self, store: &str) -> String {
        let columns = self.change_columns().join(", ");
        let keys: String = self.key_columns().iter().map(|key| format!("{key}, ")).collect();
        let sums = self.sum_columns();
        let negated: Vec<String> = sums.iter().map(|sum| format!("-{sum}")).collect();
        let (added, gone) = (self.change("new_rows"), self.change("old_rows"));
        let removed = format!("select {keys}{} from ({gone}) as gone", negated.join(", "));
        let net = self.totals("", &format!("({added} union all {removed}) as change"));
        format!(
            "if tg_op = 'INSERT' then\n\
             insert into {store} ({columns}) {added};\n\
             elsif tg_op = 'DELETE' then\n\
             insert into {store} ({columns}) {removed};\n\
             else\n\
             insert into {store} ({columns})\n{net};\n\
             end if;\n"
        )
    }

    /// Returns the query for the sums of changes, and for `more` outputs: one row for each group that they change.
    fn totals(&self, more: &str, changes: &str) -> String {
        let (keys, sums) = (self.key_columns(), self.sum_columns());
        let totals = sums.iter().map(|sum| format!("sum({sum})"));
        let outputs: Vec<String> = keys.iter().cloned().chain(totals).collect();
        let nonzero: Vec<String> = sums.iter().map(|sum| format!("sum({sum}) <> 0")).collect();
        format!(
            "select {}{more} from {changes}{} having {}",
            outputs.join(", "),
            group_by(&keys),
            nonzero.join(" or ")
        )
    }
}

impl ViewStore {
    /// Returns the store's table, quoted, with its schema.
    pub fn table(&self) -> String {
        format!("tidegate.{}", quoted(&self.name))
    }

    /// Returns the statements that create the store's table, empty, with the types that its query has over `table`.
    /// The table has no key. If all tables are published, Postgres refuses to delete from a table without a replica
    /// identity, and folding deletes; therefore the replica identity is set.
    pub(super) fn create(&self, table: &str) -> String {
        let store = self.table();
        format!(
            "create table {store} as {} with no data;\n\
             alter table {store} add column _change bigint not null default nextval('tidegate.view_changes'), \
             replica identity full",
            self.spec.change(table)
        )
    }

    /// Returns the statement that fills the store from the table's current rows.
    pub(super) fn fill(&self, table: &str) -> String {
        format!(
            "insert into {} ({}) {}",
            self.table(),
            self.spec.change_columns().join(", "),
            self.spec.change(table)
        )
    }

    /// Returns the condition for the changes that count.
    fn counting(&self) -> String {
        format!(
            "_change > coalesce((select max(change) from tidegate.view_resets where store = '{}'), 0)",
            self.name
        )
    }

    /// Returns the query for the state, with the column names of a view that needs `spec`: one row for each group
    /// that has rows.
    pub(super) fn state(&self, spec: &StoreSpec) -> String {
        let own_key = |key: &String| self.spec.keys.iter().position(|own| own == key);
        let own_sum = |sum: &Sum| self.spec.sums.iter().position(|own| own == sum);
        let keys: Vec<String> = spec.keys.iter().filter_map(own_key).map(|i| format!("k{}", i + 1)).collect();
        let sums = spec.sums.iter().filter_map(own_sum).map(|i| format!("sum(s{})", i + 1));
        let outputs = keys.iter().cloned().chain(["sum(n)".to_owned()]).chain(sums);
        let outputs: Vec<String> =
            outputs.zip(spec.change_columns()).map(|(sql, name)| format!("{sql} as {name}")).collect();
        format!(
            "select {} from {} where {}{} having sum(n) > 0",
            outputs.join(", "),
            self.table(),
            self.counting(),
            group_by(&keys)
        )
    }

    /// Returns the statement that replaces all changes that it sees by their sums. It must run once at a time.
    pub(super) fn fold(&self) -> String {
        let store = self.table();
        // The sum of a group gets the largest number of its changes: a truncate after all of them is after their sum.
        let sums = self.spec.totals(", max(_change)", &format!("taken where {}", self.counting()));
        format!(
            "with taken as (delete from {store} returning *) insert into {store} ({}, _change) {sums}",
            self.spec.change_columns().join(", ")
        )
    }

    /// Returns two queries for the store's groups: as they are kept, and as the dataset's `table` gives them now. An
    /// empty sum is zero.
    pub fn as_kept_and_recomputed(&self, table: &str) -> (String, String) {
        let sums = self.spec.sum_columns();
        let sums = sums.iter().map(|sum| format!("coalesce({sum}, 0)::numeric as {sum}"));
        let columns: Vec<String> = self.spec.key_columns().into_iter().chain(sums).collect();
        let columns = columns.join(", ");
        let of = |query: &str| format!("select {columns} from ({query}) as groups");
        (of(&self.state(&self.spec)), of(&self.spec.change(table)))
    }
}

fn group_by(keys: &[String]) -> String {
    if keys.is_empty() { String::new() } else { format!(" group by {}", keys.join(", ")) }
}

/// Finds expressions that occur at least twice in the texts, and puts names in their place. Returns the expressions
/// by name, in levels, each of which uses only names of the levels before it.
fn share(shareable: &BTreeSet<String>, texts: &mut [String]) -> Vec<Vec<(String, String)>> {
    let mut candidates: Vec<&String> = shareable.iter().collect();
    candidates.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let mut named: Vec<(String, String)> = Vec::new();
    for candidate in candidates {
        let places = texts.iter().chain(named.iter().map(|(_, sql)| sql));
        if places.map(|text| text.matches(candidate.as_str()).count()).sum::<usize>() < 2 {
            continue;
        }
        let name = format!("\"tidegate.x{}\"", named.len() + 1);
        for text in texts.iter_mut().chain(named.iter_mut().map(|(_, sql)| sql)) {
            *text = text.replace(candidate.as_str(), &name);
        }
        named.push((name, candidate.clone()));
    }
    let mut levels: Vec<Vec<(String, String)>> = Vec::new();
    while !named.is_empty() {
        let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
        let is_ready = |(_, sql): &(String, String)| !names.iter().any(|name| sql.contains(name));
        let (ready, rest) = named.into_iter().partition(is_ready);
        levels.push(ready);
        named = rest;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_twice_is_computed_once_each_behind_what_it_is_made_of() {
        let zone = "\"d\" AT TIME ZONE 'UTC'".to_owned();
        let (year, month) = (format!("EXTRACT(YEAR FROM {zone})"), format!("EXTRACT(MONTH FROM {zone})"));
        let shareable = BTreeSet::from([zone.clone(), year.clone(), month.clone()]);
        let mut texts =
            vec![year.clone(), format!("count(*) filter (where {month} = 1)"), format!("{month} + 1")];
        let levels = share(&shareable, &mut texts);
        assert_eq!(
            texts,
            [
                "EXTRACT(YEAR FROM \"tidegate.x2\")",
                "count(*) filter (where \"tidegate.x1\" = 1)",
                "\"tidegate.x1\" + 1"
            ]
        );
        let level = |name: &str, sql: &str| vec![(format!("\"tidegate.{name}\""), sql.to_owned())];
        assert_eq!(levels, [level("x2", &zone), level("x1", "EXTRACT(MONTH FROM \"tidegate.x2\")")]);
        assert_eq!(share(&shareable, &mut [year]), Vec::<Vec<_>>::new());
    }
}
