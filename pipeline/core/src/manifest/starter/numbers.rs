//! Numbers as people write them: with thousands separators, decimal commas, currencies.

use super::column::Meaning;
use crate::manifest::{Kind, is_decimal};

/// How the numbers of a column are written, counted over its values.
#[derive(Debug, Default)]
pub(super) struct NumberStyles {
    /// Numbers by their notation.
    counts: [u64; 6],
    /// Of the plain ones, those with a fraction.
    plain_fractions: u64,
    /// Of the plain ones, those like `1.234`, where the point may separate thousands.
    point_and_three: u64,
    /// A decimal comma, with blanks between thousands or without.
    decimal_comma: u64,
    /// Of all numbers, those with a fraction in every reading.
    fractions: u64,
    /// With a currency, a percent sign, parentheses, or blanks around the number.
    decorated: u64,
    /// The value that best shows what is unusual.
    example: Option<String>,
}

/// How a number is written, without what surrounds it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    /// As the manifest's types read it.
    Plain,
    /// Like `1,044`: the comma separates thousands or decimals.
    CommaAndThree,
    /// Like `12,5`: a decimal comma and no separator.
    DecimalComma,
    /// Like `1.234,56` or `1.234.567`.
    GroupedByPoint,
    /// Like `1,234.5` or `1,234,567`.
    GroupedByComma,
    /// Like `1 234` or `1'234`.
    GroupedOtherwise,
}

impl NumberStyles {
    /// Counts a value if it is a number in any notation.
    pub(super) fn observe(&mut self, value: &str) {
        let bare = undecorated(value);
        let Some((notation, fraction)) = notation(bare) else { return };
        let is_plain = notation == Notation::Plain;
        let is_decorated = bare.len() != value.len();
        let is_grouped_otherwise = notation == Notation::GroupedOtherwise;
        let has_decimal_comma =
            notation == Notation::DecimalComma || (is_grouped_otherwise && bare.contains(','));
        self.counts[notation as usize] += 1;
        self.plain_fractions += u64::from(is_plain && fraction);
        self.point_and_three += u64::from(is_plain && is_point_and_three(bare));
        self.decimal_comma += u64::from(has_decimal_comma);
        self.fractions += u64::from(fraction);
        self.decorated += u64::from(is_decorated);
        let is_better = self.example.as_ref().is_none_or(|example| example.len() < value.len());
        if (is_decorated || !is_plain) && is_better {
            self.example = Some(value.to_owned());
        }
    }

    fn count(&self, notation: Notation) -> u64 {
        self.counts[notation as usize]
    }

    /// The meaning of the numbers of a column with `filled` values. `None` if the manifest's types read them as they
    /// are meant.
    pub(super) fn meaning(&self, filled: u64, delimiter: u8) -> Option<Meaning> {
        let marked = self.marked();
        let unusual = marked.max(self.decorated);
        let all = self.count(Notation::Plain) + marked;
        let is_meant = unusual > 0 && (unusual * 100 > filled || self.point_and_three > 0);
        let grouped_by_point = self.count(Notation::GroupedByPoint);
        let comma_and_three = self.count(Notation::CommaAndThree);
        let by_point = grouped_by_point + self.decimal_comma > 0;
        if all * 10 < filled * 9 || filled == 0 {
            return None;
        }
        if !is_meant {
            return self.thousands_or_fractions(delimiter);
        }
        let comma_is_thousands = self.count(Notation::GroupedByComma) > 0
            || (comma_and_three > 0 && !by_point && (self.plain_fractions > 0 || delimiter == b','));
        let (how, fractions, sure) = match (comma_is_thousands && self.comma_marks() > 0, by_point) {
            (true, true) => ("\",\" and \".\" both between thousands and before decimals", true, false),
            (true, false) => ("thousands \",\"", self.fractions > 0, true),
            (false, true) if grouped_by_point + self.point_and_three > 0 => {
                ("decimal \",\", thousands \".\"", true, true)
            }
            (false, true) => ("decimal \",\"", true, true),
            (false, false) if comma_and_three > 0 => {
                ("\",\" before three digits: thousands, or decimals", true, false)
            }
            (false, false) if self.count(Notation::GroupedOtherwise) > 0 => {
                ("marks between thousands", self.fractions > 0, true)
            }
            (false, false) => ("signs or blanks around them", self.fractions > 0, true),
        };
        let kind =
            if fractions && self.fractions + comma_and_three > 0 { Kind::NUMERIC } else { Kind::Integer };
        Some(Meaning { kind, how: how.to_owned(), example: self.example.clone().unwrap_or_default(), sure })
    }

