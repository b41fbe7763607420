//! Writes example data: a company with departments, jobs and the employees it hired.
//!
//! The same [`Options`] always write the same bytes. Rows are streamed, so that size costs time only.

mod fault;
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

pub use self::fault::Fault;

/// The days of 2021 and 2022, in which everybody was hired.
const DAYS: u64 = 365 + 365;
/// Bytes gathered before a file is written to.
const BUFFER_BYTES: usize = 1 << 20;

/// What to write.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lines of `hired_employees.csv`, the broken ones among them.
    pub employees: u64,
    /// Lines of `departments.csv`, at least 1.
    pub departments: u32,
    /// Lines of `jobs.csv`, at least 1.
    pub jobs: u32,
    /// How many of 100 employees lack a field. Of no effect in [`Style::Example`].
    pub rejects_percent: f64,
    /// Other seeds give other data.
    pub seed: u64,
    /// Whether lines end in CRLF instead of LF.
    pub crlf: bool,
    /// Whether `departments.csv` and `jobs.csv` end with a line ending. The big file always does.
    pub final_newline: bool,
    /// What kind of broken rows there are.
    pub style: Style,
}

/// What kind of rows a generator strews in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Rows without a field, as many as `rejects_percent` says: for measurements.
    Bench,
    /// Rows broken in every way that the columns allow, and a few that only look broken: to be read.
    Example,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            employees: 1_000_000,
            departments: 12,
            jobs: 183,
            rejects_percent: 0.0,
            seed: 1,
            crlf: false,
            final_newline: true,
            style: Style::Bench,
        }
    }
}

impl Options {
    /// The options that wrote `examples/company/landing`.
    pub fn example() -> Self {
        Options {
            employees: 2_000,
            seed: 2021,
            crlf: true,
            final_newline: false,
            style: Style::Example,
            ..Options::default()
        }
    }

    /// The broken rows of the example style: the number of the record, and what is wrong with it.
    /// Every fault has its rows, as far as there are employees enough.
    pub fn faults(&self) -> BTreeMap<u64, Fault> {
        let mut faults = BTreeMap::new();
        if self.style != Style::Example {
            return faults;
        }
        let mut random = Random::new(self.seed ^ 0xFA01);
        let all = Fault::ALL.into_iter().flat_map(|(fault, rows)| std::iter::repeat_n(fault, rows));
        for fault in all.take((self.employees / 2) as usize) {
            let mut record = 1 + random.below(self.employees);
            while faults.contains_key(&record) || words::quoted_name(record).is_some() {
                record = 1 + random.below(self.employees);
            }
            faults.insert(record, fault);
        }
        faults
    }

    fn line_ending(&self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }
}

/// Writes `departments.csv`, `jobs.csv` and `hired_employees.csv` into `dir`, which must exist. They
/// have no header; their columns are `id,department`, `id,job` and
/// `id,name,datetime,department_id,job_id`. Ids ascend from 1.
///
/// # Errors
///
/// When a file cannot be written, or there are no departments or jobs to choose from.
pub fn company(dir: &Path, options: &Options) -> io::Result<()> {
    if options.departments == 0 || options.jobs == 0 {
        let message = "employees need at least one department and one job";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    named(&dir.join("departments.csv"), options, options.departments, words::department)?;
    named(&dir.join("jobs.csv"), options, options.jobs, words::job)?;
    hired_employees(&dir.join("hired_employees.csv"), options)
}

/// Writes a file of ids and names.
fn named(path: &Path, options: &Options, rows: u32, name: impl Fn(u32) -> String) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for id in 1..=rows {
        write!(file, "{id},{}", name(id - 1))?;
        if id < rows || options.final_newline {
            file.write_all(options.line_ending().as_bytes())?;
        }
    }
    file.flush()
}

