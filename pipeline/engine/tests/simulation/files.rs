//! Files of a seed: lines good and broken, with what each of them means, told without reading them.

use fastrand::Rng;
use tidegate_core::dead_letter::Code;

/// The pipeline: two datasets that a third references, which also references itself. Lines may be 1 KiB long,
/// and the stages may lag by a few lines.
pub(crate) const MANIFEST: &str = "
pipeline: sim
stable_for: 200ms
max_lag_bytes: 600
max_record_bytes: 1KiB
datasets:
  areas:
    key: id
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
";
/// The pipeline as it is changed to: columns that change places, and columns that come. Files stay as they were.
pub(crate) const CHANGES: [(&str, &str); 6] = [
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

/// The manifest with some of the [`CHANGES`], which may exclude each other.
pub(crate) fn changed(rng: &mut Rng) -> String {
    let mut manifest = MANIFEST.to_owned();
    let mut changes = CHANGES.to_vec();
    rng.shuffle(&mut changes);
    changes.truncate(rng.usize(1..=4));
    for (before, after) in changes {
        manifest = manifest.replacen(before, after, 1);
    }
    manifest
}
pub(crate) const AREAS: usize = 0;
pub(crate) const JOBS: usize = 1;
pub(crate) const PEOPLE: usize = 2;
pub(crate) const DATASETS: [&str; 3] = ["areas", "jobs", "people"];
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
    /// Its lines, the first being line 1.
    pub(crate) lines: Vec<Meaning>,
}

/// How many different keys a dataset has: few, so that lines meet.
const KEYS: u32 = 12;

/// Some files, in no order.
pub(crate) fn some(rng: &mut Rng) -> Vec<File> {
    let count = rng.usize(2..=7);
    let length = [4, 12, 30][rng.usize(0..3)];
    let mut files: Vec<File> = Vec::new();
    for i in 0..count {
        let dataset = [PEOPLE, AREAS, JOBS][i % 3];
        let mut file = one(rng, dataset, i, length);
        // A name comes again with another content; name and size tell which.
        let is_new = |file: &File| files.iter().all(|earlier| earlier.bytes.len() != file.bytes.len());
        if let Some(earlier) = files.iter().find(|earlier| earlier.dataset == dataset)
            && rng.bool()
            && is_new(&file)
        {
            file.name.clone_from(&earlier.name);
        }
        files.push(file);
    }
    files
}

fn one(rng: &mut Rng, dataset: usize, number: usize, length: usize) -> File {
    let ending: &[u8] = if rng.u8(0..4) == 0 { b"\r\n" } else { b"\n" };
    let mut file = File {
        dataset,
        name: format!("{}-{number}.csv", DATASETS[dataset]),
        bytes: Vec::new(),
        lines: Vec::new(),
    };
    let mut writer = Writer { dataset, may_quote: true };
    let header: &[u8] = match dataset {
        JOBS => b"title;id",
        PEOPLE => b"id,name,area,job,boss",
        _ => b"",
    };
    if !header.is_empty() {
        file.bytes.extend_from_slice(header);
        file.bytes.extend_from_slice(ending);
    }
    for _ in 0..rng.usize(0..=length) {
        let meaning = writer.line(rng, &mut file.bytes);
        file.lines.push(meaning);
        file.bytes.extend_from_slice(ending);
        if rng.u8(0..12) == 0 {
            file.bytes.extend_from_slice(ending); // a blank line has no number
        }
    }
    if !file.lines.is_empty() && rng.u8(0..3) == 0 {
        while file.bytes.ends_with(b"\n") || file.bytes.ends_with(b"\r") {
            file.bytes.pop();
        }
    }
    file
}

/// Writes the lines of a file.
struct Writer {
    dataset: usize,
    /// Not after a quote that was left open: the next one would close it.
    may_quote: bool,
}

impl Writer {
    fn line(&mut self, rng: &mut Rng, out: &mut Vec<u8>) -> Meaning {
        let mut values = vec![key(rng), name(rng)];
        if self.dataset == PEOPLE {
            values.push(key(rng));
            values.push(optional(rng));
            values.push(optional(rng));
        }
        if rng.u8(0..6) == 0 {
            return Meaning::Wrong(self.wrong(rng, values, out));
        }
        let quoted = self.may_quote && rng.u8(0..5) == 0;
        if quoted {
            values[1] =
                [format!("{}, x", values[1]), "two\nlines".into(), "a \"b\"".into()][rng.usize(0..3)].clone();
        }
        let mut fields: Vec<Vec<u8>> = values.iter().map(|value| value.clone().into_bytes()).collect();
        if quoted {
            fields[1] = format!("\"{}\"", values[1].replace('"', "\"\"")).into_bytes();
        }
        self.write(fields, out);
        Meaning::Row(values)
    }

    /// Writes a line that is no row, and tells why.
    fn wrong(&mut self, rng: &mut Rng, values: Vec<String>, out: &mut Vec<u8>) -> Vec<Code> {
        let mut fields: Vec<Vec<u8>> = values.into_iter().map(String::into_bytes).collect();
        let codes = match rng.u8(0..10) {
            0 => {
                fields[0].clear();
                vec![Code::MissingValue]
            }
            1 => {
                fields[0] = b"7x".to_vec();
                fields[1].clear();
                vec![Code::InvalidInteger, Code::MissingValue]
            }
            2 => {
                fields.push(b"more".to_vec());
                vec![Code::WrongColumnCount]
            }
            3 => {
                fields[1] = b"\xff\xfe".to_vec();
                vec![Code::InvalidUtf8]
            }
            4 => {
                fields[1] = b"a\0b".to_vec();
                vec![Code::InvalidCharacter]
            }
            5 => {
                fields[1] = vec![b'x'; 1100];
                vec![Code::RecordTooLong]
            }
            6 if self.dataset != JOBS => {
                self.may_quote = false;
                fields[1] = b"\"open".to_vec();
                vec![Code::InvalidCharacter]
            }
            8 if self.may_quote => {
                fields[1] = b" \"padded\"".to_vec();
                vec![Code::InvalidCharacter]
            }
            7 => {
                fields[0] = b"99999999999".to_vec();
                vec![Code::OutOfRange]
            }
            _ => {
                fields[1].clear();
                vec![Code::MissingValue]
            }
        };
        self.write(fields, out);
        codes
    }

    fn write(&self, mut fields: Vec<Vec<u8>>, out: &mut Vec<u8>) {
        let delimiter: &[u8] = if self.dataset == JOBS { b";" } else { b"," };
        if self.dataset == JOBS {
            fields.swap(0, 1); // as its header says
        }
        out.extend_from_slice(&fields.join(delimiter));
    }
}

fn key(rng: &mut Rng) -> String {
    let key = rng.u32(1..=KEYS);
    match rng.u8(0..12) {
        0 => format!("0{key}"),
        1 => format!("+{key}"),
        _ => key.to_string(),
    }
}

fn optional(rng: &mut Rng) -> String {
    if rng.bool() { String::new() } else { key(rng) }
}

fn name(rng: &mut Rng) -> String {
    match rng.u8(0..10) {
        0 => REFUSED.to_owned(),
        1 => LEFT_OUT.to_owned(),
        other => format!("name {other}"),
    }
}

/// The values of a row that another application writes.
pub(crate) fn outside(rng: &mut Rng) -> (usize, Vec<String>) {
    let dataset = [AREAS, JOBS][rng.usize(0..2)];
    (dataset, vec![rng.u32(1..=KEYS).to_string(), "outside".to_owned()])
}
