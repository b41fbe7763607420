//! Files of any manifest: what a run gives out, and what the preview shows, is what was written.

use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::sample::select;
use tidegate_core::split::SkippedLines;
use tidegate_core::validate::{Scratch, Validators};
use tokio::runtime::Builder;

use super::Bench;
use super::preview::{ALL, previewed};

/// How the files of a manifest are written.
#[derive(Clone, Debug)]
struct Dialect {
    delimiter: &'static str,
    quote: Option<char>,
    escapes: bool,
    trim: bool,
    header: bool,
    titles: usize,
    null: &'static [&'static str],
    empty_is_text: bool,
    pads: bool,
    ending: &'static str,
}

fn dialect() -> impl Strategy<Value = Dialect> {
    let marks =
        (select(&[",", ";", "\t", "||", "→"][..]), select(&[Some('"'), Some('"'), Some('\''), None][..]));
    let null = (0..3_usize).prop_map(|count| &["NULL", "-"][..count]);
    let ending = select(&["\n", "\r\n"][..]);
    let flags = (any::<[bool; 5]>(), 0..3_usize);
    (marks, null, ending, flags).prop_map(|((delimiter, quote), null, ending, (flags, titles))| {
        let [escapes, trim, header, empty_is_text, pads] = flags;
        // Without quotes every empty field would be an empty text.
        let empty_is_text = empty_is_text && quote.is_some();
        Dialect { delimiter, quote, escapes, trim, header, titles, null, empty_is_text, pads, ending }
    })
}

