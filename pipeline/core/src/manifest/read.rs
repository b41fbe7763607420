//! Nodes to drafts: everything about a manifest that can be read without other datasets.

mod backup;
mod column;
mod csv;
mod encoding;
mod generated;
mod http;
mod key;
mod names;
mod reading;
mod scalar;
mod topics;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use marked_yaml::Node;

use super::limits::{DATASET_CHARS_MAX, GLOB_BYTES_MAX, IDENTIFIER_BYTES_MAX, PIPELINE_CHARS_MAX};
use super::yaml::{KeyValue, KeyValues, Location, NodeReader, Text};
use super::{CanonicalValue, Csv, Faults, Generated, Kind, Manifest, Origin, Reading, Rules, keys, link};
use crate::syntax::Width;

const STABLE_FOR_DEFAULT: Duration = Duration::from_secs(1);
const STABLE_FOR_MAX: Duration = Duration::from_secs(3600);
const LEASE_DEFAULT: Duration = Duration::from_secs(10);
const LEASE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
const LAG_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
const RECORD_BYTES: RangeInclusive<u64> = 1024..=16 * 1024 * 1024;
const RECORD_BYTES_DEFAULT: u64 = 1024 * 1024;

/// A manifest whose references are still names.
pub(super) struct ManifestDraft {
    /// The manifest, without its datasets.
    pub(super) manifest: Manifest,
    pub(super) datasets: Vec<DatasetDraft>,
}

/// A dataset whose key and references are still names. A part that is faulty is `None` or its default.
pub(super) struct DatasetDraft {
    pub(super) name: String,
    pub(super) place: Location,
    pub(super) table: TableDraft,
    pub(super) table_place: Location,
    pub(super) files: Text,
    pub(super) matcher: Option<GlobMatcher>,
    pub(super) csv: Csv,
    /// The names of the key's columns; none for `key: none`.
    pub(super) key: Option<Vec<Text>>,
    pub(super) columns: Vec<ColumnDraft>,
    /// The references that are written in the dataset, and not in a column.
    pub(super) references: Vec<ReferenceDraft>,
}

/// A reference whose columns and whose target are still names.
#[derive(Clone)]
pub(super) struct ReferenceDraft {
    pub(super) columns: Vec<Text>,
    /// The dataset, or a column of it: `jobs` or `jobs.code`.
    pub(super) to: Text,
}

impl DatasetDraft {
    /// All references: those of the columns, then those of the dataset.
    pub(super) fn all_references(&self) -> impl Iterator<Item = ReferenceDraft> {
        let of_columns = self.columns.iter().filter_map(|column| {
            let to = column.references.clone()?;
            let columns = vec![Text { value: column.name.clone(), place: to.place }];
            Some(ReferenceDraft { columns, to })
        });
        of_columns.chain(self.references.iter().cloned())
    }
}

