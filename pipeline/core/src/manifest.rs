//! The definition of a pipeline: its datasets, their columns, rules and references, as written in `tidegate.yaml`.
//!
//! [`Manifest::parse`] reads the text and finds **all** faults at once, each with its line and column, what is wrong
//! and what to do. It reads no file and no environment: both come in as arguments. Paths stay as written, relative to
//! the manifest.
//!
//! # Layout
//!
//! * [`Kind`]: the type of a column.
//! * [`Rules`]: the constraints on a value, besides its type.
//! * [`Origin`]: where the values of a column come from.
//! * [`Reading`]: how the texts of a column are read: what means missing, and in which notation values are.
//! * [`FluvioOptions`]: the cluster that holds the topics, if one does.
//! * [`Http`]: where HTTP is served, if it is.
//! * [`BackupSchedule`]: how often backups are made, if they are.
//! * [`Reference`]: which rows a row references.
//! * [`Generated`]: how a key is generated for a row that has none.
//! * [`Fault`]: what is wrong with a manifest, and where.
//! * [`keys`]: every key of the grammar, for the parser and the published JSON Schema.
//! * [`starter`]: a first manifest, inferred from samples of files.
//! * `yaml` → `read` → `link`: text to nodes with places, nodes to drafts, drafts to datasets whose
//!   references are resolved.

mod rules;
mod reference;
mod origin;
mod reading;
mod generated;
mod fluvio;
mod http;
mod backup;

mod fault;
pub mod keys;
pub mod starter;

mod yaml;
mod read;
mod link;

mod limits;

use std::path::PathBuf;
use std::time::Duration;

use globset::GlobMatcher;

use crate::syntax::Syntax;

pub use crate::decimal::{compare_decimals, is_decimal};
pub use crate::instant::Instant;
pub use crate::kind::Kind;
pub use crate::suggestion::nearest;
pub use backup::{BackupSchedule, Codec};
pub use fault::{Fault, Faults};
pub use fluvio::{Compression, Engine, FluvioOptions, PARTITIONS_MAX, Tls};
pub use generated::Generated;
pub use http::{Http, HttpTls};
pub use origin::{ColumnsUnknown, FileFact, HeaderMatch, Origin};
pub use reading::{DefaultValue, Format, Reading, Strptime, Unit, Zone};
pub use reference::Reference;
pub use rules::{Bound, Rules};

/// One pipeline: where its files land, how far the sink may lag, and its datasets.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The pipeline's name, the prefix of its topics: `a-z`, `0-9` and `-`, at most 32 characters.
    pub pipeline: String,
    /// The folder that is watched for files, as written: relative to the manifest.
    pub landing: PathBuf,
    /// The folder of the metric views, as written: relative to the manifest.
    pub views: PathBuf,
    /// The schema of the metric views, and of the tables of datasets that name none.
    pub schema: String,
    /// Whether the manifest names the schema, instead of leaving it to the default.
    pub is_schema_said: bool,
    /// How long a file's size must stay the same before the file is read.
    pub stable_for: Duration,
    /// What the manifest says by a deprecated key, with the key to write in its place.
    pub deprecated: Vec<String>,
    /// How long a process that does not renew its leases keeps other processes from the pipeline.
    pub lease: Duration,
    /// The source pauses while the sink lags by more bytes than this.
    pub max_lag_bytes: u64,
    /// A record longer than this is a dead letter.
    pub max_record_bytes: usize,
    /// The cluster that holds the topics. `None` if they are embedded.
    pub fluvio: Option<FluvioOptions>,
    /// Where HTTP is served. `None` if it is not.
    pub http: Option<Http>,
    /// How often backups are made. `None` if they are made on demand only.
    pub backup: Option<BackupSchedule>,
    /// The datasets by reference depth, then as written: a dataset comes after all that it references.
    pub datasets: Vec<Dataset>,
}

/// A kind of row: its columns, key and references. It has one table, which several datasets may share.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// `a-z`, `0-9` and `_`, at most 48 characters.
    pub name: String,
    /// The table of its rows.
    pub table: Table,
    /// The glob of its files, matched against the file name only.
    pub files: String,
    /// How its files are written.
    pub csv: Csv,
    /// The columns, in the order in which a line without a header has them.
    pub columns: Vec<Column>,
    /// The indices, in `columns`, of the columns that identify a row, in the order of the key. None of them is
    /// optional. Empty for `key: none`: then the position of a line identifies its row.
    pub key: Vec<usize>,
    /// The references of its rows. Each leads to the first dataset of a table.
    pub references: Vec<Reference>,
    /// The index of the first dataset with the same table: its own, unless it shares the table of another. Datasets
    /// that share a table have the same columns, in any order, and the same key and references.
    pub of_table: usize,
    /// The length of the longest chain of references from here. 0 if it references no dataset but itself.
    pub depth: usize,
    matcher: GlobMatcher,
}

