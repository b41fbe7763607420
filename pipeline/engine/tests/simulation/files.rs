//! Files of a seed: lines good and broken, with what each of them means, told without reading them.

use fastrand::Rng;
use tidegate_core::dead_letter::Code;
use tidegate_core::split::SkippedLines;

use crate::dialect::{Dialects, Extra};
use crate::model::Flaw;
use crate::writer;

/// The pipeline: two datasets that a third references, which also references itself. Besides, a dataset that shares the
/// table of another, one with a key of two columns, and one without a key that references both. Lines may be 1 KiB
/// long, and the stages may lag by a few lines.
pub(crate) const MANIFEST: &str = "
pipeline: sim
stable_for: 200ms
max_lag_bytes: 600
max_record_bytes: 1KiB
datasets:
  areas:
    key: id
    csv: {header: false}
    columns: {id: integer, name: text}
  jobs:
    key: id
    csv: {delimiter: \";\", header: true}
    columns: {id: integer, title: text}
  people:
    key: id
    csv: {header: true}
    columns:
      id: integer
      name: text
      area: {type: integer, references: areas}
      job: {type: integer, references: jobs, optional: true}
      boss: {type: integer, references: people, optional: true}
  shops:
    table: areas
    key: id
    csv: {header: true}
    columns: {id: integer, name: text}
  marks:
    key: [id, level]
    csv: {header: false}
    columns: {id: integer, name: text, level: integer}
  events:
    key: none
    csv: {header: true}
    columns:
      mark: {type: integer, optional: true}
      name: text
      level: {type: integer, optional: true}
      shop: {type: integer, references: shops, optional: true}
    references: [{columns: [mark, level], to: marks}]
";
/// The pipeline as it is changed to: columns that change places, and columns that come. Files stay as they were.
pub(crate) const CHANGES: [(&str, &str); 7] = [
    (
        "    table: areas\n    key: id\n    csv: {header: true}\n    columns: {id: integer, name: text}",
        "    table: areas\n    key: id\n    csv: {header: true}\n    columns: {name: text, id: integer}",
    ),
    ("columns: {id: integer, title: text}", "columns: {title: text, id: integer}"),
    (
        "csv: {delimiter: \";\", header: true}\n    columns: {id: integer,",
        "csv: {delimiter: \";\", header: true, columns_absent: null}\n    columns: {id: integer, grade: {type: text, optional: true},",
    ),
    (
        "      id: integer\n      name: text\n      area: {type: integer, references: areas}\n",
        "      name: text\n      area: {type: integer, references: areas}\n      id: integer\n",
    ),
    (
        "      area: {type: integer, references: areas}\n      job: {type: integer, references: jobs, optional: true}\n",
        "      job: {type: integer, references: jobs, optional: true}\n      area: {type: integer, references: areas}\n",
    ),
    (
        "csv: {header: true}\n    columns:\n      id: integer\n",
        "csv: {header: true, columns_absent: null}\n    columns:\n      note: {type: text, optional: true}\n      id: integer\n",
    ),
    (
        "csv: {header: true}\n    columns:\n      id: integer\n      name: text\n",
        "csv: {header: true, columns_absent: null}\n    columns:\n      id: integer\n      name: text\n      note: {type: integer, optional: true}\n",
    ),
];

/// The manifest with some of the [`CHANGES`], which may exclude each other, for files in these dialects.
pub(crate) fn changed(rng: &mut Rng, dialects: &Dialects, flaw: Option<Flaw>) -> String {
    let mut manifest = MANIFEST.to_owned();
    let mut changes = CHANGES.to_vec();
    rng.shuffle(&mut changes);
    changes.truncate(rng.usize(1..=4));
    for (before, after) in changes {
        manifest = manifest.replacen(before, after, 1);
    }
    dialects.apply(&manifest, flaw)
}
pub(crate) const AREAS: usize = 0;
pub(crate) const JOBS: usize = 1;
pub(crate) const SHOPS: usize = 2;
pub(crate) const MARKS: usize = 3;
pub(crate) const PEOPLE: usize = 4;
pub(crate) const EVENTS: usize = 5;
pub(crate) const DATASETS: [&str; 6] = ["areas", "jobs", "shops", "marks", "people", "events"];
/// The database refuses rows of this name, whatever the dataset.
pub(crate) const REFUSED: &str = "refused";

/// A trigger of the database leaves rows of this name out, whatever the dataset.
pub(crate) const LEFT_OUT: &str = "left out";

/// What a line is by itself.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    /// A row of these values, in the order of [`MANIFEST`].
    Row(Vec<String>),
    /// None, for these reasons.
    Wrong(Vec<Code>),
}

/// A file for the landing folder.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) dataset: usize,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// Its records, the first being line 1.
    pub(crate) lines: Vec<Meaning>,
    /// How many of its lines are no records of their own.
    pub(crate) skipped: SkippedLines,
}

impl File {
    /// How many lines an editor shows.
    pub(crate) fn physical_lines(&self) -> u64 {
        let text = self.bytes.strip_prefix(MARK).unwrap_or(&self.bytes);
        let ends = text.iter().filter(|byte| **byte == b'\n').count();
        let is_open = text.last().is_some_and(|byte| *byte != b'\n');
        ends as u64 + u64::from(is_open)
    }
}

/// The byte order mark of UTF-8.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// How many different keys a dataset has: few, so that lines meet.
pub(crate) const KEYS: u32 = 12;

/// Some files, in no order.
pub(crate) fn some(rng: &mut Rng, dialects: &Dialects) -> Vec<File> {
    let count = rng.usize(2..=7);
    let length = [4, 12, 30][rng.usize(0..3)];
    let mut files: Vec<File> = Vec::new();
    let datasets: &[usize] = match rng.u8(0..3) {
        0 => &[PEOPLE, SHOPS, AREAS, JOBS],
        1 => &[EVENTS, MARKS, SHOPS, AREAS],
        _ => &[PEOPLE, AREAS, JOBS],
    };
    for i in 0..count {
        let dataset = datasets[i % datasets.len()];
        let dialect = dialects.of(dataset);
        let (mut number, mut file) = (i, writer::one(rng, dataset, dialect, length));
        // A name comes again with another content; name and size tell which.
        let is_new = |file: &File| files.iter().all(|earlier| earlier.bytes.len() != file.bytes.len());
        if let Some(earlier) = files.iter().position(|earlier| earlier.dataset == dataset)
            && rng.bool()
            && is_new(&file)
        {
            number = earlier; // the first file of a dataset has a name of its own
        }
        file.name = format!("{}-{number}.csv", DATASETS[dataset]);
        if dialect.extras.contains(&Extra::Origin) {
            file.lines.iter_mut().for_each(|line| line.comes_from(number));
        }
        files.push(file);
    }
    files
}

impl Meaning {
    /// Gives the last column the number of the file.
    fn comes_from(&mut self, number: usize) {
        if let Self::Row(values) = self {
            values.push(number.to_string());
        }
    }
}

/// The values of a row that another application writes, none of them in the columns of the dialect.
pub(crate) fn outside(rng: &mut Rng, dialects: &Dialects) -> (usize, Vec<String>) {
    let dataset = [AREAS, JOBS, MARKS][rng.usize(0..3)];
    let mut values = vec![rng.u32(1..=KEYS).to_string(), "outside".to_owned()];
    if dataset == MARKS {
        values.push(rng.u32(1..=KEYS).to_string());
    }
    values.resize(values.len() + dialects.of(dataset).extras.len(), String::new());
    (dataset, values)
}