impl Dialect {
    fn manifest(&self) -> String {
        let Self { delimiter, quote, escapes, trim, header, titles, null, empty_is_text, pads, .. } = self;
        let quote = quote.map_or("none".to_owned(), |quote| quote.to_string());
        let mut csv = format!("delimiter: {delimiter:?}, quote: {quote:?}, header: {header}, trim: {trim}");
        if *titles > 0 {
            write!(csv, ", skip_lines: {titles}").unwrap();
        }
        write!(csv, ", comment: \"#\", skip: \"^\\\\(\\\\d+ rows\\\\)$\"").unwrap();
        write!(csv, ", short_rows: {}", if *pads { "pad" } else { "reject" }).unwrap();
        write!(csv, ", empty: {}", if *empty_is_text { "text" } else { "null" }).unwrap();
        if !null.is_empty() {
            write!(csv, ", null: {null:?}").unwrap();
        }
        if *escapes {
            csv.push_str(", escape: \"\\\\\"");
        }
        format!(
            "
pipeline: test
stable_for: 0s
datasets:
  people:
    key: id
    csv: {{{csv}}}
    columns:
      id: integer
      name: {{type: text, optional: true}}
      born: {{type: date, format: \"%d/%m/%Y\", optional: true}}
      price: {{type: numeric, decimal: \",\", thousands: \".\", optional: true}}
      country: {{type: text, default: CO}}
      year: {{type: integer, from_path: \"-(\\\\d+)\"}}
"
        )
    }

    /// A text as a field; `None` if nothing in this dialect can say it.
    fn field(&self, text: &str) -> Option<String> {
        let special =
            |char: char| self.delimiter.contains(char) || self.quote == Some(char) || "\n\r".contains(char);
        let is_escape = |char: char| self.escapes && char == '\\';
        let ends_blank = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
        let begins_otherwise = text.starts_with(['#', '(']);
        let is_other = text.is_empty() || ends_blank || begins_otherwise || self.null.contains(&text);
        if !is_other && !text.contains(|char| special(char) || is_escape(char)) {
            return Some(text.to_owned());
        }
        let escaped = |must: &dyn Fn(char) -> bool| {
            text.chars().fold(String::new(), |field, char| match must(char) {
                true => field + "\\" + &char.to_string(),
                false => field + &char.to_string(),
            })
        };
        match self.quote {
            Some(quote) if self.escapes => {
                let inner = escaped(&|char| is_escape(char) || char == quote);
                Some(format!("{quote}{inner}{quote}"))
            }
            Some(quote) => {
                let doubled = quote.to_string().repeat(2);
                Some(format!("{quote}{}{quote}", text.replace(quote, &doubled)))
            }
            // An escape is for a byte, and a character may have several.
            None if self.escapes && !is_other && self.delimiter.is_ascii() && !text.contains('\r') => {
                Some(escaped(&|char| special(char) || is_escape(char)))
            }
            None => None,
        }
    }
}

/// A row as it is meant. The values have their canonical form.
#[derive(Clone, Debug)]
struct Person {
    /// Whether the number is none.
    is_wrong: bool,
    name: Option<String>,
    born: Option<(u8, u8)>,
    cents: Option<u32>,
    country: Option<&'static str>,
    /// Which of the texts that mean missing is written, and what stands behind the line.
    marker: usize,
    behind: Behind,
}

#[derive(Clone, Copy, Debug)]
enum Behind {
    Nothing,
    Blank,
    Comment,
    Footer,
    Header,
}

fn person() -> impl Strategy<Value = Person> {
    let word = select(
        &[
            "a", "Ann", " ", "\t", ",", ";", "|", "||", "→", "\"", "'", "\\", "\n", "\r\n", "é", "#", "-",
            "NULL",
        ][..],
    );
    let name = proptest::option::of(proptest::collection::vec(word, 0..5).prop_map(|words| words.concat()));
    let born = proptest::option::of((1..=28_u8, 1..=12_u8));
    let behind = select(
        &[Behind::Nothing, Behind::Nothing, Behind::Blank, Behind::Comment, Behind::Footer, Behind::Header][..],
    );
    let rest = (select(&[None, Some("PE")][..]), 0..4_usize, behind);
    (proptest::bool::weighted(0.2), name, born, proptest::option::of(0..9_999_999_u32), rest).prop_map(
        |(is_wrong, name, born, cents, (country, marker, behind))| Person {
            is_wrong,
            name,
            born,
            cents,
            country,
            marker,
            behind,
        },
    )
}

/// A file, and what it means.
#[derive(Debug, Default)]
struct Meant {
    text: String,
    /// The values of each record, by column; `None` if it is to be rejected.
    records: Vec<Option<Vec<Option<String>>>>,
    skipped: SkippedLines,
}

impl Meant {
    fn new(dialect: &Dialect, people: &[Person]) -> Self {
        let mut meant = Self::default();
        for _ in 0..dialect.titles {
            meant.push("A \"title", dialect);
            meant.skipped.before_header += 1;
        }
        let header = ["id", "name", "born", "price", "country"].join(dialect.delimiter);
        if dialect.header {
            meant.push(&header, dialect);
            meant.skipped.header += 1;
        }
        for (index, person) in people.iter().enumerate() {
            meant.person(index + 1, person, dialect);
            let (line, count) = match person.behind {
                Behind::Blank => ("", &mut meant.skipped.blank),
                Behind::Comment => ("# it's \"so", &mut meant.skipped.comment),
                Behind::Footer => ("(12 rows)", &mut meant.skipped.pattern),
                Behind::Header if dialect.header => (&header[..], &mut meant.skipped.header),
                Behind::Nothing | Behind::Header => continue,
            };
            *count += 1;
            meant.push(line, dialect);
        }
        meant
    }

    fn push(&mut self, line: &str, dialect: &Dialect) {
        self.text.push_str(line);
        self.text.push_str(dialect.ending);
    }

    fn person(&mut self, id: usize, person: &Person, dialect: &Dialect) {
        let missing = dialect.null.get(person.marker).copied().unwrap_or_default();
        // What the dialect cannot say is missing, and so may be an empty text.
        let name = person.name.as_deref().filter(|name| !name.is_empty() || dialect.empty_is_text);
        let name = name.and_then(|name| Some((name, dialect.field(name)?)));
        let price = person.cents.map(|cents| (cents / 100, cents % 100));
        let as_written = |(whole, cents): (u32, u32)| match whole {
            1000.. => format!("{}.{:03},{cents:02}", whole / 1000, whole % 1000),
            _ => format!("{whole},{cents:02}"),
        };
        let price = price.and_then(|price| Some((price, dialect.field(&as_written(price))?)));
        let mut fields = [
            Some(if person.is_wrong { "x".to_owned() } else { id.to_string() }),
            name.as_ref().map(|(_, field)| field.clone()),
            person.born.map(|(day, month)| format!("{day:02}/{month:02}/2021")),
            price.as_ref().map(|(_, field)| field.clone()),
            person.country.map(str::to_owned),
        ]
        .to_vec();
        while dialect.pads && fields.pop_if(|field| field.is_none()).is_some() {}
        let blank = if dialect.trim && dialect.delimiter != "\t" { " " } else { "" };
        let field = |field: Option<String>| format!("{blank}{}{blank}", field.as_deref().unwrap_or(missing));
        let fields: Vec<String> = fields.into_iter().map(field).collect();
        let line = fields.join(dialect.delimiter);
        self.skipped.continuation += line.matches('\n').count() as u64;
        self.push(&line, dialect);
        let values = vec![
            Some(id.to_string()),
            name.map(|(name, _)| name.to_owned()),
            person.born.map(|(day, month)| format!("2021-{month:02}-{day:02}")),
            price.map(|((whole, cents), _)| format!("{whole}.{cents:02}")),
            Some(person.country.unwrap_or("CO").to_owned()),
            Some("2024".to_owned()),
        ];
        self.records.push((!person.is_wrong).then_some(values));
    }
}

/// What the transform makes of the lines that a run gives out.
fn judged(bench: &Bench) -> Vec<Option<Vec<Option<String>>>> {
    let dataset = &bench.manifest.datasets[0];
    let (validators, mut scratch) = (Validators::new(dataset), Scratch::default());
    let mut judge = |((_, _, text), fingerprint): (&(u64, u64, String), &u32)| {
        let validator = validators.of(validators.form(*fingerprint).unwrap());
        let row = validator.check(text.as_bytes(), &mut scratch).ok()?;
        let value = |column| row.value(column).map(|value| String::from_utf8(value.to_vec()).unwrap());
        Some((0..dataset.columns.len()).map(value).collect())
    };
    bench.lines.iter().zip(&bench.fingerprints).map(&mut judge).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_run_and_the_preview_read_what_was_written(
        dialect in dialect(),
        people in proptest::collection::vec(person(), 0..12),
        block_bytes in 1..64_usize,
    ) {
        let meant = Meant::new(&dialect, &people);
        let lines = meant.records.len() as u64;
        prop_assert_eq!(meant.text.lines().count() as u64, lines + meant.skipped.total(), "{}", meant.text);
        let mut bench = Bench::with(&dialect.manifest());
        bench.cut_into(block_bytes);
        bench.drop_file("people-2024.csv", &meant.text);
        Builder::new_current_thread().enable_all().build().unwrap().block_on(bench.read(1));
        prop_assert_eq!(&bench.letters, &Vec::<serde_json::Value>::new());
        prop_assert_eq!(bench.numbers(), (1..=lines).collect::<Vec<_>>());
        prop_assert_eq!(judged(&bench), &meant.records[..], "{:?}", meant.text);
        let source = bench.memory.source(1);
        prop_assert_eq!((source.lines, source.skipped), (Some(lines), Some(meant.skipped)));

        let found = previewed(&bench.manifest, "people-2024.csv", meant.text.as_bytes(), ALL);
        let rows: Vec<_> = found.rows.iter().map(|row| Some(row.values.clone())).collect();
        let accepted: Vec<_> = meant.records.iter().filter(|record| record.is_some()).cloned().collect();
        prop_assert_eq!(&rows, &accepted);
        let counts = (found.accepted as usize, found.accepted + found.rejected, found.skipped);
        prop_assert_eq!(counts, (accepted.len(), lines, meant.skipped));
    }
}
