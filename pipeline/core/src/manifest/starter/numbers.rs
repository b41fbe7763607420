//! Numbers as people write them: with thousands separators, decimal commas, currencies.

use super::column::Finding;
use super::notation::Notation;
use crate::manifest::{Kind, is_decimal};

/// How the numbers of a column are written, counted over its values.
#[derive(Debug, Default)]
pub(super) struct NumberStyles {
    /// Numbers by their form.
    counts: [u64; 6],
    /// Of the plain ones, those with a fraction.
    plain_fractions: u64,
    /// Of the plain ones, those like `1.234`, where the point may separate thousands.
    point_and_three: u64,
    /// A decimal comma, with blanks between thousands or without.
    decimal_comma: u64,
    /// Of all numbers, those with a fraction in every reading.
    fractions: u64,
    /// With anything around the number.
    decorated: u64,
    /// What stands around numbers, in the order of [`AROUND`].
    signs: [bool; AROUND.len()],
    accounting: bool,
    /// The mark between groups that is neither a comma nor a point.
    other_mark: Option<char>,
    /// The most digits that a number has.
    digits_max: usize,
    /// The value that best shows what is unusual.
    example: Option<String>,
}

/// How a number is written, without what surrounds it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NumberForm {
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
        let Decorated { bare, sign, accounting } = Decorated::of(value);
        let Some((form, fraction)) = form_of(bare) else { return };
        let is_plain = form == NumberForm::Plain;
        let is_decorated = bare.len() != value.len();
        let is_grouped_otherwise = form == NumberForm::GroupedOtherwise;
        let has_decimal_comma =
            form == NumberForm::DecimalComma || (is_grouped_otherwise && bare.contains(','));
        self.counts[form as usize] += 1;
        self.plain_fractions += u64::from(is_plain && fraction);
        self.point_and_three += u64::from(is_plain && is_point_and_three(bare));
        self.decimal_comma += u64::from(has_decimal_comma);
        self.fractions += u64::from(fraction);
        self.decorated += u64::from(is_decorated);
        if let Some(sign) = sign {
            self.signs[sign] = true;
        }
        self.accounting |= accounting;
        if is_grouped_otherwise {
            self.other_mark = self.other_mark.or_else(|| bare.chars().find(|c| is_other_mark(*c)));
        }
        self.digits_max = self.digits_max.max(bare.bytes().filter(u8::is_ascii_digit).count());
        let is_better = self.example.as_ref().is_none_or(|example| example.len() < value.len());
        if (is_decorated || !is_plain) && is_better {
            self.example = Some(value.to_owned());
        }
    }

    fn count(&self, form: NumberForm) -> u64 {
        self.counts[form as usize]
    }

    /// The meaning of the numbers of a column with `filled` values, as far as it can be told. `None` if the manifest's types
    /// read them as they are meant.
    pub(super) fn meaning(&self, filled: u64, delimiter: u8) -> Option<Finding> {
        let marked = self.marked();
        let unusual = marked.max(self.decorated);
        let all = self.count(NumberForm::Plain) + marked;
        let is_meant = unusual > 0 && (unusual * 100 > filled || self.point_and_three > 0);
        if all * 10 < filled * 9 || filled == 0 {
            return None;
        }
        if !is_meant {
            return self.thousands_or_fractions(delimiter, filled);
        }
        let (decimal, thousands) = match self.marks(delimiter) {
            Ok(marks) => marks,
            Err(how) => return Some(self.unsure(how, filled)),
        };
        let strip = AROUND.iter().zip(self.signs).filter(|(_, is)| *is).map(|(sign, _)| (*sign).to_owned());
        let notation = Notation {
            decimal,
            thousands,
            strip: strip.collect(),
            accounting: self.accounting,
            ..Notation::default()
        };
        // Where a comma stands before decimals, points before three digits stand between thousands.
        let points = if decimal == Some(',') { self.point_and_three } else { 0 };
        let has_fractions =
            self.fractions > points || self.count(NumberForm::CommaAndThree) > 0 && decimal == Some(',');
        let kind = match self.digits_max {
            _ if has_fractions => Kind::NUMERIC,
            0..=9 => Kind::Integer,
            10..=18 => Kind::BigInt,
            _ => Kind::NUMERIC,
        };
        // A point before decimals does not fit where a comma has that meaning.
        let unlike = if decimal == Some(',') { self.plain_fractions - self.point_and_three } else { 0 };
        let example = self.example.clone().unwrap_or_default();
        Some(Finding { kind, fitting: all.min(filled) - unlike, notation, example, doubt: None })
    }

    /// The marks before decimals and between thousands, or what cannot be told.
    fn marks(&self, delimiter: u8) -> Result<(Option<char>, Option<char>), &'static str> {
        let grouped_by_point = self.count(NumberForm::GroupedByPoint);
        let comma_and_three = self.count(NumberForm::CommaAndThree);
        let by_point = grouped_by_point + self.decimal_comma > 0;
        let comma_is_thousands = self.count(NumberForm::GroupedByComma) > 0
            || (comma_and_three > 0 && !by_point && (self.plain_fractions > 0 || delimiter == b','));
        match (comma_is_thousands && self.comma_marks() > 0, by_point) {
            (true, true) => Err("\",\" and \".\" both stand between thousands and before decimals"),
            (true, false) => Ok((None, Some(','))),
            (false, true) if grouped_by_point + self.point_and_three > 0 => Ok((Some(','), Some('.'))),
            (false, true) => Ok((Some(','), self.other_mark)),
            (false, false) if comma_and_three > 0 => {
                Err("thousands: \",\" or decimal: \",\"? it stands before three digits")
            }
            (false, false) => Ok((None, self.other_mark)),
        }
    }

    fn unsure(&self, how: &str, filled: u64) -> Finding {
        let example = self.example.clone().unwrap_or_default();
        let (notation, doubt) = (Notation::default(), Some(how.to_owned()));
        Finding { kind: Kind::NUMERIC, fitting: filled, notation, example, doubt }
    }

    /// In a file with semicolons `1.234` is ambiguous, because such files often have decimal commas: it is a
    /// fraction, or thousands.
    fn thousands_or_fractions(&self, delimiter: u8, filled: u64) -> Option<Finding> {
        let all_alike = self.point_and_three > 0 && self.point_and_three == self.plain_fractions;
        (delimiter == b';' && all_alike && self.marked() == 0).then(|| {
            self.unsure("thousands: \".\", or a point before decimals? it stands before three digits", filled)
        })
    }

    /// How many numbers are not plain.
    fn marked(&self) -> u64 {
        self.counts.iter().sum::<u64>() - self.count(NumberForm::Plain)
    }

    fn comma_marks(&self) -> u64 {
        self.count(NumberForm::CommaAndThree) + self.count(NumberForm::GroupedByComma)
    }
}

