//! What would become of a file, by the manifest alone: no database is asked, and nothing is written.
//!
//! The file is read by the code that reads it in a run, so that lines have the same numbers and the same reasons.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};
use tidegate_core::dead_letter::{Code, Reason, VALUE_CHARS};
use tidegate_core::manifest::{Column, Dataset, Generated, Manifest, Origin};
use tidegate_core::printable::printable_line;
use tidegate_core::split::SkippedLines;
use tidegate_core::syntax::Syntax;
use tidegate_core::validate::{Scratch, Validators};

use crate::blocks::Next;
use crate::content::{Content, FileFault};
use crate::file::{BLOCK_BYTES, OpenFile, changed};
use crate::header::{FIRST_LINE_OF_NAMES, names_the_columns};

/// How much of a file is read.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// At most so many bytes of the file; `None` for all of them.
    pub bytes_max: Option<u64>,
    /// How many of the first accepted rows are kept.
    pub rows_max: usize,
}

/// What would become of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The file's name, without its folder.
    pub file: String,
    /// The dataset that it belongs to.
    pub dataset: String,
    /// Why the file as a whole would be left where it is. Nothing else is known of its lines then.
    pub refused: Option<String>,
    /// What may be meant otherwise.
    pub warnings: Vec<String>,
    /// The encoding of its text.
    pub encoding: String,
    /// How it becomes records and fields, where that differs from RFC 4180 without a header: keys of `csv`.
    #[serde(rename = "csv")]
    pub syntax: Map<String, Value>,
    /// The columns of the dataset, in order.
    pub columns: Vec<ColumnFound>,
    /// The names of fields that no column has; `field 3` where a field has no name.
    pub ignored: Vec<String>,
    /// The first accepted rows.
    pub rows: Vec<PreviewRow>,
    /// How many lines are records.
    pub lines: u64,
    /// How many of these would be accepted, and how many rejected.
    pub accepted: u64,
    /// See `accepted`.
    pub rejected: u64,
    /// The reasons against the rejected lines, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// How many physical lines are no records of their own, by the rule that skips them.
    pub skipped: SkippedLines,
    /// How many bytes of the file were read, and how many it has.
    pub bytes_read: u64,
    /// See `bytes_read`.
    pub bytes: u64,
    /// Whether the whole file was read.
    pub whole: bool,
}

/// Where the values of a column come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnFound {
    /// The column.
    pub column: String,
    /// Its type.
    pub kind: String,
    /// Whether it may lack a value.
    pub optional: bool,
    /// Where its values come from, in words: `field 2, 'First Name'`.
    pub from: String,
}

/// An accepted row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreviewRow {
    /// The line's number in its source, from 1.
    pub line: u64,
    /// The values as Postgres has them, by column; `None` if there is none.
    pub values: Vec<Option<String>>,
}

/// How many lines have a reason against them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The column that the reason is about, if it is about one.
    pub column: Option<String>,
    /// The kind of reason.
    pub code: Code,
    /// How many lines have it.
    pub lines: u64,
    /// The first of them.
    pub example: Example,
}

/// A line with a reason against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The line's number in its source, from 1.
    pub line: u64,
    /// The physical line, from 1, at which it starts.
    pub physical_line: u64,
    /// The value.
    pub value: String,
    /// The reason in words.
    pub message: String,
}

