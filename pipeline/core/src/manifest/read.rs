//! Nodes to drafts: everything about a manifest that can be read without looking at other datasets.

mod backup;
mod column;
mod generated;
mod http;
mod scalar;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use globset::{Glob, GlobMatcher};
use marked_yaml::Node;

use super::limits::{DATASET_CHARS_MAX, GLOB_BYTES_MAX, IDENTIFIER_BYTES_MAX, PIPELINE_CHARS_MAX};
use super::yaml::{Entry, Fields, Place, Reader, Text};
use super::{Backup, Csv, Faults, Fluvio, Generated, Http, Kind, Manifest, Rules, keys, link};

const SETTLE_DEFAULT: Duration = Duration::from_secs(1);
const SETTLE_MAX: Duration = Duration::from_secs(3600);
const LEASE_DEFAULT: Duration = Duration::from_secs(10);
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(3600);
const LAG_BYTES_DEFAULT: u64 = 256 * 1024 * 1024;
const RECORD_BYTES_DEFAULT: u64 = 1024 * 1024;

/// A manifest whose references are still names.
pub(super) struct Draft {
    pub(super) pipeline: String,
    pub(super) landing: PathBuf,
    pub(super) views: PathBuf,
    pub(super) schema: Option<String>,
    pub(super) settle: Duration,
    pub(super) lease: Duration,
    pub(super) max_lag_bytes: u64,
    pub(super) max_record_bytes: usize,
    pub(super) fluvio: Option<Fluvio>,
    pub(super) http: Option<Http>,
    pub(super) backup: Option<Backup>,
    pub(super) datasets: Vec<DatasetDraft>,
}

/// A dataset whose key and references are still names. What is faulty is `None` or its default.
pub(super) struct DatasetDraft {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) table: TableDraft,
    pub(super) table_place: Place,
    pub(super) files: String,
    pub(super) files_place: Place,
    pub(super) matcher: Option<GlobMatcher>,
    pub(super) csv: Csv,
    pub(super) key: Option<Text>,
    pub(super) columns: Vec<ColumnDraft>,
}