/// A table. If it has no schema, the manifest's applies.
pub(super) struct TableDraft {
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

/// A column whose reference is still a name.
pub(super) struct ColumnDraft {
    pub(super) name: String,
    pub(super) place: Location,
    pub(super) kind: Option<Kind>,
    pub(super) origin: Option<(Origin, Location)>,
    pub(super) optional: bool,
    pub(super) references: Option<Text>,
    /// The place of its field in a line of fixed width.
    pub(super) width: Option<(Width, Location)>,
    pub(super) generated: Option<(Generated, Location)>,
    pub(super) rules: Rules,
    pub(super) reading: Reading,
    /// The place of the default, if there is one.
    pub(super) default_place: Option<Location>,
}

/// Reads a manifest: text to nodes, nodes to drafts, drafts to datasets.
pub(super) fn manifest(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    canonical: CanonicalValue,
) -> Result<Manifest, Faults> {
    let mut reader = NodeReader::new(env, canonical);
    let root = reader.load(text);
    let draft = root.and_then(|root| reader.draft(&root));
    let manifest = draft.and_then(|draft| link::manifest(&mut reader, draft));
    match Faults::from_unsorted(reader.faults) {
        Some(faults) => Err(faults),
        None => Ok(manifest.expect("every step that gives no value has noted a fault")),
    }
}

impl NodeReader<'_> {
    fn draft(&mut self, root: &Node) -> Option<ManifestDraft> {
        let fields = self.fields(root, "the manifest's keys", &keys::MANIFEST)?;
        let pipeline = self.pipeline(&fields);
        let landing = self.folder(&fields, "landing", "landing");
        let views = self.folder(&fields, "views", "sql/views");
        let schema = fields.get("schema").and_then(|node| self.schema(node));
        let stable_for = self.stable_for(&fields);
        let deprecated =
            fields.get("settle").map(|_| "'settle' is deprecated: write 'stable_for'".to_owned());
        let lease = fields.get("lease").and_then(|node| self.duration(node, "lease", LEASE));
        let lag = fields.get("max_lag_bytes").and_then(|node| {
            self.bytes(node, "max_lag_bytes", 1..=i64::MAX as u64, "a size of at least 1 byte")
        });
        let record = fields
            .get("max_record_bytes")
            .and_then(|node| self.bytes(node, "max_record_bytes", RECORD_BYTES, "a size from 1KiB to 16MiB"));
        let fluvio = self.topics(&fields).flatten();
        if fluvio.is_some() {
            self.record_fits_fluvio(&fields, record);
        }
        let http = fields.entry("http").and_then(|entry| self.http(entry));
        let backup = fields.entry("backup").and_then(|entry| self.backup(entry));
        let datasets = self.datasets(&fields);
        let manifest = Manifest {
            pipeline: pipeline.unwrap_or_default(),
            landing: landing.unwrap_or_default(),
            views: views.unwrap_or_default(),
            is_schema_said: schema.is_some(),
            schema: schema.unwrap_or_else(|| Manifest::SCHEMA.to_owned()),
            stable_for: stable_for.unwrap_or(STABLE_FOR_DEFAULT),
            deprecated: deprecated.into_iter().collect(),
            lease: lease.unwrap_or(LEASE_DEFAULT),
            max_lag_bytes: lag.unwrap_or(LAG_BYTES_DEFAULT),
            max_record_bytes: record.unwrap_or(RECORD_BYTES_DEFAULT) as usize,
            fluvio,
            http,
            backup,
            datasets: Vec::new(),
        };
        Some(ManifestDraft { manifest, datasets: datasets.unwrap_or_default() })
    }

    /// `stable_for`, or its former name.
    fn stable_for(&mut self, fields: &KeyValues<'_>) -> Option<Duration> {
        let (key, node) = match (fields.get("stable_for"), fields.get("settle")) {
            (Some(_), Some(former)) => {
                let place = Location::of(former.span());
                let message = "settle is the former name of stable_for, which is given too";
                self.fault(place, message, "remove one");
                return None;
            }
            (None, Some(former)) => ("settle", former),
            (given, None) => ("stable_for", given?),
        };
        self.duration(node, key, Duration::ZERO..=STABLE_FOR_MAX)
    }

    fn pipeline(&mut self, fields: &KeyValues<'_>) -> Option<String> {
        let node = self.required(fields, "pipeline", Location::START, "name it: \"pipeline: company\"")?;
        let Text { value, place } = self.text(node, "the pipeline's name")?;
        let letters = value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        let begins = value.starts_with(|c: char| c.is_ascii_lowercase());
        if !(begins && letters && value.len() <= PIPELINE_CHARS_MAX) {
            let hint =
                format!("use a-z, 0-9 and \"-\", a letter first, at most {PIPELINE_CHARS_MAX} characters");
            self.fault(place, format!("\"{value}\" cannot name a pipeline"), hint);
        }
        Some(value)
    }

    fn folder(&mut self, fields: &KeyValues<'_>, key: &str, default: &str) -> Option<PathBuf> {
        match fields.get(key) {
            Some(node) => self.path(node, key, "write one relative to the manifest"),
            None => Some(default.into()),
        }
    }

    fn path(&mut self, node: &Node, key: &str, hint: &str) -> Option<PathBuf> {
        let Text { value, place } = self.text(node, "a path")?;
        if value.is_empty() || value.contains('\0') {
            self.fault(place, format!("{key} must be a path"), hint);
        }
        Some(value.into())
    }

    fn datasets(&mut self, fields: &KeyValues<'_>) -> Option<Vec<DatasetDraft>> {
        let hint = "give at least one: \"datasets: {jobs: {key: id, columns: {id: integer}}}\"";
        let node = self.required(fields, "datasets", Location::START, hint)?;
        let entries = self.entries(node, "datasets")?;
        if entries.is_empty() {
            self.fault(Location::of(node.span()), "there is no dataset", hint);
        }
        Some(entries.iter().map(|entry| self.dataset(entry)).collect())
    }