/// Reads a file that would enter under `name`, for the dataset with that index. `watch` is told how many bytes were
/// read, after each block. Fails if the file cannot be read, or changes meanwhile.
pub fn preview(
    path: &Path,
    name: &str,
    manifest: &Manifest,
    dataset: usize,
    extent: Extent,
    mut watch: impl FnMut(u64),
) -> io::Result<Preview> {
    // A link is followed here, since nothing is moved.
    let path = path.canonicalize()?;
    let opened = OpenFile::spooled(path.clone(), name.to_owned(), dataset, [0; 32])?;
    let of = &manifest.datasets[dataset];
    let mut preview = Preview::of(&opened, manifest, of);
    if let Some(nature) = opened.no_text(manifest)? {
        preview.refused = Some(nature.to_string());
        return Ok(preview);
    }
    if names_the_columns(&path, dataset, manifest)? {
        preview.warnings.push(FIRST_LINE_OF_NAMES.to_owned());
    }
    let first_key = of.generated().map(|(_, generated)| match generated {
        Generated::Sequence { start, .. } => start,
        Generated::Uuid => 0,
    });
    let mut content = match Content::start(opened.with_keys(manifest, first_key), manifest, BLOCK_BYTES) {
        Ok(content) => content,
        Err(FileFault::Refused(fault)) => {
            preview.refused = Some(fault);
            return Ok(preview);
        }
        Err(other) => return Err(other.into()),
    };
    preview.describe(&content, of);
    let mut lines = LineJudge {
        validators: Validators::new(of),
        columns: of.columns.len(),
        record_bytes_max: manifest.max_record_bytes,
        scratch: Scratch::at(SystemTime::now()),
        ordered: Vec::new(),
    };
    let reasons = preview.read(&mut content, &mut lines, extent, &mut watch)?;
    preview.bytes_read = content.blocks.bytes_read();
    preview.skipped = content.blocks.skipped();
    preview.reasons = reasons.sorted();
    Ok(preview)
}

impl Preview {
    fn of(opened: &OpenFile, manifest: &Manifest, dataset: &Dataset) -> Self {
        Self {
            file: opened.name.clone(),
            dataset: dataset.name.clone(),
            refused: None,
            warnings: Vec::new(),
            encoding: opened.encoding(manifest).name().to_lowercase(),
            syntax: settings(&dataset.csv.syntax),
            columns: Vec::new(),
            ignored: Vec::new(),
            rows: Vec::new(),
            lines: 0,
            accepted: 0,
            rejected: 0,
            reasons: Vec::new(),
            skipped: SkippedLines::default(),
            bytes_read: 0,
            bytes: opened.stamp.size,
            whole: false,
        }
    }

    /// Notes how the file is read, now that its header is known.
    fn describe(&mut self, content: &Content, dataset: &Dataset) {
        self.syntax = settings(&content.shape.syntax);
        self.columns = dataset.columns.iter().map(|column| found(column, content)).collect();
        let is_column = |name: &String| dataset.columns.iter().any(|column| column.name == *name);
        let fields = content.shape.columns.iter().enumerate().filter(|(_, name)| !is_column(name));
        let shown = |(field, name): (usize, &String)| match content.header.get(field).unwrap_or(name).trim() {
            "" => format!("field {}", field + 1),
            name => name.to_owned(),
        };
        self.ignored = fields.map(shown).collect();
    }

    /// Judges the lines of the file, as far as it is to be read.
    fn read(
        &mut self,
        content: &mut Content,
        lines: &mut LineJudge,
        extent: Extent,
        watch: &mut impl FnMut(u64),
    ) -> io::Result<Reasons> {
        let mut reasons = Reasons::default();
        loop {
            let next = match content.blocks.next() {
                Next::Block => {
                    let read = content.blocks.bytes_read();
                    if extent.bytes_max.is_some_and(|bytes_max| read >= bytes_max) {
                        return Ok(reasons);
                    }
                    let bytes = content.blocks.read(&content.opened.file)?.ok_or_else(changed)?;
                    content.blocks.accept(bytes);
                    watch(content.blocks.bytes_read());
                    continue;
                }
                Next::End => {
                    self.whole = true;
                    return Ok(reasons);
                }
                next => next,
            };
            self.lines += 1;
            let keeps = self.rows.len() < extent.rows_max;
            match lines.judge(content, next, self.lines, keeps) {
                Ok(values) => {
                    self.accepted += 1;
                    self.rows.extend(values.map(|values| PreviewRow { line: self.lines, values }));
                }
                Err(faults) => {
                    self.rejected += 1;
                    let physical_line = content.blocks.physical_line();
                    faults.into_iter().for_each(|fault| reasons.add(fault, self.lines, physical_line));
                }
            }
        }
    }
}

