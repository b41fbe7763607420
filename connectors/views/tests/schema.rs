//! Random schemas: a fact table and what it references, with the values that its columns may take.

use std::fmt::Write as _;

use fastrand::Rng;
use tidegate_core::manifest::Kind;
use tidegate_postgres::table::quoted;

/// Names that are valid without quotes, in any case.
pub(crate) const PLAIN_NAMES: &str = "name|amount|qty|state|datetime|born|code|note|price|kind_of|grp|level";
/// Names that must be quoted, or are those of functions, keywords and of what an implementation may use itself.
const ODD_NAMES: &str = "Amount|group|order by|select|naïve|it's|say \"hi\"|x.y|100%|$1|user|count|sum|n|k1|s1|_change|\
                         new|old|store|{}|a\\b|end|two  blanks|Year|\
                         sixty-three bytes, of which there cannot be more in a name: 123";
const KINDS: &str = "smallint|integer|integer|bigint|numeric|numeric|numeric(12,2)|numeric(5)|real|double|boolean|\
                     text|text|varchar(12)|date|time|timestamp|timestamptz|timestamptz|uuid|jsonb";
const KINDS_OF_KEYS: &str =
    "integer|integer|bigint|smallint|text|varchar(12)|uuid|numeric(12,2)|numeric|date|timestamptz";
/// Names of datasets, with another name for the table.
const DATASETS: [(&str, &str); 8] = [
    ("orders", "Orders of 2024"),
    ("items", "order"),
    ("select", "Sales Data.items"),
    ("_users", "user"),
    ("places", "sales.Places"),
    ("group", "sales.group"),
    ("kinds_2", "new"),
    ("view", "it's"),
];

/// A manifest; its first table is the fact table, and each references only tables behind it, or itself.
pub(crate) struct Schema {
    pub(crate) tables: Vec<Table>,
}

pub(crate) struct Table {
    dataset: &'static str,
    renamed: Option<&'static str>,
    pub(crate) columns: Vec<Column>,
    /// The index of the key's column.
    pub(crate) key: usize,
}

pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) optional: bool,
    /// The index of a table.
    pub(crate) references: Option<usize>,
    /// Whether values that are equal may differ as text (1.0 and 1.00, 0 and -0). Which of them `min`, `max` or
    /// a group shows is Postgres's choice, so such a column is compared only in a form without that doubt.
    pub(crate) ambiguous: bool,
}

impl Schema {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut names = DATASETS;
        rng.shuffle(&mut names);
        let parents = rng.usize(0..=3);
        let mut tables: Vec<Table> = names[..=parents].iter().map(|name| Table::random(rng, *name)).collect();
        for _ in 0..rng.usize(4..9) {
            tables[0].add(rng, None);
        }
        for parent in 1..=parents {
            // By the fact table or a table before it, so that there are chains; sometimes twice.
            for _ in 0..1 + usize::from(rng.u8(0..4) == 0) {
                let from = if rng.bool() { 0 } else { rng.usize(0..parent) };
                let key = tables[parent].key_column();
                let (kind, same) = (key.kind, (rng.u8(0..3) == 0).then(|| key.name.clone()));
                tables[from].add(rng, Some((kind, parent, same)));
            }
        }
        if rng.u8(0..6) == 0 {
            let kind = tables[0].key_column().kind;
            tables[0].add(rng, Some((kind, 0, None)));
        }
        Self { tables }
    }

    pub(crate) fn manifest(&self) -> String {
        let mut text = "pipeline: random\ndatasets:\n".to_owned();
        for table in &self.tables {
            writeln!(text, "  {}:", table.dataset).unwrap();
            if let Some(renamed) = table.renamed {
                writeln!(text, "    table: \"{renamed}\"").unwrap();
            }
            writeln!(text, "    key: {}\n    columns:", yaml(&table.key_column().name)).unwrap();
            for column in &table.columns {
                write!(text, "      {}: {{type: \"{}\"", yaml(&column.name), column.kind).unwrap();
                if column.optional {
                    text.push_str(", optional: true");
                }
                if let Some(to) = column.references {
                    write!(text, ", references: {}", self.tables[to].dataset).unwrap();
                }
                text.push_str("}\n");
            }
        }
        text
    }

    /// The names of schemas that tables are in, quoted.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        let schemas = self.tables.iter().filter_map(|table| table.renamed?.split_once('.'));
        let mut names: Vec<String> = schemas.map(|(schema, _)| quoted(schema)).collect();
        names.push("public".to_owned());
        names
    }

    /// The references to a table: whose, and the index of its column.
    pub(crate) fn references_to(&self, table: usize) -> Vec<(&Table, usize)> {
        let columns = |from: &'_ Table| -> Vec<usize> {
            (0..from.columns.len()).filter(|column| from.columns[*column].references == Some(table)).collect()
        };
        self.tables
            .iter()
            .flat_map(|from| columns(from).into_iter().map(move |column| (from, column)))
            .collect()
    }

    pub(crate) fn references_itself(&self) -> bool {
        self.tables[0].columns.iter().any(|column| column.references == Some(0))
    }
}

