//! The dialects of a seed: for each dataset what its files look like, as settings of the manifest.

use fastrand::Rng;

use crate::files::{AREAS, DATASETS, JOBS, SHOPS};
use crate::model::{EMPTY_TEXT, Flaw};

/// How the files of a dataset are written.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) delimiter: &'static str,
    /// Whether a backslash takes its special meaning from the next byte.
    pub(crate) escape: bool,
    /// Whether blanks around fields are no part of them.
    pub(crate) trim: bool,
    /// Whether files without a byte order mark are Latin-1.
    pub(crate) latin1: bool,
    /// How many lines of a title come first.
    pub(crate) titles: usize,
    /// Whether lines that begin with `#` are no records.
    pub(crate) comments: bool,
    /// Whether lines like `(12 rows)` are no records.
    pub(crate) footers: bool,
    /// Whether lines that begin with `~` are of another kind.
    pub(crate) other_kinds: bool,
    /// The texts that mean missing, besides the empty field.
    pub(crate) null: &'static [&'static str],
    /// Whether missing fields at the end of a line are missing values.
    pub(crate) pads: bool,
    /// Columns behind those of the manifest, in this order.
    pub(crate) extras: Vec<Extra>,
}

/// A column that a dialect adds to its dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    /// A date, day first.
    Since,
    /// A number with a decimal comma.
    Price,
    /// A text with a default.
    Country,
    /// A text that may be empty.
    Remark,
    /// A part of the file's name. The last one, because no field belongs to it.
    Origin,
}

impl Extra {
    const ALL: [Self; 5] = [Self::Since, Self::Price, Self::Country, Self::Remark, Self::Origin];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Since => "since",
            Self::Price => "price",
            Self::Country => "country",
            Self::Remark => "remark",
            Self::Origin => "origin",
        }
    }

    fn settings(self, flaw: Option<Flaw>) -> &'static str {
        match self {
            Self::Since if flaw == Some(Flaw::MonthFirst) => {
                r#"{type: date, format: "%m/%d/%Y", optional: true}"#
            }
            Self::Since => r#"{type: date, format: "%d/%m/%Y", optional: true}"#,
            Self::Price => r#"{type: numeric, decimal: ",", thousands: ".", optional: true}"#,
            Self::Country if flaw == Some(Flaw::DefaultUnapplied) => "{type: text, optional: true}",
            Self::Country => "{type: text, default: CO}",
            Self::Remark => "{type: text, empty: text, optional: true}",
            Self::Origin => r#"{type: text, from_path: "-(\\d+)"}"#,
        }
    }

    /// The value of a missing field.
    pub(crate) fn value_of_missing(self) -> &'static str {
        if self == Self::Country { "CO" } else { "" }
    }

    /// A value that is there, and how a file has it, before quotes.
    pub(crate) fn some(self, rng: &mut Rng) -> (String, String) {
        match self {
            Self::Since => {
                let (day, month) = (rng.u8(1..=28), rng.u8(1..=12));
                (format!("2021-{month:02}-{day:02}"), format!("{day:02}/{month:02}/2021"))
            }
            Self::Price => {
                let (thousands, rest, cents) = (rng.u32(1..10), rng.u32(0..1000), rng.u32(0..100));
                (format!("{thousands}{rest:03}.{cents:02}"), format!("{thousands}.{rest:03},{cents:02}"))
            }
            Self::Country => ("PE".to_owned(), "PE".to_owned()),
            Self::Remark if rng.bool() => (EMPTY_TEXT.to_owned(), String::new()),
            Self::Remark | Self::Origin => ("so so".to_owned(), "so so".to_owned()),
        }
    }
}

impl Dialect {
    /// That of the manifest itself.
    fn standard(dataset: usize) -> Self {
        Self {
            delimiter: if dataset == JOBS { ";" } else { "," },
            escape: false,
            trim: false,
            latin1: false,
            titles: 0,
            comments: false,
            footers: false,
            other_kinds: false,
            null: &[],
            pads: false,
            extras: Vec::new(),
        }
    }