/// A table whose schema, if none is written, the manifest says.
pub(super) struct TableDraft {
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

/// A column whose reference is still a name.
pub(super) struct ColumnDraft {
    pub(super) name: String,
    pub(super) kind: Option<Kind>,
    pub(super) optional: bool,
    pub(super) references: Option<Text>,
    pub(super) generated: Option<(Generated, Place)>,
    pub(super) rules: Rules,
}

/// Reads a manifest: its text to nodes, these to drafts, and these to datasets.
pub(super) fn manifest(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Manifest, Faults> {
    let mut reader = Reader::new(env);
    let root = reader.load(text);
    let draft = root.and_then(|root| reader.draft(&root));
    let manifest = draft.and_then(|draft| link::manifest(&mut reader, draft));
    match Faults::from_unsorted(reader.faults) {
        Some(faults) => Err(faults),
        None => Ok(manifest.expect("every step that gives no value has noted a fault")),
    }
}

impl Reader<'_> {
    fn draft(&mut self, root: &Node) -> Option<Draft> {
        let fields = self.fields(root, "the manifest's keys", &keys::MANIFEST)?;
        let pipeline = self.pipeline(&fields);
        let landing = self.folder(&fields, "landing", "landing");
        let views = self.folder(&fields, "views", "sql/views");
        let schema = fields.get("schema").and_then(|node| self.schema(node));
        let settle =
            fields.get("settle").and_then(|node| self.duration(node, "settle", Duration::ZERO..=SETTLE_MAX));
        let lease = fields.get("lease").and_then(|node| self.duration(node, "lease", LEASE_MIN..=LEASE_MAX));
        let lag = fields.get("max_lag_bytes").and_then(|node| {
            self.bytes(node, "max_lag_bytes", 1, i64::MAX as u64, "a size of at least 1 byte")
        });
        let record = fields.get("max_record_bytes").and_then(|node| {
            let range = "a size from 1KiB to 16MiB";
            self.bytes(node, "max_record_bytes", 1024, 16 * 1024 * 1024, range)
        });
        let fluvio = self.topics(&fields).flatten();
        if fluvio.is_some() {
            self.record_fits_fluvio(&fields, record);
        }
        let http = fields.entry("http").and_then(|entry| self.http(entry));
        let backup = fields.entry("backup").and_then(|entry| self.backup(entry));
        let datasets = self.datasets(&fields);
        Some(Draft {
            pipeline: pipeline.unwrap_or_default(),
            landing: landing.unwrap_or_default(),
            views: views.unwrap_or_default(),
            schema,
            settle: settle.unwrap_or(SETTLE_DEFAULT),
            lease: lease.unwrap_or(LEASE_DEFAULT),
            max_lag_bytes: lag.unwrap_or(LAG_BYTES_DEFAULT),
            max_record_bytes: record.unwrap_or(RECORD_BYTES_DEFAULT) as usize,
            fluvio,
            http,
            backup,
            datasets: datasets.unwrap_or_default(),
        })
    }

    fn pipeline(&mut self, fields: &Fields<'_>) -> Option<String> {
        let node = self.required(fields, "pipeline", Place::START, "name it: \"pipeline: company\"")?;
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

    fn folder(&mut self, fields: &Fields<'_>, key: &str, default: &str) -> Option<PathBuf> {
        let Some(node) = fields.get(key) else { return Some(default.into()) };
        let Text { value, place } = self.text(node, "a path")?;
        if value.is_empty() || value.contains('\0') {
            self.fault(place, format!("{key} must be a path"), "write one relative to the manifest");
        }
        Some(value.into())
    }

    fn datasets(&mut self, fields: &Fields<'_>) -> Option<Vec<DatasetDraft>> {
        let hint = "give at least one: \"datasets: {jobs: {key: id, columns: {id: integer}}}\"";
        let node = self.required(fields, "datasets", Place::START, hint)?;
        let entries = self.entries(node, "datasets")?;
        if entries.is_empty() {
            self.fault(Place::of(node.span()), "there is no dataset", hint);
        }
        Some(entries.iter().map(|entry| self.dataset(entry)).collect())
    }

    fn dataset(&mut self, entry: &Entry<'_>) -> DatasetDraft {
        let Entry { name, place, node } = *entry;
        self.dataset_name(name, place);
        let mut draft = DatasetDraft {
            name: name.to_owned(),
            place,
            table: TableDraft { schema: None, name: name.to_owned() },
            table_place: place,
            files: format!("{name}*.csv"),
            files_place: place,
            matcher: None,
            csv: Csv::default(),
            key: None,
            columns: Vec::new(),
        };
        let Some(fields) = self.fields(node, "the dataset's keys", &keys::DATASET) else { return draft };
        if let Some(table) = fields.get("table").and_then(|node| self.table(node)) {
            draft.table = table;
            draft.table_place = fields.place("table").unwrap_or(place);
        }
        if let Some(files) = fields.get("files").and_then(|node| self.text(node, "a glob")) {
            (draft.files, draft.files_place) = (files.value, files.place);
        }
        draft.matcher = self.matcher(&draft.files, draft.files_place);
        draft.csv = fields.get("csv").and_then(|node| self.csv(node)).unwrap_or_default();
        let hint = "name the column that identifies a row: \"key: id\"";
        let key = self.required(&fields, "key", place, hint);
        draft.key = key.and_then(|node| self.text(node, "the name of one column"));
        draft.columns = self.columns(&fields, place).unwrap_or_default();
        draft
    }

    fn dataset_name(&mut self, name: &str, place: Place) {
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

    /// The schema of Tidegate's own tables is not for others.
    fn schema_is_free(&mut self, schema: &str, place: Place) {
        if schema == "tidegate" {
            self.fault(place, "the schema \"tidegate\" is taken", "put the table into another schema");
        }
    }

    fn matcher(&mut self, files: &str, place: Place) -> Option<GlobMatcher> {
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

    fn csv(&mut self, node: &Node) -> Option<Csv> {
        let fields = self.fields(node, "csv settings", &keys::CSV)?;
        let mut csv = Csv::default();
        if let Some(byte) = fields.get("delimiter").and_then(|node| self.character(node, "delimiter")) {
            csv.delimiter = byte;
        }
        if let Some(byte) = fields.get("quote").and_then(|node| self.character(node, "quote")) {
            csv.quote = byte;
        }
        if let Some(header) = fields.get("header").and_then(|node| self.boolean(node, "header")) {
            csv.header = header;
        }
        let null = fields.get("null").and_then(|node| self.text(node, "the text that means missing"));
        csv.null = null.map(|text| text.value).filter(|text| !text.is_empty());
        if let Some(absent) = fields.get("columns_absent").and_then(|node| self.columns_absent(node)) {
            csv.columns_absent = absent;
        }
        if csv.delimiter == csv.quote {
            let place = fields.place("quote").or(fields.place("delimiter"));
            let place = place.unwrap_or(Place::of(node.span()));
            self.fault(place, "delimiter and quote are the same", "choose another for one of them");
        }
        Some(csv)
    }

    /// The node behind a key that must be there; otherwise a fault at `place`.
    fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, place: Place, hint: &str) -> Option<&'n Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.fault(place, format!("\"{key}\" is missing"), hint);
        }
        node
    }
}

/// Whether a text is a name in SQL that needs no escapes inside quotes, and no dot.
fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.len() <= IDENTIFIER_BYTES_MAX && !text.contains(['.', '"', '\0'])
}