/// The settings of a syntax, except the encoding.
fn settings(syntax: &Syntax) -> Map<String, Value> {
    let settings = syntax.settings().into_iter().filter(|(key, _)| *key != "encoding");
    settings.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Where the values of a column come from.
fn found(column: &Column, content: &Content) -> ColumnFound {
    let field = content.shape.field(&column.name);
    let from = match (&column.origin, field) {
        (Origin::Path(_), None) => "the name of the file".to_owned(),
        (Origin::File(fact), None) => format!("the file: {}", fact.as_str()),
        (_, None) if column.generated.is_some() => "generated".into(),
        (_, None) => "absent".into(),
        (_, Some(field)) => match content.header.get(field) {
            Some(name) => format!("field {}, '{}'", field + 1, printable_line(name.trim())),
            None => format!("field {}", field + 1),
        },
    };
    let (column, kind, optional) = (column.name.clone(), column.kind.to_string(), column.optional);
    ColumnFound { column, kind, optional, from }
}

/// Judges lines as the source and the transform do.
struct LineJudge {
    validators: Validators,
    /// How many columns there are.
    columns: usize,
    record_bytes_max: usize,
    scratch: Scratch,
    /// A line in the manifest's columns.
    ordered: Vec<u8>,
}

/// The values of a row, by column.
type Values = Vec<Option<String>>;

impl LineJudge {
    /// Judges the line with this number. Returns its values if the caller `keeps` them, or the reasons against it.
    fn judge(
        &mut self,
        content: &mut Content,
        next: Next,
        number: u64,
        keeps: bool,
    ) -> Result<Option<Values>, Vec<Reason>> {
        let Content { opened, blocks, mapping, form, .. } = content;
        let record = match next {
            Next::Record(record) => record,
            Next::TooLong(line) => {
                let (length, allowed) = (line.length, self.record_bytes_max);
                let message = format!("the line is {length} bytes long, max_record_bytes allows {allowed}");
                return Err(vec![Reason::new(Code::RecordTooLong, None, message, b"")]);
            }
            Next::Block | Next::End => return Ok(None),
        };
        if let Some(fault) = blocks.fault(&record) {
            return Err(vec![fault]);
        }
        let mut text = blocks.bytes(record);
        if let Some(mapping) = mapping {
            self.ordered.clear();
            let key = opened.key_of(number);
            mapping.write(text, key.as_deref(), &mut self.ordered).map_err(|fault| vec![fault])?;
            text = &self.ordered;
        }
        let row = self.validators.of(*form).check(text, &mut self.scratch)?;
        let value = |column| row.value(column).map(shortened);
        Ok(keeps.then(|| (0..self.columns).map(value).collect()))
    }
}

/// The beginning of a value.
fn shortened(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    match value.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into_owned(),
    }
}

/// The reasons against lines, by column and code.
#[derive(Default)]
struct Reasons(BTreeMap<(Option<String>, Code), ReasonCount>);

impl Reasons {
    fn add(&mut self, Reason { code, column, message, value }: Reason, line: u64, physical_line: u64) {
        let example = || Example { line, physical_line, value, message };
        let count = self.0.entry((column.clone(), code)).or_insert_with(|| ReasonCount {
            column,
            code,
            lines: 0,
            example: example(),
        });
        count.lines += 1;
    }

    fn sorted(self) -> Vec<ReasonCount> {
        let mut counts: Vec<ReasonCount> = self.0.into_values().collect();
        counts.sort_by_key(|count| std::cmp::Reverse(count.lines));
        counts
    }
}