impl Table {
    fn random(rng: &mut Rng, (dataset, renamed): (&'static str, &'static str)) -> Self {
        let renamed = (rng.u8(0..3) == 0).then_some(renamed);
        let mut table = Self { dataset, renamed, columns: Vec::new(), key: 0 };
        for _ in 0..rng.usize(1..5) {
            table.add(rng, None);
        }
        table.key = rng.usize(0..=table.columns.len());
        let kind = pick(rng, KINDS_OF_KEYS);
        let key = Column { kind: Kind::parse(kind).unwrap(), ..table.column(rng) };
        table.columns.insert(table.key, Column { optional: false, ambiguous: false, ..key });
        table
    }

    fn add(&mut self, rng: &mut Rng, reference: Option<(Kind, usize, Option<String>)>) {
        let mut column = self.column(rng);
        if let Some((kind, to, name)) = reference {
            column = Column { kind, references: Some(to), ambiguous: false, ..column };
            // A reference may be called as the key, so that `using` can join it.
            column.name = name.filter(|name| !self.has(name)).unwrap_or(column.name);
        }
        self.columns.push(column);
    }

    fn column(&self, rng: &mut Rng) -> Column {
        let name = loop {
            let name = if rng.u8(0..3) == 0 { pick(rng, ODD_NAMES) } else { pick(rng, PLAIN_NAMES) };
            if !self.has(name) {
                break name.to_owned();
            }
        };
        let kind = Kind::parse(pick(rng, KINDS)).unwrap();
        let ambiguous = match kind {
            Kind::Numeric { precision: None, .. } | Kind::Real | Kind::Double => rng.bool(),
            Kind::Jsonb => true,
            _ => false,
        };
        Column { name, kind, optional: rng.u8(0..5) < 2, references: None, ambiguous }
    }

    fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name)
    }

    pub(crate) fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }

    /// The table as SQL names it.
    pub(crate) fn sql(&self) -> String {
        match self.renamed.unwrap_or(self.dataset).split_once('.') {
            Some((schema, name)) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(self.name()),
        }
    }

    /// Its name without the schema.
    pub(crate) fn name(&self) -> &str {
        let name = self.renamed.unwrap_or(self.dataset);
        name.split_once('.').map_or(name, |(_, name)| name)
    }

    /// Its columns, quoted.
    pub(crate) fn column_list(&self) -> String {
        let names: Vec<String> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        names.join(", ")
    }
}