/// What people write around numbers, besides blanks.
const AROUND: [&str; 14] =
    ["US$", "USD", "EUR", "GBP", "CHF", "Rs.", "kr", "R$", "$", "€", "£", "¥", "₹", "%"];

/// A number without what stands around it.
struct Decorated<'a> {
    bare: &'a str,
    /// The index of the sign in [`AROUND`].
    sign: Option<usize>,
    /// Whether parentheses, or a sign behind, make the number negative.
    accounting: bool,
}

impl<'a> Decorated<'a> {
    fn of(value: &'a str) -> Self {
        let (mut bare, mut accounting) = (value, false);
        if let Some(inner) = bare.strip_prefix('(').and_then(|bare| bare.strip_suffix(')')) {
            (bare, accounting) = (inner.trim(), true);
        } else if let Some(inner) = bare.strip_prefix(['-', '+'])
            && AROUND.iter().any(|sign| inner.starts_with(sign))
        {
            bare = inner;
        }
        let found = AROUND.iter().enumerate().find_map(|(index, sign)| {
            let inner = bare.strip_prefix(sign).or_else(|| bare.strip_suffix(sign))?;
            Some((index, inner.trim()))
        });
        let sign = found.map(|(index, inner)| {
            bare = inner;
            index
        });
        if let Some(inner) =
            bare.strip_suffix('-').filter(|inner| inner.ends_with(|c: char| c.is_ascii_digit()))
        {
            (bare, accounting) = (inner, true);
        }
        Self { bare, sign, accounting }
    }
}

/// Whether a character other than comma and point stands between groups of digits.
fn is_other_mark(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’')
}

/// The form of a number, and whether it has a fraction in every reading.
fn form_of(bare: &str) -> Option<(NumberForm, bool)> {
    if !bare.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if is_decimal(bare) {
        return Some((NumberForm::Plain, bare.contains(['.', 'e', 'E'])));
    }
    let bare = bare.strip_prefix(['-', '+']).unwrap_or(bare);
    if let Some(blank) = bare.chars().find(|c| is_other_mark(*c)) {
        let (whole, part) = bare.rsplit_once([',', '.']).unwrap_or((bare, ""));
        let fits = is_grouped(whole, blank) && (part.is_empty() || is_digits(part));
        return fits.then_some((NumberForm::GroupedOtherwise, !part.is_empty()));
    }
    let (commas, points) = (bare.matches(',').count(), bare.matches('.').count());
    match (commas, points) {
        (1, 0) => {
            let (whole, part) = bare.split_once(',')?;
            if !is_digits(part) || !(whole.is_empty() || is_digits(whole)) {
                return None;
            }
            let groups = part.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            Some(if groups { (NumberForm::CommaAndThree, false) } else { (NumberForm::DecimalComma, true) })
        }
        (_, 0) => is_grouped(bare, ',').then_some((NumberForm::GroupedByComma, false)),
        (0, _) => is_grouped(bare, '.').then_some((NumberForm::GroupedByPoint, false)),
        (_, 1) if bare.rfind('.') > bare.rfind(',') => {
            let (whole, part) = bare.split_once('.')?;
            (is_grouped(whole, ',') && is_digits(part)).then_some((NumberForm::GroupedByComma, true))
        }
        (1, _) => {
            let (whole, part) = bare.split_once(',')?;
            (is_grouped(whole, '.') && is_digits(part)).then_some((NumberForm::GroupedByPoint, true))
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
