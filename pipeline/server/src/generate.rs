//! Generates example data: a company with departments, jobs and the employees it hired.
//!
//! The same [`Company`] always gives the same bytes. Rows are streamed, so memory does not grow with their number.

mod fault;
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

pub use self::fault::RowFault;
use self::words::{FIRST_NAMES, LAST_NAMES};

/// The first second of 2021, since 1970. All employees were hired in 2021 and 2022.
const SECOND_FIRST: u64 = 1_609_459_200;
const SECONDS: u64 = (365 + 365) * 86_400;
/// How many bytes are buffered before each write to a file.
const BUFFER_BYTES: usize = 1 << 20;

/// The size and the kind of the data.
#[derive(Clone, Debug)]
pub struct Company {
    /// Lines of `hired_employees.csv`, the broken ones among them.
    pub employees: u64,
    /// Lines of `departments.csv`, at least 1.
    pub departments: u32,
    /// Lines of `jobs.csv`, at least 1.
    pub jobs: u32,
    /// How many of 100 employees lack a field.
    pub rejects_percent: f64,
    /// The seed of the random numbers.
    pub seed: u64,
    /// For people to read: some rows are broken in every way that the columns allow, and a few only look broken. Lines
    /// end in CRLF, but the last line of `departments.csv` and of `jobs.csv` has no line ending.
    pub is_example: bool,
}

impl Default for Company {
    fn default() -> Self {
        Self {
            employees: 1_000_000,
            departments: 12,
            jobs: 183,
            rejects_percent: 0.0,
            seed: 1,
            is_example: false,
        }
    }
}

impl Company {
    /// The company of `examples/company/landing`.
    pub fn example() -> Self {
        Self { employees: 2_000, seed: 2021, is_example: true, ..Self::default() }
    }

    /// The broken rows of an example: the number of the record, and its fault. Every fault has its rows, unless there
    /// are too few employees.
    pub fn faults(&self) -> BTreeMap<u64, RowFault> {
        let mut faults = BTreeMap::new();
        if !self.is_example {
            return faults;
        }
        let mut random = Random(self.seed ^ 0xFA01);
        let all = RowFault::ALL.into_iter().flat_map(|(fault, rows, _)| std::iter::repeat_n(fault, rows));
        for fault in all.take((self.employees / 2) as usize) {
            let mut record = 1 + random.below(self.employees);
            while faults.contains_key(&record) || words::quoted_name(record).is_some() {
                record = 1 + random.below(self.employees);
            }
            faults.insert(record, fault);
        }
        faults
    }

    /// Writes `departments.csv`, `jobs.csv` and `hired_employees.csv` into `dir`, which must exist. They
    /// have no header; their columns are `id,department`, `id,job` and
    /// `id,name,datetime,department_id,job_id`. Ids ascend from 1.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or there are no departments or no jobs.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        if self.departments == 0 || self.jobs == 0 {
            let message = "employees need at least one department and one job";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.names(&dir.join("departments.csv"), self.departments, words::department)?;
        self.names(&dir.join("jobs.csv"), self.jobs, words::job)?;
        self.hired_employees(&dir.join("hired_employees.csv"))
    }

    /// Writes a file of ids and names.
    fn names(&self, path: &Path, rows: u32, name: impl Fn(u32) -> String) -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for id in 1..=rows {
            let is_cut = self.is_example && id == rows;
            write!(file, "{id},{}{}", name(id - 1), if is_cut { "" } else { self.line_ending() })?;
        }
        file.flush()
    }

    fn hired_employees(&self, path: &Path) -> io::Result<()> {
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?);
        let mut random = Random(self.seed);
        let faults = self.faults();
        let rejects_per_million = match self.is_example {
            true => 0,
            false => (self.rejects_percent.clamp(0.0, 100.0) * 10_000.0).round() as u64,
        };
        for id in 1..=self.employees {
            let mut fields = self.employee(id, &mut random);
            if rejects_per_million > 0 && random.below(1_000_000) < rejects_per_million {
                fields[random.below(5) as usize].clear();
            } else if let Some(fault) = faults.get(&id) {
                fault.spoil(&mut fields);
            } else if let Some(name) = words::quoted_name(id).filter(|_| self.is_example) {
                fields[1] = name.to_owned();
            }
            write!(file, "{}{}", fields.join(","), self.line_ending())?;
        }
        file.flush()
    }

    /// The fields of an employee without a fault.
    fn employee(&self, id: u64, random: &mut Random) -> Vec<String> {
        let name = random.below((FIRST_NAMES.len() * LAST_NAMES.len()) as u64) as usize;
        let hired = UNIX_EPOCH + Duration::from_secs(SECOND_FIRST + random.below(SECONDS));
        vec![
            id.to_string(),
            format!("{} {}", FIRST_NAMES[name % FIRST_NAMES.len()], LAST_NAMES[name / FIRST_NAMES.len()]),
            humantime::format_rfc3339_seconds(hired).to_string(),
            (1 + random.below(self.departments.into())).to_string(),
            (1 + random.below(self.jobs.into())).to_string(),
        ]
    }

    fn line_ending(&self) -> &'static str {
        if self.is_example { "\r\n" } else { "\n" }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and the same on every platform. It holds its state, at first
/// the seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, from 0.
    fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }
}