/// The name of a table. Each part is verbatim, and must be quoted where it becomes SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The schema, which is never the one of Tidegate's own tables.
    pub schema: String,
    /// The table's own name.
    pub name: String,
    /// Whether the manifest names the schema, for this table or for all. If it does not, an earlier version left the
    /// schema to the connection's search path.
    pub is_placed: bool,
}

/// How the lines of a dataset are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csv {
    /// How the bytes of a file become records and fields.
    pub syntax: Syntax,
    /// Texts that mean a missing value, besides the empty field.
    pub null: Vec<String>,
    /// When a name of a header is the one of a column.
    pub header_match: HeaderMatch,
    /// What happens to a file with fields that belong to no column.
    pub columns_unknown: ColumnsUnknown,
    /// What happens to a file whose header lacks an optional column.
    pub columns_absent: ColumnsAbsent,
}

/// What happens to a file whose header lacks an optional column of its dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnsAbsent {
    /// The file is left where it is: existing rows that have a value in the column would lose it.
    #[default]
    Refuse,
    /// The column becomes null in existing rows. Rows that are inserted get the table's default.
    Null,
}

/// One column of a dataset.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name, verbatim, at most 63 bytes.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Where its values come from.
    pub origin: Origin,
    /// Whether a value may be missing. A value that is missing and has a default need not be optional.
    pub optional: bool,
    /// How a value is generated for a row that has none. Only a key of one column may have this.
    pub generated: Option<Generated>,
    /// The constraints on a value, besides its type.
    pub rules: Rules,
    /// How its texts are read.
    pub reading: Reading,
}

/// Gives the canonical form of a value of a column, or says what the column has against it.
pub(crate) type CanonicalValue = fn(&Column, &str) -> Result<String, String>;

impl Manifest {
    /// Reads a manifest as [`Manifest::parse`] does. `canonical` gives the canonical form of a default, or says what its
    /// column has against it.
    pub(crate) fn read(
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        canonical: CanonicalValue,
    ) -> Result<Self, Faults> {
        read::manifest(text, env, canonical)
    }

    /// The schema of the tables of datasets that name none, if the manifest does not name one.
    pub const SCHEMA: &str = "public";

    /// The dataset of this name, with its index.
    pub fn dataset(&self, name: &str) -> Option<(usize, &Dataset)> {
        self.datasets.iter().enumerate().find(|(_, dataset)| dataset.name == name)
    }

    /// The first dataset of each table, with its index.
    pub fn tables(&self) -> impl Iterator<Item = (usize, &Dataset)> {
        self.datasets.iter().enumerate().filter(|(index, dataset)| dataset.of_table == *index)
    }

    /// The datasets that share a table, given the first of them.
    pub fn datasets_of_table(&self, first: usize) -> impl Iterator<Item = &Dataset> {
        self.datasets.iter().filter(move |dataset| dataset.of_table == first)
    }

    /// Whether rows of any dataset reference rows of the table of the dataset of that index.
    pub fn is_referenced(&self, parent: usize) -> bool {
        let first = self.datasets[parent].of_table;
        let mut references = self.datasets.iter().flat_map(|dataset| &dataset.references);
        references.any(|reference| reference.dataset == first)
    }

    /// The columns of a dataset that are these of the first dataset of its table.
    pub fn columns_in(&self, dataset: usize, of_first: &[usize]) -> Vec<usize> {
        let dataset = &self.datasets[dataset];
        let first = &self.datasets[dataset.of_table];
        let place = |column: &usize| {
            let name = &first.columns[*column].name;
            dataset.columns.iter().position(|column| column.name == *name)
        };
        of_first.iter().filter_map(place).collect()
    }