    fn some(rng: &mut Rng, dataset: usize) -> Self {
        let standard = Self::standard(dataset);
        let mut some = |of: u8| rng.u8(0..of) == 0;
        let (escape, trim, latin1, pads) = (some(4), some(4), some(5), some(3));
        let other_kinds = some(3);
        let (comments, footers, has_null) = (some(2), some(3), some(2));
        let extras = Extra::ALL.into_iter().filter(|_| some(3)).collect();
        let delimiter = match dataset {
            JOBS => standard.delimiter,
            _ => [",", ",", ";", "\t", "||"][rng.usize(0..5)],
        };
        let titles = [0, 0, 1, 3][rng.usize(0..4)];
        let null: &[&str] = if has_null { &["NULL", "NA"] } else { &[] };
        Self { delimiter, escape, trim, latin1, titles, comments, footers, other_kinds, null, pads, extras }
    }

    /// The settings of `csv`, each behind a comma.
    fn settings(&self, dataset: usize, flaw: Option<Flaw>) -> String {
        let standard = Self::standard(dataset);
        let null: Vec<&str> = match flaw {
            Some(Flaw::SecondNullIsValue) => self.null.iter().copied().take(1).collect(),
            _ => self.null.to_vec(),
        };
        let settings = [
            (self.delimiter != standard.delimiter).then(|| format!("delimiter: {:?}", self.delimiter)),
            self.escape.then(|| r#"escape: "\\""#.to_owned()),
            self.trim.then(|| "trim: true".to_owned()),
            self.latin1.then(|| "encoding: latin1".to_owned()),
            (self.titles > 0).then(|| format!("skip_lines: {}", self.titles)),
            (self.comments && flaw != Some(Flaw::CommentsNumbered)).then(|| r##"comment: "#""##.to_owned()),
            self.footers.then(|| r#"skip: "^\\(\\d+ rows\\)$""#.to_owned()),
            self.other_kinds.then(|| r#"record: "^[^~]""#.to_owned()),
            (!null.is_empty()).then(|| format!("null: {null:?}")),
            self.pads.then(|| "short_rows: pad".to_owned()),
        ];
        settings.into_iter().flatten().map(|setting| format!(", {setting}")).collect()
    }
}

/// The dialects of all datasets.
#[derive(Clone, Debug)]
pub(crate) struct Dialects([Dialect; DATASETS.len()]);

impl Dialects {
    /// In a third of the seeds all files are as RFC 4180 has them.
    pub(crate) fn some(rng: &mut Rng) -> Self {
        let is_standard = rng.u8(0..3) == 0;
        let mut dialects = std::array::from_fn(|dataset| match is_standard {
            true => Dialect::standard(dataset),
            false => Dialect::some(rng, dataset),
        });
        // They share a table.
        dialects[SHOPS].extras = dialects[AREAS].extras.clone();
        Self(dialects)
    }

    pub(crate) fn of(&self, dataset: usize) -> &Dialect {
        &self.0[dataset]
    }

    /// A manifest whose files are in these dialects, where the given one knows nothing of them.
    pub(crate) fn apply(&self, manifest: &str, flaw: Option<Flaw>) -> String {
        let (mut text, mut within) = (String::new(), None);
        let mut lines = manifest.lines().peekable();
        while let Some(line) = lines.next() {
            let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
            within = DATASETS.iter().position(|dataset| Some(*dataset) == name).or(within);
            let Some((dataset, dialect)) = within.map(|dataset| (dataset, self.of(dataset))) else {
                text += &format!("{line}\n");
                continue;
            };
            let settings = dialect.settings(dataset, flaw);
            let columns = dialect.extras.iter().map(|extra| (extra.name(), extra.settings(flaw)));
            let inline = || columns.clone().map(|(name, column)| format!(", {name}: {column}"));
            match line.strip_suffix('}') {
                Some(csv) if line.starts_with("    csv: {") => text += &format!("{csv}{settings}}}\n"),
                Some(inner) if line.starts_with("    columns: {") => {
                    text += &format!("{inner}{}}}\n", inline().collect::<String>());
                }
                _ => text += &format!("{line}\n"),
            }
            // In a block, columns follow the last one.
            let is_column = |line: &str| line.starts_with("      ");
            if is_column(line) && !lines.peek().is_some_and(|next| is_column(next)) {
                columns.for_each(|(name, column)| text += &format!("      {name}: {column}\n"));
            }
        }
        text
    }
}