    /// In a file with semicolons `1.234` is ambiguous, because such files often have decimal commas: it is a
    /// fraction, or thousands.
    fn thousands_or_fractions(&self, delimiter: u8) -> Option<Meaning> {
        let all_alike = self.point_and_three > 0 && self.point_and_three == self.plain_fractions;
        (delimiter == b';' && all_alike && self.marked() == 0).then(|| Meaning {
            kind: Kind::NUMERIC,
            how: "\".\" before three digits: thousands, or decimals".into(),
            example: String::new(),
            sure: false,
        })
    }

    fn marked(&self) -> u64 {
        let others = self.decimal_comma.max(self.count(Notation::GroupedOtherwise));
        self.comma_marks() + self.count(Notation::GroupedByPoint) + others
    }

    fn comma_marks(&self) -> u64 {
        self.count(Notation::CommaAndThree) + self.count(Notation::GroupedByComma)
    }
}

/// What people write around numbers, besides blanks.
const AROUND: [&str; 14] =
    ["US$", "USD", "EUR", "GBP", "CHF", "Rs.", "kr", "R$", "$", "€", "£", "¥", "₹", "%"];

fn undecorated(value: &str) -> &str {
    let mut bare = value.trim();
    if let Some(inner) = bare.strip_prefix('(').and_then(|bare| bare.strip_suffix(')')) {
        bare = inner.trim();
    }
    for sign in AROUND {
        let before = bare.strip_prefix(sign).or_else(|| bare.strip_suffix(sign));
        if let Some(inner) = before {
            return inner.trim();
        }
    }
    bare
}

/// The notation of a number, and whether it has a fraction in every reading.
fn notation(bare: &str) -> Option<(Notation, bool)> {
    if !bare.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if is_decimal(bare) {
        return Some((Notation::Plain, bare.contains(['.', 'e', 'E'])));
    }
    let bare = bare.trim_start_matches(['-', '+', '−']).trim_end_matches('-');
    if let Some(blank) = bare.chars().find(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’')) {
        let (whole, part) = bare.rsplit_once([',', '.']).unwrap_or((bare, ""));
        let fits = is_grouped(whole, blank) && (part.is_empty() || is_digits(part));
        return fits.then_some((Notation::GroupedOtherwise, !part.is_empty()));
    }
    let (commas, points) = (bare.matches(',').count(), bare.matches('.').count());
    match (commas, points) {
        (1, 0) => {
            let (whole, part) = bare.split_once(',')?;
            if !is_digits(part) || !(whole.is_empty() || is_digits(whole)) {
                return None;
            }
            let groups = part.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            Some(if groups { (Notation::CommaAndThree, false) } else { (Notation::DecimalComma, true) })
        }
        (_, 0) => is_grouped(bare, ',').then_some((Notation::GroupedByComma, false)),
        (0, _) => is_grouped(bare, '.').then_some((Notation::GroupedByPoint, false)),
        (_, 1) if bare.rfind('.') > bare.rfind(',') => {
            let (whole, part) = bare.split_once('.')?;
            (is_grouped(whole, ',') && is_digits(part)).then_some((Notation::GroupedByComma, true))
        }
        (1, _) => {
            let (whole, part) = bare.split_once(',')?;
            (is_grouped(whole, '.') && is_digits(part)).then_some((Notation::GroupedByPoint, true))
        }
        _ => None,
    }
}

/// Whether a plain number is like `1.234`.
fn is_point_and_three(bare: &str) -> bool {
    bare.trim_start_matches(['-', '+']).split_once('.').is_some_and(|(whole, part)| {
        (1..=3).contains(&whole.len()) && !whole.starts_with('0') && is_digits(part) && part.len() == 3
    })
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether digits are in groups of three, separated by `mark` at least once.
fn is_grouped(text: &str, mark: char) -> bool {
    let mut groups = text.split(mark);
    let first = groups.next().is_some_and(|first| is_digits(first) && first.len() <= 3);
    let rest: Vec<&str> = groups.collect();
    first && !rest.is_empty() && rest.iter().all(|group| group.len() == 3 && is_digits(group))
}
