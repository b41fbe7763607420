//! From the rows of one file to its columns.

use super::column::{ColumnSample, ColumnTally};
use super::header::{self, HeaderGuess};
use super::{Layout, Sample, names};
use crate::manifest::limits::COLUMNS_MAX;

/// Reads the rows of one file, one by one, and infers its columns.
#[derive(Debug)]
pub struct Inference {
    file_name: String,
    layout: Layout,
    width: usize,
    first: Option<Vec<String>>,
    columns: Vec<ColumnTally>,
    rows: u64,
    ragged: u64,
    /// The rows that have fewer fields than most, with which fields were in quotes.
    short: Vec<(Vec<String>, Vec<bool>)>,
    /// How many rows are the same as the first.
    repeats: u64,
}

/// If more of the rows are short, that is how the file is written, and not a fault of these rows.
const SHORT_PERCENT: usize = 5;

/// What is unusual about the first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Lines end in a delimiter, so that the last column has neither name nor values.
    pub trailing_delimiter: bool,
    /// The header does not end in a delimiter, and lines do.
    pub trailing_in_lines_alone: bool,
    /// The header has one name less than lines have fields: R writes row names like this.
    pub short_header: bool,
}

impl Inference {
    /// An inference for the file of this name, without its folder. `layout` says how its rows are written.
    pub fn new(file_name: &str, layout: Layout) -> Self {
        let (columns, width) = (Vec::new(), layout.width.min(COLUMNS_MAX));
        let (first, short) = (None, Vec::new());
        let file_name = file_name.to_owned();
        Self { file_name, layout, width, first, columns, rows: 0, ragged: 0, short, repeats: 0 }
    }

    /// Reads the next row. The first row may be a header. `quoted` says which fields were in quotes; fields beyond
    /// its end were not.
    pub fn observe(&mut self, fields: &[&str], quoted: &[bool]) {
        let Some(first) = &self.first else {
            let text = |index: usize| fields.get(index).copied().unwrap_or_default();
            let tally = |index| ColumnTally::below(text(index));
            self.columns = (0..self.width).map(tally).collect();
            self.first = Some(fields.iter().map(|field| (*field).to_owned()).collect());
            return;
        };
        if fields.len() > 1 && fields == first {
            self.repeats += 1;
        } else {
            self.tally(fields, quoted);
        }
    }

    /// The inferred columns.
    pub fn finish(mut self) -> Sample {
        let mut first = self.first.take().unwrap_or_default();
        let repeated = first.clone();
        self.pad();
        let mut odd = self.put_right(&mut first);
        let verdict = match first.len() == self.width && self.width > 0 {
            true => header::judge(&first, &self.columns, self.layout.delimiter(), self.repeats > 0),
            false => HeaderGuess { is_header: false, is_sure: self.ragged + self.rows == 0 },
        };
        if !verdict.is_header && !first.is_empty() {
            let skipped = usize::from(std::mem::take(&mut odd.short_header));
            let fields: Vec<&str> = first[skipped..].iter().map(String::as_str).collect();
            self.tally(&fields, &[]);
            let fields: Vec<&str> = repeated.iter().map(String::as_str).collect();
            (0..std::mem::take(&mut self.repeats)).for_each(|_| self.tally(&fields, &[]));
        }
        self.layout.syntax.header = verdict.is_header;
        self.layout.syntax.trailing_delimiter =
            odd.trailing_delimiter && (!verdict.is_header || odd.trailing_in_lines_alone);
        let delimiter = self.layout.delimiter();
        let names = verdict.is_header.then(|| names::columns(&first));
        let quotes_tell = self.columns.iter().any(ColumnTally::has_bare_numbers);
        let mut columns: Vec<ColumnSample> = Vec::with_capacity(self.columns.len());
        for (index, tally) in self.columns.into_iter().enumerate() {
            let (name, renamed) = match &names {
                Some(names) => names[index].clone(),
                None => (format!("column_{}", index + 1), None),
            };
            columns.push(tally.finish(name, renamed, delimiter, quotes_tell));
        }
        if let Some(column) = columns.first_mut()
            && !verdict.is_header
            && column.is_whole()
            && column.identifies()
        {
            column.name = "id".into();
        }
        Sample {
            file_name: self.file_name,
            layout: self.layout,
            header: verdict.is_header.then_some(first),
            sure_of_header: verdict.is_sure,
            odd,
            columns,
            rows: self.rows,
            ragged: self.ragged,
            short: self.short.len() as u64,
            repeated_headers: self.repeats,
        }
    }

    /// If many rows are short, takes their missing fields for empty.
    fn pad(&mut self) {
        let all = self.rows as usize + self.short.len();
        if self.short.len() * 100 <= all * SHORT_PERCENT {
            return;
        }
        self.layout.syntax.pads = true;
        for (mut fields, quoted) in std::mem::take(&mut self.short) {
            fields.resize(self.width, String::new());
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            self.ragged -= 1;
            self.tally(&fields, &quoted);
        }
    }

    /// Adjusts a header that has one field more or less than the lines, and notes the reason.
    fn put_right(&mut self, first: &mut Vec<String>) -> Oddities {
        let mut odd = Oddities::default();
        let last_is_empty = self.rows > 0 && self.columns.last().is_some_and(|column| column.is_blank());
        let ends_empty = first.last().is_some_and(String::is_empty);
        if first.len() == self.width + 1 && ends_empty {
            first.pop();
            odd.trailing_delimiter = true;
        } else if self.width > 1
            && last_is_empty
            && (first.len() + 1 == self.width || (first.len() == self.width && ends_empty))
        {
            let names = &first[..self.width - 1];
            let (columns, delimiter) = (&self.columns[..self.width - 1], self.layout.delimiter());
            let verdict = header::judge(names, columns, delimiter, self.repeats > 0);
            if verdict.is_header || ends_empty {
                odd.trailing_in_lines_alone = !ends_empty;
                first.truncate(self.width - 1);
                self.columns.pop();
                self.width -= 1;
                odd.trailing_delimiter = true;
            }
        } else if first.len() + 1 == self.width && self.rows > 0 {
            first.insert(0, String::new());
            odd.short_header = true;
        }
        odd
    }

    fn tally(&mut self, fields: &[&str], quoted: &[bool]) {
        if fields.len() != self.layout.width && fields.len() != self.width {
            self.ragged += 1;
            if fields.len() < self.width {
                let fields = fields.iter().map(|field| (*field).to_owned()).collect();
                self.short.push((fields, quoted.to_vec()));
            }
            return;
        }
        self.rows += 1;
        for (index, (column, field)) in self.columns.iter_mut().zip(fields).enumerate() {
            column.observe(field, quoted.get(index).copied().unwrap_or_default());
        }
    }
}
