//! Random changes: each session's are of rows of its own, so that no statement has to wait for another session.

use fastrand::Rng;
use tidegate_postgres::table::quoted;

use super::schema::{Column, Schema, Table};

/// Rows of each referenced table that are there from the start and stay; who changes them is shared out.
const PARENTS: usize = 6;
/// In a fact table that references itself rows come and go by so many, and reference one another.
const CLUSTER: usize = 3;

/// A statement, and the rows that follow it if it is a `copy`.
pub(crate) struct Statement {
    pub(crate) kind: &'static str,
    pub(crate) sql: String,
    pub(crate) rows: Option<String>,
    /// Whether it may lock the fact table, so that nobody can truncate that before the commit.
    pub(crate) locks_fact: bool,
}

impl Statement {
    pub(crate) fn new(kind: &'static str, sql: impl Into<String>) -> Self {
        Self { kind, sql: sql.into(), rows: None, locks_fact: true }
    }
}

/// What a session writes.
pub(crate) struct Writer {
    number: usize,
    sessions: usize,
    /// How many keys of the fact table it has used.
    used: usize,
}

type Row = Vec<Option<String>>;

impl Writer {
    pub(crate) fn new(number: usize, sessions: usize) -> Self {
        Self { number, sessions, used: 0 }
    }

    /// The rows of the referenced tables that are there from the start.
    pub(crate) fn parents(rng: &mut Rng, schema: &Schema) -> Vec<Statement> {
        let tables = (1..schema.tables.len()).rev();
        tables.map(|table| insert(schema, table, &rows(rng, schema, table, 0..PARENTS, None), "")).collect()
    }

    /// Rows with new keys.
    pub(crate) fn insert(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let keys = self.new_keys(rng, schema);
        insert(schema, 0, &rows(rng, schema, 0, keys, None), "")
    }

    /// A random change, which may be of two statements that belong into one transaction.
    pub(crate) fn change(&mut self, rng: &mut Rng, schema: &Schema) -> Vec<Statement> {
        let has_parents = schema.tables.len() > 1;
        let change = match rng.u8(0..if has_parents { 26 } else { 20 }) {
            0..4 => self.insert(rng, schema),
            4..6 => self.copy(rng, schema),
            6..9 => self.upsert(rng, schema),
            9..13 => self.update(rng, schema),
            13 | 14 => self.delete(rng, schema),
            15 | 16 => self.merge(rng, schema),
            17 | 18 if !schema.references_itself() => self.change_key(rng, schema),
            19 if !schema.references_itself() => self.replace(rng, schema),
            17..20 => self.update(rng, schema),
            20..24 => self.update_parents(rng, schema),
            24 => return self.insert_parent_and_children(rng, schema),
            _ => self.delete_parent(rng, schema),
        };
        vec![change]
    }

    fn new_keys(&mut self, rng: &mut Rng, schema: &Schema) -> Vec<usize> {
        let count = if schema.references_itself() { CLUSTER * rng.usize(1..3) } else { rng.usize(1..6) };
        let first = self.used;
        self.used += count;
        (first..self.used).map(|n| self.number * 1000 + n).collect()
    }

    /// Keys that were used before, whether their rows are there or not.
    fn old_keys(&self, rng: &mut Rng, schema: &Schema) -> Vec<usize> {
        let size = if schema.references_itself() { CLUSTER } else { 1 };
        let mut clusters: Vec<usize> = (0..self.used / size).collect();
        rng.shuffle(&mut clusters);
        clusters.truncate(if rng.u8(0..8) == 0 { usize::MAX } else { rng.usize(1..6) });
        let keys = clusters.iter().flat_map(|cluster| cluster * size..(cluster + 1) * size);
        keys.map(|n| self.number * 1000 + n).collect()
    }

    fn copy(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let keys = self.new_keys(rng, schema);
        let field = |value: &Option<String>| match value {
            Some(value) => format!("\"{}\"", value.replace('"', "\"\"")),
            None => String::new(),
        };
        let lines = rows(rng, schema, 0, keys, None).into_iter().map(|row| {
            let fields: Vec<String> = row.iter().map(field).collect();
            fields.join(",") + "\n"
        });
        let table = &schema.tables[0];
        let sql = format!("copy {} ({}) from stdin (format csv)", table.sql(), table.column_list());
        Statement { rows: Some(lines.collect()), ..Statement::new("copy", sql) }
    }

