//! Detects the lines before the header, the delimiter between fields, and how fields are quoted.

use tidegate_core::split::SepLine;
use tidegate_core::syntax::{Delimiter, Dialect, Syntax};

use super::division::Division;
use super::fixed_width;
use super::odd_lines;

/// The possible delimiters, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Delimiters of several characters. They are found where their characters stand nowhere else.
const TEXTS: [&str; 10] = ["||", "|~|", "~|~", "|^|", "^|^", "::", ";;", "~~", "@@", "##"];

/// Delimiters that are tried if no other one divides the lines.
const RARE: [u8; 5] = [0x1f, 0x01, b'^', b'~', b':'];

/// If a larger share of fields has blanks around it, blanks mean nothing.
const PADDED_PERCENT: usize = 20;

/// The layout that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextLayout {
    /// Without its encoding, and without the header, which the rows tell.
    pub(crate) syntax: Syntax,
    /// The number of fields that most records have.
    pub(crate) width: usize,
    /// What the settings were found by.
    pub(crate) evidence: Vec<String>,
    /// What may be wrong.
    pub(crate) doubts: Vec<String>,
}

/// Finds the dialect that divides the lines of a text most evenly. `whole` tells that the text was not cut off.
pub(crate) fn find(text: &str, whole: bool) -> TextLayout {
    let (told, start) = match SepLine::find(text.as_bytes(), &Dialect::STANDARD, true) {
        SepLine::Found { delimiter, length } => (Some(delimiter), length),
        SepLine::Absent | SepLine::Unknown => (None, 0),
    };
    let body = &text[start..];
    let mut evidence = Vec::new();
    let mut doubts = Vec::new();
    if let Some(delimiter) = told {
        evidence.push(format!("the first line names the delimiter: sep={}", char::from(delimiter)));
    }
    let mut best = match told {
        Some(delimiter) => best_of(body, &variants(body, Delimiter::Byte(delimiter)), whole),
        None => by_any(body, whole, &mut doubts),
    };
    if is_copy_text(body, &best) {
        let dialect = Dialect { quote: None, escape: Some(b'\\'), c_escapes: true, ..best.dialect.clone() };
        best = Division::of(body.as_bytes(), &dialect, whole, |_| false);
        evidence.push("a backslash begins escapes, as in the text format of Postgres's copy".into());
    } else if best.dialect.escape.is_some() {
        evidence.push("a backslash stands before quotes inside fields".into());
    }
    let odd = odd_lines::find(body.as_bytes(), &best, whole);
    best = Division::of(body.as_bytes(), &best.dialect, whole, |line| odd.leaves_out(line));
    if is_padded(&best) {
        let dialect = Dialect { trim: true, ..best.dialect.clone() };
        best = Division::of(body.as_bytes(), &dialect, whole, |line| odd.leaves_out(line));
    }
    if best.dialect.trim {
        evidence.push("blanks stand around fields".into());
    }
    let skip_lines = skip_lines(&best, u64::from(told.is_some()));
    if skip_lines > 0 {
        evidence.push(format!("{skip_lines} lines stand before the header, or before the first row"));
    }
    evidence.extend(odd.evidence);
    doubts.extend(odd.doubts);
    let syntax = Syntax {
        dialect: best.dialect.clone(),
        sep_line: told.is_some(),
        skip_lines,
        comment: odd.comment,
        skip: odd.skip,
        record: odd.record,
        ..Syntax::default()
    };
    TextLayout { syntax, width: best.width.max(1), evidence, doubts }
}

/// The number of physical lines before the first record that is like the others. `sep_lines` stand before the text.
fn skip_lines(division: &Division, sep_lines: u64) -> u32 {
    match division.first.get(division.begin()) {
        Some(record) if division.begin() > 0 => (record.line - 1 + sep_lines) as u32,
        _ => 0,
    }
}

/// The best division by any delimiter.
fn by_any(text: &str, whole: bool, doubts: &mut Vec<String>) -> Division {
    let several = TEXTS.iter().find(|delimiter| stands_alone(text, delimiter));
    if let Some(delimiter) = several {
        let found = best_of(text, &variants(text, Delimiter::Text((*delimiter).to_owned())), whole);
        if found.is_found() {
            return found;
        }
    }
    let usual: Vec<Dialect> =
        DELIMITERS.into_iter().flat_map(|delimiter| variants(text, Delimiter::Byte(delimiter))).collect();
    let best = best_of(text, &usual, whole);
    if best.is_found() && best.alike < best.records {
        let divisions = usual.iter().map(|dialect| Division::of(text.as_bytes(), dialect, whole, |_| false));
        let of_kinds = divisions.into_iter().find(|division| {
            division.width > 1 && odd_lines::kind(text.as_bytes(), division, whole).is_some()
        });
        return of_kinds.unwrap_or(best);
    }
    if best.is_found() {
        return best;
    }
    let rare: Vec<Dialect> =
        RARE.into_iter().flat_map(|delimiter| variants(text, Delimiter::Byte(delimiter))).collect();
    let is_even = |division: &Division| division.is_found() && division.alike == division.records;
    let found = best_of(text, &rare, whole);
    if is_even(&found) && found.records > 1 {
        return found;
    }
    let whitespace = Dialect { delimiter: Delimiter::Whitespace, ..Dialect::STANDARD };
    let found = Division::of(text.as_bytes(), &whitespace, whole, |_| false);
    let widths = fixed_width::find(text, whole);
    let has_more = widths.as_ref().is_some_and(|widths| widths.len() > found.width);
    if is_even(&found) && found.records > 1 && found.typed > 0 && !has_more {
        if widths.is_some() {
            let what = "fields are set apart by blanks; if one may hold a blank or be empty, give each column its \
                        place: at: 1..10";
            doubts.push(what.into());
        }
        return found;
    }
    if let Some(widths) = widths {
        doubts.push("fields seem to have fixed places in the line: check each 'at'".into());
        let dialect = Dialect { delimiter: Delimiter::Widths(widths), quote: None, ..Dialect::STANDARD };
        return Division::of(text.as_bytes(), &dialect, whole, |_| false);
    }
    best
}

