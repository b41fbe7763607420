//! How the lines of a file are written: those that are records, good and broken, and those that are none.

use fastrand::Rng;
use tidegate_core::dead_letter::Code;
use tidegate_core::split::SkippedLines;

use crate::dialect::{Dialect, Extra};
use crate::files::{AREAS, EVENTS, File, JOBS, KEYS, LEFT_OUT, MARK, MARKS, Meaning, PEOPLE, REFUSED, SHOPS};

/// A file that has no name yet. Its rows lack the value of [`Extra::Origin`].
pub(crate) fn one(rng: &mut Rng, dataset: usize, dialect: &Dialect, length: usize) -> File {
    let ending: &[u8] = if rng.u8(0..4) == 0 { b"\r\n" } else { b"\n" };
    let has_mark = rng.u8(0..8) == 0;
    let (delimiter, is_latin1) = (dialect.delimiter, dialect.latin1 && !has_mark);
    let mut writer = Writer { dataset, dialect, delimiter, is_latin1, may_quote: true };
    let (mut skipped, mut lines, mut parts) = (SkippedLines::default(), Vec::new(), Vec::new());
    if dialect.titles == 0 && rng.u8(0..10) == 0 {
        writer.delimiter = "|";
        parts.push(b"sep=|".to_vec());
        skipped.sep += 1;
    }
    for _ in 0..dialect.titles {
        parts.push([&b"A title"[..], b"of \"so", b"# 1,2", b""][rng.usize(0..4)].to_vec());
        skipped.before_header += 1;
    }
    let header = writer.header(rng);
    if let Some(header) = &header {
        writer.skipped(rng, None, &mut skipped, &mut parts);
        parts.push(header.clone());
        skipped.header += 1;
    }
    for _ in 0..rng.usize(0..=length) {
        let (meaning, line) = writer.line(rng);
        lines.push(meaning);
        skipped.continuation += line.iter().filter(|byte| **byte == b'\n').count() as u64;
        parts.push(line);
        writer.skipped(rng, header.as_ref(), &mut skipped, &mut parts);
    }
    let is_cut = !lines.is_empty() && rng.u8(0..3) == 0;
    while is_cut && parts.pop_if(|part| part.is_empty()).is_some() {
        skipped.blank -= 1;
    }
    let mut bytes = if has_mark { MARK.to_vec() } else { Vec::new() };
    bytes.extend(parts.join(ending));
    if !parts.is_empty() && !is_cut {
        bytes.extend_from_slice(ending);
    }
    File { dataset, name: String::new(), bytes, lines, skipped }
}

/// Writes the lines of a file.
struct Writer<'a> {
    dataset: usize,
    dialect: &'a Dialect,
    /// The delimiter of this file.
    delimiter: &'static str,
    is_latin1: bool,
    /// Not after a quote that was left open: the next one would close it.
    may_quote: bool,
}

