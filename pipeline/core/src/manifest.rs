//! What a pipeline is: its datasets, their columns, rules and references, as `tidegate.yaml` says.
//!
//! [`Manifest::parse`] reads the text and finds **all** faults at once, each with its line and column,
//! what is wrong and what to do. It reads no file and no environment: both come in as arguments, and
//! paths stay as written, relative to the manifest.
//!
//! # Layout
//!
//! * [`Kind`]: the type of a column.
//! * [`Rules`]: what a value must keep to, besides its type.
//! * [`Fluvio`]: the cluster that holds the topics, if one does.
//! * [`Http`]: where HTTP is served, if it is.
//! * [`Backup`]: how often backups are made, if they are.
//! * [`Generated`]: how a key comes to a row that brings none.
//! * [`Fault`]: what is wrong with a manifest, and where.
//! * [`keys`]: every key of the grammar, for the parser and the published JSON Schema.
//! * [`starter`]: a first manifest, inferred from samples of files.
//! * `yaml` → `read` → `link`: text to nodes with places, nodes to drafts, drafts to datasets whose
//!   references are resolved.

mod kind;
mod rules;
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

pub use crate::decimal::{compare_decimals, is_decimal};
pub use crate::instant::Instant;
pub use backup::{Backup, Codec};
pub use fault::{Fault, Faults, nearest};
pub use fluvio::{Compression, Engine, Fluvio, PARTITIONS_MAX, Tls};
pub use generated::Generated;
pub use http::{Http, HttpTls};
pub use kind::Kind;
pub use rules::{Bound, Rules};

/// One pipeline: where its files land, how far it may lag, and its datasets.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The pipeline's name, the prefix of its topics: `a-z`, `0-9` and `-`, at most 32 characters.
    pub pipeline: String,
    /// The folder that is watched for files, as written: relative to the manifest.
    pub landing: PathBuf,
    /// The folder of the metric views, as written: relative to the manifest.
    pub views: PathBuf,
    /// The schema of the tables of datasets that name none, and of the metric views.
    pub schema: String,
    /// Whether the manifest says so, and does not leave it to the default.
    pub is_schema_said: bool,
    /// How long the size of a file must stand still before it is read.
    pub settle: Duration,
    /// How long a process that is not heard of keeps the pipeline from others.
    pub lease: Duration,
    /// A source pauses while the sink is further behind than this.
    pub max_lag_bytes: u64,
    /// What is longer than this is no record but a dead letter.
    pub max_record_bytes: usize,
    /// The cluster that holds the topics; `None` where they are embedded.
    pub fluvio: Option<Fluvio>,
    /// Where HTTP is served; `None` where it is not.
    pub http: Option<Http>,
    /// How often backups are made; `None` where they are made on demand alone.
    pub backup: Option<Backup>,
    /// In the order of reference depth, then as written: a dataset stands behind all it references.
    pub datasets: Vec<Dataset>,
}

/// A kind of row: its columns, key and references. It has one table.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// `a-z`, `0-9` and `_`, at most 48 characters.
    pub name: String,
    /// Where its rows are.
    pub table: Table,
    /// The glob that names its files, on the file name only.
    pub files: String,
    /// How its files are written.
    pub csv: Csv,
    /// In the order in which a line without a header gives them.
    pub columns: Vec<Column>,
    /// The index, in `columns`, of the column that identifies a row. It is never optional.
    pub key: usize,
    /// The length of the longest chain of references from here; 0 where it references nothing but itself.
    pub depth: usize,
    matcher: GlobMatcher,
}

/// The name of a table; each part verbatim, to be quoted where it becomes SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The schema: never the one of Tidegate's own tables.
    pub schema: String,
    /// The table's own name.
    pub name: String,
    /// Whether the manifest says the schema, for this table or for all. Where it does not, an earlier version left
    /// it to the connection's search path.
    pub is_placed: bool,
}

/// How the lines of a dataset are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// One ASCII character between fields.
    pub delimiter: u8,
    /// One ASCII character around fields, doubled inside.
    pub quote: u8,
    /// Whether each source begins with a record of column names.
    pub header: bool,
    /// A text that means missing, besides the empty field.
    pub null: Option<String>,
    /// What becomes of a file whose header lacks an optional column.
    pub columns_absent: ColumnsAbsent,
}

/// What becomes of a file whose header lacks an optional column of its dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColumnsAbsent {
    /// It is left where it is: the column would become null in rows that have a value there.
    #[default]
    Refuse,
    /// The column becomes null in rows that are there; rows that are inserted get the table's default.
    Null,
}

/// One column of a dataset.
#[derive(Clone, Debug)]
pub struct Column {
    /// The column's name, verbatim, at most 63 bytes.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// Whether a value may be missing.
    pub optional: bool,
    /// The index, in [`Manifest::datasets`], of the dataset whose key a value must be.
    pub references: Option<usize>,
    /// How a value comes to a row that brings none. On the key alone.
    pub generated: Option<Generated>,
    /// What a value must keep to, besides its type.
    pub rules: Rules,
}

impl Default for Csv {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
            header: false,
            null: None,
            columns_absent: ColumnsAbsent::Refuse,
        }
    }
}

impl Manifest {
    /// Reads a manifest, with the environment `env` for its `${VAR}`s.
    ///
    /// # Errors
    ///
    /// All faults of the text, sorted by place.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        read::manifest(text, env)
    }

    /// The schema of the tables of datasets that name none, where the manifest does not say one.
    pub const SCHEMA: &str = "public";

    /// The dataset of that name, with its index.
    pub fn dataset(&self, name: &str) -> Option<(usize, &Dataset)> {
        self.datasets.iter().enumerate().find(|(_, dataset)| dataset.name == name)
    }

    /// The dataset that a file of that name belongs to, with its index.
    ///
    /// Where several globs match (`jobs*.csv` and `jobs_archive*.csv`), the longest is meant, and among
    /// equally long ones the first by name, so that the answer never depends on the order of the manifest.
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

    /// The topic of what sources and transform reject: `company-dead-letters`.
    pub fn dead_letters_topic(&self) -> String {
        format!("{}-dead-letters", self.pipeline)
    }

    /// The names of all topics of the pipeline: raw, accepted, of each dataset in order, dead letters.
    pub fn topics(&self) -> Vec<String> {
        let raw = self.datasets.iter().map(|dataset| self.raw_topic(dataset));
        let accepted = self.datasets.iter().map(|dataset| self.accepted_topic(dataset));
        raw.chain(accepted).chain([self.dead_letters_topic()]).collect()
    }

    /// How many partitions each topic has: one, where topics are embedded.
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
    /// Whether a file of that name, without its folder, belongs to this dataset.
    pub fn matches(&self, file_name: &str) -> bool {
        self.matcher.is_match(file_name)
    }

    /// The column that identifies a row.
    pub fn key_column(&self) -> &Column {
        &self.columns[self.key]
    }
}

/// A dataset's name as topics spell it. No dataset's name holds a `-`, so no two become the same.
fn topic_part(dataset: &str) -> String {
    dataset.replace('_', "-")
}