impl Column {
    /// A value as text that fits the column, never one of its extremes.
    fn common(&self, rng: &mut Rng) -> &'static str {
        let values = match self.kind {
            Kind::SmallInt | Kind::Integer | Kind::BigInt => "0|1|2|3|7|12|-5",
            Kind::Numeric { precision: None, .. } if self.ambiguous => {
                "1|1.0|1.00|0|0.000|-2.5|-2.50|1e2|100.0"
            }
            Kind::Numeric { precision: None, .. } => "1|2.5|-0.001|0|3.14159",
            Kind::Numeric { scale: Some(_), .. } => "1.00|2.50|-7.25|0|19.99",
            Kind::Numeric { .. } => "1|25|-3|0",
            Kind::Real | Kind::Double => "0|1.5|-2.25|0.1|3",
            Kind::Boolean => "true|false",
            Kind::Text | Kind::Varchar(_) => "a|A|b|ab|Ab|Sales|sales",
            Kind::Date => "2024-01-31|2024-02-29|2023-12-31|2024-02-01",
            Kind::Time => "00:00|12:30:01.5|23:59:59.999999",
            Kind::Timestamp => "2024-01-01 00:00|2023-12-31 23:59:59.999999|2024-02-29 12:00",
            Kind::Timestamptz => {
                "2024-01-01 00:30+01|2023-12-31 23:30-01|2024-02-29 12:00Z|2024-04-01 00:00Z"
            }
            Kind::Uuid => "00000000-0000-4000-8000-000000000000|ffffffff-0000-4000-8000-000000000000",
            Kind::Jsonb => r#"{"a": 1}|{"a": 1.0}|{"a": "x"}|[1, 2]|null|{"a": null}"#,
        };
        pick(rng, values)
    }

    /// A value as text that fits the column; now and then what code may not expect.
    fn value(&self, rng: &mut Rng) -> &'static str {
        let extremes = match self.kind {
            _ if rng.u8(0..10) > 0 => return self.common(rng),
            Kind::SmallInt => "-32768|32767",
            Kind::Integer => "-2147483648|2147483647",
            Kind::BigInt => "-9223372036854775808|9223372036854775807",
            Kind::Numeric { precision: None, .. } => {
                "NaN|Infinity|-Infinity|12345678901234567890.123456789|1e-20"
            }
            Kind::Numeric { .. } => "NaN|99999|-99999",
            Kind::Real | Kind::Double if self.ambiguous => "-0|-0|NaN|Infinity|-Infinity|1e-30",
            Kind::Real | Kind::Double => "NaN|Infinity|-Infinity|1e30",
            Kind::Text | Kind::Varchar(_) => "| a|ä|O'Brien \\|%|null|(,\")",
            Kind::Date => "0044-03-15 BC|infinity|-infinity|9999-12-31",
            Kind::Time => "24:00",
            Kind::Timestamp => "0044-03-15 12:00 BC|infinity|-infinity|9999-12-31",
            Kind::Timestamptz => "0044-03-15 12:00Z BC|infinity|-infinity|9999-12-31 00:00Z",
            Kind::Boolean | Kind::Uuid | Kind::Jsonb => return self.common(rng),
        };
        pick(rng, extremes)
    }

    /// A value that references nothing, or null where the column allows it.
    pub(crate) fn value_or_null(&self, rng: &mut Rng) -> Option<String> {
        let is_null = self.optional && rng.u8(0..4) == 0;
        (!is_null).then(|| self.value(rng).to_owned())
    }

    /// The key of the n-th row.
    pub(crate) fn key_value(&self, n: usize) -> String {
        let day = format!("{}-{:02}-{:02}", 2000 + n / 336, n / 28 % 12 + 1, n % 28 + 1);
        match self.kind {
            Kind::Text | Kind::Varchar(_) => format!("{}{n}", ["k", "K", "ä", ""][n % 4]),
            Kind::Uuid => format!("00000000-0000-4000-8000-{n:012}"),
            Kind::Date => day,
            Kind::Timestamptz => format!("{day} 12:00Z"),
            Kind::Numeric { .. } => format!("{n}.25"),
            _ => n.to_string(),
        }
    }

    /// A value as SQL, of the column's type wherever it stands.
    pub(crate) fn literal(&self, value: Option<&str>) -> String {
        let value = value.map_or("null".to_owned(), |value| format!("'{}'", value.replace('\'', "''")));
        format!("{value}::{}", self.kind.sql())
    }
}

/// One of some texts, between which `|` stands.
pub(crate) fn pick(rng: &mut Rng, texts: &'static str) -> &'static str {
    rng.choice(texts.split('|').collect::<Vec<_>>()).unwrap_or_default()
}

/// A text in the quotes of YAML.
fn yaml(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