impl Writer<'_> {
    fn header(&self, rng: &mut Rng) -> Option<Vec<u8>> {
        let names: &[&str] = match self.dataset {
            JOBS => &["id", "title"],
            PEOPLE => &["id", "name", "area", "job", "boss"],
            SHOPS => &["id", "name"],
            EVENTS => &["mark", "name", "level", "shop"],
            _ => return None,
        };
        let extras = self.in_file().map(Extra::name);
        let fields = names.iter().copied().chain(extras).map(|name| name.as_bytes().to_vec());
        Some(self.join(rng, fields.collect()))
    }

    /// The columns of the dialect that are fields.
    fn in_file(&self) -> impl Iterator<Item = Extra> {
        self.dialect.extras.iter().copied().filter(|extra| *extra != Extra::Origin)
    }

    /// Adds a line that is no record, or mostly none. The header is repeated if there is one.
    fn skipped(
        &self,
        rng: &mut Rng,
        header: Option<&Vec<u8>>,
        skipped: &mut SkippedLines,
        parts: &mut Vec<Vec<u8>>,
    ) {
        let Dialect { comments, footers, other_kinds, trim, .. } = *self.dialect;
        // The header need not match the pattern of records.
        let before_header = header.is_none() && ![AREAS, MARKS].contains(&self.dataset);
        let (line, count): (&[u8], _) = match (rng.u8(0..32), header) {
            (0..=1, _) => (b"", &mut skipped.blank),
            (2, _) if trim => (b"   ", &mut skipped.blank),
            (3, Some(header)) => (header, &mut skipped.header),
            (4..=6, _) if comments && self.may_quote => (b"#1,\"2", &mut skipped.comment),
            (7, _) if comments => (b"#", &mut skipped.comment),
            (8..=9, _) if footers => (b"(12 rows)", &mut skipped.pattern),
            (10..=11, _) if other_kinds && !before_header => (b"~5,name 5", &mut skipped.other_kind),
            _ => return,
        };
        *count += 1;
        parts.push(line.to_vec());
    }

    /// A line, with what it means.
    fn line(&mut self, rng: &mut Rng) -> (Meaning, Vec<u8>) {
        let mut values = vec![key(rng), name(rng)];
        match self.dataset {
            PEOPLE => values.extend([key(rng), optional(rng), optional(rng)]),
            MARKS => values.push(key(rng)),
            EVENTS => {
                values[0] = optional(rng);
                values.extend([optional(rng), optional(rng)]);
            }
            _ => {}
        }
        let mut fields: Vec<Vec<u8>> = Vec::new();
        for value in &values {
            let text = if value.is_empty() { self.missing(rng) } else { value };
            fields.push(text.as_bytes().to_vec());
        }
        for extra in self.in_file() {
            let (value, field) = self.extra(rng, extra);
            values.push(value);
            fields.push(field);
        }
        if rng.u8(0..6) == 0 {
            let codes = self.wrong(rng, &mut fields);
            return (Meaning::Wrong(codes), self.join(rng, fields));
        }
        if rng.u8(0..5) == 0 {
            self.some_name(rng, &mut values[1], &mut fields[1]);
        }
        if self.dialect.pads && rng.u8(0..3) == 0 {
            self.cut(rng, &mut values, &mut fields);
        }
        (Meaning::Row(values), self.join(rng, fields))
    }

    /// How a value that is missing may be written.
    fn missing(&self, rng: &mut Rng) -> &'static str {
        let null = self.dialect.null;
        null.get(rng.usize(0..=null.len())).copied().unwrap_or_default()
    }

    fn quoted(&self, rng: &mut Rng, text: &str) -> Vec<u8> {
        let inner = if self.dialect.escape && rng.bool() { "\\\"" } else { "\"\"" };
        format!("\"{}\"", text.replace('"', inner)).into_bytes()
    }

    /// A value of a column of the dialect, and its field.
    fn extra(&self, rng: &mut Rng, extra: Extra) -> (String, Vec<u8>) {
        let (value, text) = extra.some(rng);
        let must_quote = text.is_empty() || text.contains(self.delimiter);
        if rng.u8(0..3) == 0 || (must_quote && !self.may_quote) {
            return (extra.value_of_missing().to_owned(), self.missing(rng).as_bytes().to_vec());
        }
        let field = if must_quote { self.quoted(rng, &text) } else { text.into_bytes() };
        (value, field)
    }

    /// A name that needs quotes, escapes or another encoding, or that would mean missing without quotes.
    fn some_name(&self, rng: &mut Rng, value: &mut String, field: &mut Vec<u8>) {
        let delimiter = self.delimiter;
        let Dialect { escape, null, .. } = *self.dialect;
        let (name, raw) = match rng.u8(0..8) {
            0 if escape => (format!("a{delimiter} x"), Some(format!("a\\{delimiter} x"))),
            1 if escape => ("two\nlines".to_owned(), Some("two\\\nlines".to_owned())),
            2 if escape && self.may_quote => ("a \"b\"".to_owned(), Some("a \\\"b\\\"".to_owned())),
            3 => ("año".to_owned(), Some("año".to_owned())),
            4 if null.is_empty() => ("NA".to_owned(), Some("NA".to_owned())),
            _ if !self.may_quote => return,
            4 | 5 => ("NA".to_owned(), None),
            6 => (format!("{value}{delimiter} x"), None),
            7 => ("two\nlines".to_owned(), None),
            _ => ("a \"b\"".to_owned(), None),
        };
        *field = raw.map_or_else(|| self.quoted(rng, &name), String::into_bytes);
        *value = name;
    }

    /// Leaves out fields at the end, none of which is required.
    fn cut(&self, rng: &mut Rng, values: &mut [String], fields: &mut Vec<Vec<u8>>) {
        let own = values.len() - self.in_file().count();
        let required = match self.dataset {
            PEOPLE => 3,
            EVENTS => 2,
            _ => own,
        };
        fields.truncate(rng.usize(required..=fields.len()));
        let missing = std::iter::repeat_n("", own).chain(self.in_file().map(Extra::value_of_missing));
        let cut = values.iter_mut().zip(missing).skip(fields.len());
        cut.for_each(|(value, missing)| missing.clone_into(value));
    }

    /// Makes a line no row, and tells why.
    fn wrong(&mut self, rng: &mut Rng, fields: &mut Vec<Vec<u8>>) -> Vec<Code> {
        let Dialect { trim, pads, .. } = *self.dialect;
        let own = fields.len() - self.in_file().count();
        let has_quotes = fields.iter().any(|field| field.contains(&b'"'));
        match rng.u8(0..12) {
            0 if self.dataset != EVENTS => {
                fields[0] = self.missing(rng).as_bytes().to_vec();
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
            3 if !self.is_latin1 => {
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
            6 if self.dataset != JOBS && !has_quotes => {
                self.may_quote = false;
                fields[1] = b"\"open".to_vec();
                vec![Code::InvalidCharacter]
            }
            7 => {
                fields[0] = b"99999999999".to_vec();
                vec![Code::OutOfRange]
            }
            8 if self.may_quote && !trim => {
                fields[1] = b" \"padded\"".to_vec();
                vec![Code::InvalidCharacter]
            }
            9 if !pads => {
                fields.pop();
                vec![Code::WrongColumnCount]
            }
            10 if self.dialect.extras.first() == Some(&Extra::Since) => {
                fields[own] = b"2021-30-02".to_vec();
                vec![Code::InvalidDate]
            }
            _ => {
                fields[1] = self.missing(rng).as_bytes().to_vec();
                vec![Code::MissingValue]
            }
        }
    }

    /// The text of a line.
    fn join(&self, rng: &mut Rng, mut fields: Vec<Vec<u8>>) -> Vec<u8> {
        if self.dataset == JOBS && fields.len() > 1 {
            fields.swap(0, 1); // as its header says
        }
        if self.dialect.trim {
            for field in &mut fields {
                let [before, behind] = [rng.usize(0..3), rng.usize(0..3)].map(|blanks| &b"  "[..blanks]);
                *field = [before, field, behind].concat();
            }
        }
        let line = fields.join(self.delimiter.as_bytes());
        match String::from_utf8(line) {
            Ok(text) if self.is_latin1 => text.chars().map(|char| char as u8).collect(),
            Ok(text) => text.into_bytes(),
            Err(error) => error.into_bytes(),
        }
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