/// Writes the big file.
fn hired_employees(path: &Path, options: &Options) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
    let mut random = Random::new(options.seed);
    let dates = dates();
    let faults = options.faults();
    let rejects_per_million = match options.style {
        Style::Bench => (options.rejects_percent.clamp(0.0, 100.0) * 10_000.0).round() as u64,
        Style::Example => 0,
    };
    let mut line = Vec::with_capacity(128);
    for id in 1..=options.employees {
        let row = Row::draw(&mut random, id, options);
        line.clear();
        if rejects_per_million > 0 && random.below(1_000_000) < rejects_per_million {
            let missing = random.below(5) as usize;
            row.write(&mut line, &dates, |column| column == missing);
        } else if let Some(fault) = faults.get(&id) {
            fault.write(&mut line, row.fields(&dates));
        } else {
            match words::quoted_name(id).filter(|_| options.style == Style::Example) {
                Some(name) => {
                    fault::join(&mut line, row.fields(&dates), |fields| fields[1] = name.to_owned())
                }
                None => row.write(&mut line, &dates, |_| false),
            }
        }
        line.extend_from_slice(options.line_ending().as_bytes());
        file.write_all(&line)?;
    }
    file.flush()
}

/// An employee, still as numbers.
struct Row {
    id: u64,
    first_name: usize,
    last_name: usize,
    day: usize,
    second: u64,
    department: u64,
    job: u64,
}

impl Row {
    fn draw(random: &mut Random, id: u64, options: &Options) -> Row {
        let name = random.below((words::FIRST_NAMES.len() * words::LAST_NAMES.len()) as u64) as usize;
        let moment = random.below(DAYS * 86_400);
        Row {
            id,
            first_name: name % words::FIRST_NAMES.len(),
            last_name: name / words::FIRST_NAMES.len(),
            day: (moment / 86_400) as usize,
            second: moment % 86_400,
            department: 1 + random.below(u64::from(options.departments)),
            job: 1 + random.below(u64::from(options.jobs)),
        }
    }

    /// Appends the row; a column for which `missing` holds is left empty.
    fn write(&self, line: &mut Vec<u8>, dates: &[String], missing: impl Fn(usize) -> bool) {
        for column in 0..5 {
            if column > 0 {
                line.push(b',');
            }
            if !missing(column) {
                self.write_column(line, dates, column);
            }
        }
    }

    fn write_column(&self, line: &mut Vec<u8>, dates: &[String], column: usize) {
        match column {
            0 => push_number(line, self.id),
            1 => {
                line.extend_from_slice(words::FIRST_NAMES[self.first_name].as_bytes());
                line.push(b' ');
                line.extend_from_slice(words::LAST_NAMES[self.last_name].as_bytes());
            }
            2 => {
                line.extend_from_slice(dates[self.day].as_bytes());
                for (mark, number) in
                    [(b'T', self.second / 3600), (b':', self.second / 60 % 60), (b':', self.second % 60)]
                {
                    line.extend_from_slice(&[mark, b'0' + (number / 10) as u8, b'0' + (number % 10) as u8]);
                }
                line.push(b'Z');
            }
            3 => push_number(line, self.department),
            _ => push_number(line, self.job),
        }
    }

    /// The fields as text, to be spoilt.
    fn fields(&self, dates: &[String]) -> Vec<String> {
        let field = |column| {
            let mut bytes = Vec::new();
            self.write_column(&mut bytes, dates, column);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        (0..5).map(field).collect()
    }
}

/// Appends a number in decimal.
fn push_number(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

/// Every day of the two years, as `2021-07-27`. Neither is a leap year.
fn dates() -> Vec<String> {
    const MONTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut dates = Vec::with_capacity(DAYS as usize);
    for year in [2021, 2022] {
        for (month, days) in (1..).zip(MONTHS) {
            dates.extend((1..=days).map(|day| format!("{year}-{month:02}-{day:02}")));
        }
    }
    dates
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, quick, and the same everywhere.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `limit`, without it.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests;