/// The dialects with this delimiter that a text may be in, the likelier first.
fn variants(text: &str, delimiter: Delimiter) -> Vec<Dialect> {
    let plain = Dialect { delimiter, ..Dialect::STANDARD };
    let mut variants = vec![plain.clone()];
    let has_escapes = text.contains("\\\"");
    let has_blank_before_quote = text.contains(" \"") || text.contains("\t\"");
    let trims = !matches!(&plain.delimiter, Delimiter::Byte(b'\t'));
    if has_escapes {
        variants.push(Dialect { escape: Some(b'\\'), ..plain.clone() });
    }
    if has_blank_before_quote && trims {
        variants.push(Dialect { trim: true, ..plain.clone() });
    }
    if has_escapes && has_blank_before_quote && trims {
        variants.push(Dialect { escape: Some(b'\\'), trim: true, ..plain.clone() });
    }
    if !text.contains('"') && text.contains('\'') && is_quoted_by_apostrophes(text, &plain.delimiter) {
        variants.insert(0, Dialect { quote: Some(b'\''), ..plain });
    }
    variants
}

/// Whether most lines begin or end with an apostrophe that stands beside the delimiter.
fn is_quoted_by_apostrophes(text: &str, delimiter: &Delimiter) -> bool {
    let Delimiter::Byte(delimiter) = delimiter else { return false };
    let delimiter = char::from(*delimiter);
    let pair = [format!("'{delimiter}"), format!("{delimiter}'")];
    let lines = text.lines().skip(1).take(100);
    let quoted = lines.clone().filter(|line| pair.iter().any(|pair| line.contains(pair.as_str()))).count();
    quoted > 0 && quoted * 10 >= lines.count() * 9
}

fn best_of(text: &str, dialects: &[Dialect], whole: bool) -> Division {
    // Of equal ones the first is taken: the order is reversed, since `max_by_key` returns the last.
    let divisions = dialects.iter().map(|dialect| Division::of(text.as_bytes(), dialect, whole, |_| false));
    let best = divisions.rev().max_by_key(Division::rank);
    best.unwrap_or_else(|| Division::of(text.as_bytes(), &Dialect::STANDARD, whole, |_| false))
}

/// Whether a delimiter of several characters is in every line, and its characters stand nowhere else.
fn stands_alone(text: &str, delimiter: &str) -> bool {
    let lines = || text.lines().filter(|line| !line.is_empty()).take(1000);
    let first = delimiter.chars().next().unwrap_or_default();
    let in_delimiter = delimiter.matches(first).count();
    lines().count() > 0
        && lines().all(|line| {
            let count = line.matches(delimiter).count();
            count > 0 && line.matches(first).count() == count * in_delimiter
        })
}

/// Whether a text is as Postgres's `copy` and MySQL write it without quotes: a tab between fields, and a backslash
/// before `N`, for missing, or before the letters of escapes.
fn is_copy_text(text: &str, division: &Division) -> bool {
    let Delimiter::Byte(b'\t') = division.dialect.delimiter else { return false };
    let mut escapes = 0;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            match bytes.next() {
                Some(b'N' | b'n' | b't' | b'r' | b'b' | b'f' | b'v' | b'\\') => escapes += 1,
                _ => return false,
            }
        }
    }
    escapes > 0 && division.literal == 0
}

/// Whether so many fields have blanks around them that blanks mean nothing.
fn is_padded(division: &Division) -> bool {
    let Division { dialect, padded, fields, .. } = division;
    let can_trim = match &dialect.delimiter {
        Delimiter::Byte(byte) => !matches!(byte, b' ' | b'\t'),
        Delimiter::Text(_) => true,
        Delimiter::Whitespace | Delimiter::Widths(_) => false,
    };
    can_trim && !dialect.trim && padded * 100 >= fields * PADDED_PERCENT && *padded > 0
}
