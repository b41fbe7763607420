//! Lines that are no records: comments, rules between header and rows, footers, and records of another kind.

use std::collections::BTreeMap;

use tidegate_core::split::Fields;
use tidegate_core::syntax::{Delimiter, Dialect, Pattern};

use super::division::{Division, each_record};

/// How comments may begin.
const COMMENTS: [&str; 4] = ["#", "--", "//", "%"];

/// A rule of dashes, as between the header and the rows of a table for people.
const RULE: &str = "^[-=+| ]*-{3}[-=+| ]*$";

/// How the first field of a line of sums may begin, in lower case.
const SUMS: [&str; 8] = ["total", "grand total", "subtotal", "sum", "summe", "gesamt", "suma", "somme"];

/// The longest footer for which a pattern is written, in bytes.
const FOOTER_BYTES_MAX: usize = 120;

/// The lines of a text that are no records, as settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OddLines {
    /// How comments begin.
    pub(super) comment: Option<String>,
    /// Patterns of lines that are no records.
    pub(super) skip: Vec<Pattern>,
    /// The pattern of records, if there are lines of several kinds.
    pub(super) record: Option<Pattern>,
    /// What the patterns were found by.
    pub(super) evidence: Vec<String>,
    /// What may be a record after all.
    pub(super) doubts: Vec<String>,
}

impl OddLines {
    /// Whether a line is no record.
    pub(super) fn leaves_out(&self, line: &[u8]) -> bool {
        self.comment.as_ref().is_some_and(|comment| line.starts_with(comment.as_bytes()))
            || self.skip.iter().any(|pattern| pattern.is_match(line))
            || self.record.as_ref().is_some_and(|pattern| !pattern.is_match(line))
    }

    fn skip(&mut self, pattern: &str) {
        let is_new = self.skip.iter().all(|known| known.as_str() != pattern);
        self.skip.extend(Pattern::new(pattern).ok().filter(|_| is_new));
    }
}

/// Finds the lines of a text that are no records.
pub(super) fn find(text: &[u8], division: &Division, whole: bool) -> OddLines {
    let mut odd = OddLines::default();
    if division.width < 2 {
        return odd;
    }
    if let Some(record) = kind(text, division, whole) {
        odd.evidence.push(format!("lines are of several kinds; those of rows match {record}"));
        odd.record = Pattern::new(&record).ok();
        return odd;
    }
    odd.comment = comment(text, division, whole).map(str::to_owned);
    if let Some(comment) = &odd.comment {
        odd.evidence.push(format!("lines that begin with \"{comment}\" are comments"));
    }
    if division.first.iter().any(|record| is_rule(&text[record.place.clone()])) {
        odd.skip(RULE);
        odd.evidence.push("a line of dashes is no row".into());
    }
    footers(text, division, &mut odd);
    odd
}

/// Whether a line is a rule of dashes. See [`RULE`].
fn is_rule(line: &[u8]) -> bool {
    line.iter().all(|byte| b"-=+| ".contains(byte)) && memchr::memmem::find(line, b"---").is_some()
}

/// How comments begin: no line that begins so is like the others.
fn comment(text: &[u8], division: &Division, whole: bool) -> Option<&'static str> {
    let mut counts = [(0, 0); COMMENTS.len()];
    let mut fields = Fields::default();
    each_record(text, &division.dialect, whole, |place, _| {
        let record = &text[place];
        for ((all, unlike), comment) in counts.iter_mut().zip(COMMENTS) {
            if record.starts_with(comment.as_bytes()) && !is_rule(record) {
                let width = fields.split(record, &division.dialect).map_or(0, |()| fields.len());
                *all += 1;
                *unlike += usize::from(width != division.width);
            }
        }
    });
    let found = counts.iter().zip(COMMENTS).find(|((all, unlike), _)| *all > 0 && all == unlike);
    found.map(|(_, comment)| comment)
}