    fn upsert(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let mut keys = self.old_keys(rng, schema);
        if rng.bool() {
            keys.extend(self.new_keys(rng, schema));
        }
        let table = &schema.tables[0];
        let changed = some_columns(rng, table);
        let sets: Vec<String> =
            changed.iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let conflict = match &sets[..] {
            [] => "on conflict do nothing".to_owned(),
            sets => format!("on conflict ({}) do update set {}", key(table), sets.join(", ")),
        };
        Statement { kind: "upsert", ..insert(schema, 0, &rows(rng, schema, 0, keys, None), &conflict) }
    }

    fn update(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let keys = self.old_keys(rng, schema);
        update(rng, schema, 0, &keys)
    }

    fn delete(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let table = &schema.tables[0];
        let sql =
            format!("delete from {} where {}", table.sql(), has_key(table, &self.old_keys(rng, schema)));
        Statement::new("delete", sql)
    }

    fn merge(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let table = &schema.tables[0];
        let old = self.old_keys(rng, schema);
        let mut delete = String::new();
        if !schema.references_itself() && rng.bool() {
            let some = &old[..old.len().div_ceil(2)];
            delete = format!(" when matched and t.{} then delete", has_key(table, some));
        }
        let keys = old.into_iter().chain(self.new_keys(rng, schema));
        let columns: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
        let changed = some_columns(rng, table);
        let sets: Vec<String> = changed.iter().map(|column| format!("{column} = s.{column}")).collect();
        let update =
            if sets.is_empty() { "do nothing".to_owned() } else { format!("update set {}", sets.join(", ")) };
        let sql = format!(
            "merge into {} as t using (values {}) as s ({columns}) on t.{key} = s.{key}{delete} when matched then {update} \
             when not matched then insert ({columns}) values (s.{})",
            table.sql(),
            values(table, &rows(rng, schema, 0, keys, None)),
            columns.join(", s."),
            columns = columns.join(", "),
            key = key(table),
        );
        Statement::new("merge", sql)
    }

    fn change_key(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let (table, old) = (&schema.tables[0], self.old_keys(rng, schema));
        let new = key_literal(table, self.new_keys(rng, schema)[0]);
        let sql =
            format!("update {} set {} = {new} where {}", table.sql(), key(table), has_key(table, &old[..1]));
        Statement::new("change of a key", sql)
    }

    /// Deletes and inserts in one statement.
    fn replace(&mut self, rng: &mut Rng, schema: &Schema) -> Statement {
        let (table, old) = (&schema.tables[0], self.old_keys(rng, schema));
        let key = key(table);
        let new = key_literal(table, self.new_keys(rng, schema)[0]);
        let selected = table.columns.iter().map(|column| quoted(&column.name));
        let selected: Vec<String> =
            selected.map(|name| if name == key { new.clone() } else { name }).collect();
        let sql = format!(
            "with gone as (delete from {name} where {} returning *) insert into {name} ({}) select {} from gone",
            has_key(table, &old[..1]),
            table.column_list(),
            selected.join(", "),
            name = table.sql(),
        );
        Statement::new("delete and insert in one", sql)
    }

    fn update_parents(&self, rng: &mut Rng, schema: &Schema) -> Statement {
        let table = rng.usize(1..schema.tables.len());
        let own: Vec<usize> = (0..PARENTS).filter(|n| n % self.sessions == self.number).collect();
        let keys = if rng.bool() { &own[..1] } else { &own[..] };
        let statement = update(rng, schema, table, keys);
        Statement { kind: "update of a referenced table", locks_fact: false, ..statement }
    }

    /// A row of a referenced table that only this session references, and only so.
    fn spare(&self, rng: &mut Rng) -> usize {
        100 + self.number * 10 + rng.usize(0..3)
    }

    fn insert_parent_and_children(&mut self, rng: &mut Rng, schema: &Schema) -> Vec<Statement> {
        let (parent, spare) = (rng.usize(1..schema.tables.len()), self.spare(rng));
        let row = rows(rng, schema, parent, [spare], None);
        let first = Statement { locks_fact: false, ..insert(schema, parent, &row, "on conflict do nothing") };
        let keys = self.new_keys(rng, schema);
        let children = insert(schema, 0, &rows(rng, schema, 0, keys, Some((parent, spare))), "");
        vec![Statement { kind: "insert into a referenced table", ..first }, children]
    }