    fn dataset(&mut self, entry: &KeyValue<'_>) -> DatasetDraft {
        let KeyValue { name, place, node } = *entry;
        self.dataset_name(name, place);
        let mut draft = DatasetDraft {
            name: name.to_owned(),
            place,
            table: TableDraft { schema: None, name: name.to_owned() },
            table_place: place,
            files: Text { value: format!("{name}*.csv"), place },
            matcher: None,
            csv: Csv::default(),
            key: None,
            columns: Vec::new(),
            references: Vec::new(),
        };
        let Some(fields) = self.fields(node, "the dataset's keys", &keys::DATASET) else { return draft };
        if let Some(table) = fields.get("table").and_then(|node| self.table(node)) {
            draft.table = table;
            draft.table_place = fields.place("table").unwrap_or(place);
        }
        if let Some(files) = fields.get("files").and_then(|node| self.text(node, "a glob")) {
            draft.files = files;
        }
        draft.matcher = self.matcher(&draft.files);
        let csv = fields.get("csv").and_then(|node| self.csv(node));
        let (csv, reading) = csv.unwrap_or_default();
        draft.csv = csv;
        draft.key = self.key(&fields, place);
        draft.columns = self.columns(&fields, place, &reading).unwrap_or_default();
        draft.references = fields.get("references").map(|node| self.references(node)).unwrap_or_default();
        if draft.key.as_ref().is_some_and(Vec::is_empty) && draft.columns.iter().any(|its| its.name == "none")
        {
            let place = fields.place("key").unwrap_or(place);
            let hint = "write \"none\" in quotes for the column, or rename it";
            self.fault(place, "key: none may mean the column none, or that there is no key", hint);
        }
        self.fixed_width(&mut draft, fields.get("csv"));
        self.origins(&draft);
        draft
    }

    fn dataset_name(&mut self, name: &str, place: Location) {
        let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !(begins && letters && name.len() <= DATASET_CHARS_MAX) {
            let hint =
                format!("use a-z, 0-9 and \"_\", no digit first, at most {DATASET_CHARS_MAX} characters");
            self.fault(place, format!("\"{name}\" cannot name a dataset"), hint);
        }
    }

    /// The schema of all tables that name none.
    fn schema(&mut self, node: &Node) -> Option<String> {
        let Text { value, place } = self.text(node, "the name of a schema")?;
        if !is_identifier(&value) {
            let hint = "write one name, without quotes, at most 63 bytes";
            self.fault(place, format!("\"{value}\" cannot name a schema"), hint);
        }
        self.schema_is_free(&value, place);
        Some(value)
    }

    fn table(&mut self, node: &Node) -> Option<TableDraft> {
        let Text { value, place } = self.text(node, "the name of a table")?;
        let (schema, name) = match value.split_once('.') {
            Some((schema, name)) => (Some(schema), name),
            None => (None, value.as_str()),
        };
        if !is_identifier(name) || !schema.is_none_or(is_identifier) {
            let hint = "write \"table\" or \"schema.table\", without quotes, at most 63 bytes each";
            self.fault(place, format!("\"{value}\" cannot name a table"), hint);
        }
        schema.inspect(|schema| self.schema_is_free(schema, place));
        Some(TableDraft { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    /// Refuses the schema of Tidegate's own tables.
    fn schema_is_free(&mut self, schema: &str, place: Location) {
        if schema == "tidegate" {
            self.fault(place, "the schema \"tidegate\" is taken", "put the table into another schema");
        }
    }

    fn matcher(&mut self, files: &Text) -> Option<GlobMatcher> {
        let (files, place) = (files.value.as_str(), files.place);
        if files.contains('/') || files.is_empty() {
            let hint = "write a glob like \"jobs*.csv\", without folders; \"landing\" names the folder";
            self.fault(place, format!("\"{files}\" matches no file name"), hint);
            return None;
        }
        if files.len() > GLOB_BYTES_MAX {
            let hint = format!("a glob has at most {GLOB_BYTES_MAX} bytes; name the files otherwise");
            self.fault(place, "the glob of the files is too long", hint);
            return None;
        }
        match Glob::new(files) {
            Ok(glob) => Some(glob.compile_matcher()),
            Err(error) => {
                let message = format!("\"{files}\" is no glob: {}", error.kind());
                self.fault(place, message, "escape what is meant literally: \"[[]\" for \"[\"");
                None
            }
        }
    }

    /// The node of a key that is required. If it is missing, there is a fault at `place`.
    fn required<'n>(
        &mut self,
        fields: &KeyValues<'n>,
        key: &str,
        place: Location,
        hint: &str,
    ) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.fault(place, format!("\"{key}\" is missing"), hint);
        }
        node
    }
}

/// Whether a text is an SQL identifier that needs no escapes inside quotes and has no dot.
fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.len() <= IDENTIFIER_BYTES_MAX && !text.contains(['.', '"', '\0'])
}