/// The pattern of the rows, if the first line and others have another first field and another number of fields: a
/// header, details and a trailer.
pub(super) fn kind(text: &[u8], division: &Division, whole: bool) -> Option<String> {
    let delimiter = match &division.dialect.delimiter {
        Delimiter::Byte(byte) => char::from(*byte).to_string(),
        Delimiter::Text(text) => text.clone(),
        Delimiter::Whitespace | Delimiter::Widths(_) => return None,
    };
    let mut kinds: BTreeMap<Vec<u8>, (usize, Vec<usize>)> = BTreeMap::new();
    let mut fields = Fields::default();
    let mut fits = true;
    each_record(text, &division.dialect, whole, |place, _| {
        let record = &text[place];
        fits &= fields.split(record, &division.dialect).is_ok();
        let kind = if fits { fields.get(0, record) } else { b"" };
        fits &=
            (1..=3).contains(&kind.len()) && kind.iter().all(u8::is_ascii_alphanumeric) && kinds.len() <= 5;
        if fits {
            let (count, widths) = kinds.entry(kind.to_vec()).or_default();
            *count += 1;
            if !widths.contains(&fields.len()) {
                widths.push(fields.len());
            }
        }
    });
    if !fits || kinds.len() < 2 {
        return None;
    }
    let (rows, (count, widths)) = kinds.iter().max_by_key(|(_, (count, _))| *count)?;
    let others = || kinds.iter().filter(|(kind, _)| *kind != rows);
    let first = division.first.first()?;
    let is_other = !text[first.place.clone()].starts_with(rows);
    let is_unlike = others().all(|(_, (count, others))| *count == 1 && others != widths);
    let rows = std::str::from_utf8(rows).ok()?;
    (*count > 1 && is_other && is_unlike && widths.len() == 1)
        .then(|| format!("^{}", escaped(&format!("{rows}{delimiter}"))))
}

/// Finds the last lines that are no rows.
fn footers(text: &[u8], division: &Division, odd: &mut OddLines) {
    for record in division.last.iter().rev() {
        let is_first = division.first.first().is_some_and(|first| first.place == record.place);
        let bytes = &text[record.place.clone()];
        let Ok(line) = std::str::from_utf8(bytes) else { return };
        let is_comment = odd.comment.as_ref().is_some_and(|comment| line.starts_with(comment.as_str()));
        if is_first {
            return;
        }
        if is_comment || is_rule(bytes) {
            continue;
        }
        let pattern = if let Some(sum) = sum(line, &division.dialect) {
            odd.doubts
                .push(format!("a last line begins with \"{sum}\": it is taken for a sum, and not for a row"));
            format!("^\"?{}\\b", escaped(sum))
        } else if record.width == division.width || line.len() > FOOTER_BYTES_MAX || record.width > 1 {
            return;
        } else {
            odd.evidence.push(format!("the last line \"{line}\" is no row"));
            footer_pattern(line)
        };
        odd.skip(&pattern);
    }
}

/// The word with which a line of sums begins.
fn sum<'a>(line: &'a str, dialect: &Dialect) -> Option<&'a str> {
    let first = line.trim_start_matches(['"', ' ']);
    let delimiter = if let Delimiter::Byte(byte) = dialect.delimiter { char::from(byte) } else { '"' };
    let end = first.find([delimiter, '"', ':']).unwrap_or(first.len());
    let word = first[..end].trim_end();
    SUMS.contains(&word.to_lowercase().as_str()).then_some(word)
}

/// A pattern of lines like this one, with any numbers in it.
fn footer_pattern(line: &str) -> String {
    let mut pattern = String::from("^");
    let mut digits = false;
    for c in line.chars() {
        if !c.is_ascii_digit() {
            pattern.push_str(&escaped(c.encode_utf8(&mut [0; 4])));
        } else if !digits {
            pattern.push_str("\\d+");
        }
        digits = c.is_ascii_digit();
    }
    pattern + "$"
}

/// The text as a regular expression of itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::new();
    for c in text.chars() {
        if "\\.+*?()|[]{}^$#&-~".contains(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