    fn delete_parent(&self, rng: &mut Rng, schema: &Schema) -> Statement {
        let parent = rng.usize(1..schema.tables.len());
        let table = &schema.tables[parent];
        let mut sql =
            format!("delete from {} as p where {}", table.sql(), has_key(table, &[self.spare(rng)]));
        for (from, column) in schema.references_to(parent) {
            let (from, column) = (from.sql(), quoted(&from.columns[column].name));
            sql += &format!(" and not exists (select from {from} as f where f.{column} = p.{})", key(table));
        }
        Statement::new("delete from a referenced table", sql)
    }
}

/// Random rows with these keys. With `spare` all that can references that row of that table.
fn rows(
    rng: &mut Rng,
    schema: &Schema,
    table: usize,
    keys: impl IntoIterator<Item = usize>,
    spare: Option<(usize, usize)>,
) -> Vec<Row> {
    let Table { columns, key, .. } = &schema.tables[table];
    let mut value = |i: usize, n: usize| {
        let column = &columns[i];
        let referenced = match column.references {
            _ if i == *key => n,
            None => return column.value_or_null(rng),
            Some(_) if column.optional && rng.u8(0..4) == 0 => return None,
            Some(to) if to == table => n / 1000 * 1000 + n % 1000 / CLUSTER * CLUSTER + rng.usize(0..CLUSTER),
            Some(to) => spare.filter(|(parent, _)| *parent == to).map_or(rng.usize(0..PARENTS), |(_, n)| n),
        };
        Some(column.key_value(referenced))
    };
    keys.into_iter().map(|n| (0..columns.len()).map(|i| value(i, n)).collect()).collect()
}

fn insert(schema: &Schema, table: usize, rows: &[Row], conflict: &str) -> Statement {
    let table = &schema.tables[table];
    let values = values(table, rows);
    Statement::new(
        "insert",
        format!("insert into {} ({}) values {values} {conflict}", table.sql(), table.column_list()),
    )
}

fn values(table: &Table, rows: &[Row]) -> String {
    let row = |row: &Row| {
        let literals = table.columns.iter().zip(row).map(|(column, value)| column.literal(value.as_deref()));
        format!("({})", literals.collect::<Vec<_>>().join(", "))
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// An update of some columns that are not the key, to new values, null, or the values of other columns.
fn update(rng: &mut Rng, schema: &Schema, index: usize, keys: &[usize]) -> Statement {
    let table = &schema.tables[index];
    let mut sets = Vec::new();
    let row = &rows(rng, schema, index, [0], None)[0];
    let every = rng.usize(1..4);
    for (i, column) in table.columns.iter().enumerate() {
        if i == table.key || rng.usize(0..every) > 0 {
            continue;
        }
        // A row of the fact table may reference itself whatever other rows there are.
        let like = |other: &&Column| {
            other.kind == column.kind
                && (other.references == column.references || column.references.is_none())
                && (column.optional || !other.optional)
                && (column.ambiguous || !other.ambiguous)
        };
        let others: Vec<_> = table.columns.iter().filter(like).collect();
        let value = match rng.choice(others).filter(|_| rng.u8(0..4) == 0) {
            _ if column.references == Some(index) => quoted(&table.key_column().name),
            Some(other) => quoted(&other.name),
            None => column.literal(row[i].as_deref()),
        };
        sets.push(format!("{} = {value}", quoted(&column.name)));
    }
    if sets.is_empty() {
        sets.push("_line = _line".to_owned());
    }
    let sql = format!("update {} set {} where {}", table.sql(), sets.join(", "), has_key(table, keys));
    Statement::new("update", sql)
}

/// Some columns that are not the key, quoted.
fn some_columns(rng: &mut Rng, table: &Table) -> Vec<String> {
    let every = rng.usize(1..4);
    let columns =
        table.columns.iter().enumerate().filter(|(i, _)| *i != table.key && rng.usize(0..every) == 0);
    columns.map(|(_, column)| quoted(&column.name)).collect()
}

fn key(table: &Table) -> String {
    quoted(&table.key_column().name)
}

fn key_literal(table: &Table, n: usize) -> String {
    let column = table.key_column();
    column.literal(Some(&column.key_value(n)))
}

fn has_key(table: &Table, keys: &[usize]) -> String {
    let keys: Vec<String> = keys.iter().map(|n| key_literal(table, *n)).collect();
    format!("{} in ({})", key(table), keys.join(", "))
}