    /// The columns of a dataset, other than its key, that references lead to: by index, each once.
    pub fn referenced_columns(&self, parent: usize) -> Vec<usize> {
        let dataset = &self.datasets[parent];
        let first = &self.datasets[dataset.of_table];
        let references = self.datasets.iter().flat_map(|dataset| &dataset.references);
        let its = references.filter(|reference| reference.dataset == dataset.of_table);
        let to = its.map(|reference| &reference.to).filter(|to| **to != first.key).flatten();
        let to: Vec<usize> = to.copied().collect();
        let mut columns = self.columns_in(parent, &to);
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// The dataset that a file of this name belongs to, with its index.
    ///
    /// If several globs match (`jobs*.csv` and `jobs_archive*.csv`), the longest wins, and among equally long ones
    /// the dataset that is first by name. The answer never depends on the order of the manifest.
    pub fn dataset_of_file(&self, file_name: &str) -> Option<(usize, &Dataset)> {
        let matching = self.datasets.iter().enumerate().filter(|(_, dataset)| dataset.matches(file_name));
        matching.max_by(|(_, a), (_, b)| a.files.len().cmp(&b.files.len()).then_with(|| b.name.cmp(&a.name)))
    }

    /// The topic of the lines of a dataset as they arrived: `company-raw-hired-employees`.
    pub fn raw_topic(&self, dataset: &Dataset) -> String {
        self.topic_of("raw", dataset)
    }

    /// The topic of the valid lines of a dataset: `company-accepted-hired-employees`.
    pub fn accepted_topic(&self, dataset: &Dataset) -> String {
        self.topic_of("accepted", dataset)
    }

    /// The topic of the dead letters of the source and the transform: `company-dead-letters`.
    pub fn dead_letters_topic(&self) -> String {
        format!("{}-dead-letters", self.pipeline)
    }

    /// The names of all topics of the pipeline: the raw topics by dataset, the accepted topics by dataset, then the
    /// dead letters.
    pub fn topics(&self) -> Vec<String> {
        let raw = self.datasets.iter().map(|dataset| self.raw_topic(dataset));
        let accepted = self.datasets.iter().map(|dataset| self.accepted_topic(dataset));
        raw.chain(accepted).chain([self.dead_letters_topic()]).collect()
    }

    /// How many partitions each topic has. One if topics are embedded.
    pub fn partitions(&self) -> u32 {
        self.fluvio.as_ref().map_or(1, |fluvio| fluvio.partitions)
    }

    /// What runs the transform.
    pub fn engine(&self) -> Engine {
        self.fluvio.as_ref().map_or(Engine::Tidegate, |fluvio| fluvio.transform)
    }

    fn topic_of(&self, stage: &str, dataset: &Dataset) -> String {
        format!("{}-{stage}-{}", self.pipeline, topic_part(&dataset.name))
    }
}

impl Dataset {
    /// Whether a file of this name, without its folder, belongs to this dataset.
    pub fn matches(&self, file_name: &str) -> bool {
        self.matcher.is_match(file_name)
    }

    /// The columns that identify a row, in the order of the key.
    pub fn key_columns(&self) -> impl ExactSizeIterator<Item = &Column> + Clone {
        self.key.iter().map(|index| &self.columns[*index])
    }

    /// The types of the columns that identify a row, in the order of the key.
    pub fn key_kinds(&self) -> Vec<Kind> {
        self.key_columns().map(|column| column.kind).collect()
    }

    /// The column that identifies a row alone; `None` if the key has several columns, or there is none.
    pub fn single_key(&self) -> Option<&Column> {
        match self.key[..] {
            [index] => Some(&self.columns[index]),
            _ => None,
        }
    }

    /// Whether a column, by its index, is part of the key.
    pub fn is_key(&self, column: usize) -> bool {
        self.key.contains(&column)
    }

    /// Whether there is no key, so that every line inserts a row.
    pub fn is_keyless(&self) -> bool {
        self.key.is_empty()
    }

    /// How keys are generated, with the index of the column, if they are.
    pub fn generated(&self) -> Option<(usize, Generated)> {
        let [index] = self.key[..] else { return None };
        Some((index, self.columns[index].generated?))
    }

    /// The names of columns, by their indices: `origin, time_hour`.
    pub fn names(&self, columns: &[usize]) -> String {
        let names: Vec<&str> = columns.iter().map(|index| self.columns[*index].name.as_str()).collect();
        names.join(", ")
    }

    /// Whether its rows reference rows of their own table.
    pub fn references_own_table(&self) -> bool {
        self.references.iter().any(|reference| reference.dataset == self.of_table)
    }
}

/// A dataset's name as topics spell it. No dataset's name holds a `-`, so two names never become the same.
fn topic_part(dataset: &str) -> String {
    dataset.replace('_', "-")
}
