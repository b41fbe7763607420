//! Numbers as people write them: marks between thousands, a decimal comma, currencies.

use super::column::Meant;
use crate::manifest::{Kind, is_decimal};

/// How the numbers of a column are written, counted over its values.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// As the manifest's types read them.
    plain: u64,
    /// Of them those with a fraction.
    plain_fractions: u64,
    /// Of them those like `1.234`, which may be thousands.
    point_and_three: u64,
    /// Like `1,044`: thousands, or a decimal comma.
    comma_and_three: u64,
    /// Like `12,5`: a decimal comma and nothing else.
    decimal_comma: u64,
    /// Like `1.234,56` or `1.234.567`.
    grouped_by_point: u64,
    /// Like `1,234.5` or `1,234,567`.
    grouped_by_comma: u64,
    /// Like `1 234` or `1'234`.
    grouped_otherwise: u64,
    /// Of all of them, those with a fraction whatever the reading.
    fractions: u64,
    /// With a currency, a percent sign, in parentheses, or with blanks around them.
    decorated: u64,
    /// A value that shows best what is unusual.
    example: Option<String>,
}

/// One number, without what stands around it.
enum Form {
    Plain { fraction: bool, point_and_three: bool },
    CommaAndThree,
    DecimalComma,
    GroupedByPoint { fraction: bool },
    GroupedByComma { fraction: bool },
    GroupedOtherwise { fraction: bool, comma: bool },
}

impl Written {
    /// Counts a value, if it is a number of any form.
    pub(super) fn observe(&mut self, value: &str) {
        let bare = undecorated(value);
        let Some(form) = form(bare) else { return };
        let mut is_unusual = bare.len() != value.len();
        self.decorated += u64::from(is_unusual);
        match form {
            Form::Plain { fraction, point_and_three } => {
                self.plain += 1;
                self.plain_fractions += u64::from(fraction);
                self.fractions += u64::from(fraction);
                self.point_and_three += u64::from(point_and_three);
            }
            Form::CommaAndThree => self.comma_and_three += 1,
            Form::DecimalComma => {
                (self.decimal_comma, self.fractions) = (self.decimal_comma + 1, self.fractions + 1)
            }
            Form::GroupedByPoint { fraction } => {
                (self.grouped_by_point, self.fractions) =
                    (self.grouped_by_point + 1, self.fractions + u64::from(fraction));
            }
            Form::GroupedByComma { fraction } => {
                (self.grouped_by_comma, self.fractions) =
                    (self.grouped_by_comma + 1, self.fractions + u64::from(fraction));
            }
            Form::GroupedOtherwise { fraction, comma } => {
                self.grouped_otherwise += 1;
                self.fractions += u64::from(fraction);
                self.decimal_comma += u64::from(comma);
            }
        }
        is_unusual |= !matches!(form, Form::Plain { .. });
        if is_unusual && self.example.as_ref().is_none_or(|example| example.len() < value.len()) {
            self.example = Some(value.to_owned());
        }
    }

    /// What the numbers of a column are, of which `filled` fields have a value, where the manifest's types do not read them
    /// as they are meant.
    pub(super) fn meant(&self, filled: u64, delimiter: u8) -> Option<Meant> {
        let marked = self.marked();
        let unusual = marked.max(self.decorated);
        let all = self.plain + marked;
        let is_meant = unusual > 0 && (unusual * 100 > filled || self.point_and_three > 0);
        let by_point = self.grouped_by_point + self.decimal_comma > 0;
        if all * 10 < filled * 9 || filled == 0 {
            return None;
        }
        if !is_meant {
            return self.thousands_or_fractions(delimiter);
        }
        let comma_is_thousands = self.grouped_by_comma > 0
            || (self.comma_and_three > 0 && !by_point && (self.plain_fractions > 0 || delimiter == b','));
        let (how, fractions, sure) = match (comma_is_thousands && self.comma_marks() > 0, by_point) {
            (true, true) => {
                ("\",\" and \".\" both between thousands and before decimals".into(), true, false)
            }
            (true, false) => ("thousands \",\"".to_owned(), self.fractions > 0, true),
            (false, true) if self.grouped_by_point + self.point_and_three > 0 => {
                ("decimal \",\", thousands \".\"".into(), true, true)
            }
            (false, true) => ("decimal \",\"".into(), true, true),
            (false, false) if self.comma_and_three > 0 => {
                ("\",\" before three digits: thousands, or decimals".into(), true, false)
            }
            (false, false) if self.grouped_otherwise > 0 => {
                ("marks between thousands".into(), self.fractions > 0, true)
            }
            (false, false) => ("signs or blanks around them".into(), self.fractions > 0, true),
        };
        let kind =
            if fractions && self.fractions + self.comma_and_three > 0 { NUMERIC } else { Kind::Integer };
        Some(Meant { kind, how, example: self.example.clone().unwrap_or_default(), sure })
    }

    /// `1.234` in a file with semicolons, as whoever writes decimal commas has them: one of two.
    fn thousands_or_fractions(&self, delimiter: u8) -> Option<Meant> {
        let all_alike = self.point_and_three > 0 && self.point_and_three == self.plain_fractions;
        (delimiter == b';' && all_alike && self.marked() == 0).then(|| Meant {
            kind: NUMERIC,
            how: "\".\" before three digits: thousands, or decimals".into(),
            example: String::new(),
            sure: false,
        })
    }

    fn marked(&self) -> u64 {
        self.comma_marks() + self.grouped_by_point + self.decimal_comma.max(self.grouped_otherwise)
    }

    fn comma_marks(&self) -> u64 {
        self.comma_and_three + self.grouped_by_comma
    }
}

pub(super) const NUMERIC: Kind = Kind::Numeric { precision: None, scale: None };

/// What people put around numbers, besides blanks.
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

fn form(bare: &str) -> Option<Form> {
    if !bare.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if is_decimal(bare) {
        let fraction = bare.contains(['.', 'e', 'E']);
        let point_and_three = bare.split_once('.').is_some_and(|(whole, part)| {
            let whole = whole.trim_start_matches(['-', '+']);
            (1..=3).contains(&whole.len()) && !whole.starts_with('0') && is_digits(part) && part.len() == 3
        });
        return Some(Form::Plain { fraction, point_and_three });
    }
    let bare = bare.trim_start_matches(['-', '+', '−']).trim_end_matches('-');
    let blank = bare.chars().find(|c| matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '’'));
    if let Some(blank) = blank {
        let (whole, part) = bare.rsplit_once([',', '.']).unwrap_or((bare, ""));
        let comma = bare.len() > whole.len() && bare.as_bytes()[whole.len()] == b',';
        let fits = is_grouped(whole, blank) && (part.is_empty() || is_digits(part));
        return fits.then_some(Form::GroupedOtherwise { fraction: !part.is_empty(), comma });
    }
    let (commas, points) = (bare.matches(',').count(), bare.matches('.').count());
    match (commas, points) {
        (1, 0) => {
            let (whole, part) = bare.split_once(',')?;
            if !is_digits(part) || !(whole.is_empty() || is_digits(whole)) {
                return None;
            }
            let groups = part.len() == 3 && (1..=3).contains(&whole.len()) && !whole.starts_with('0');
            Some(if groups { Form::CommaAndThree } else { Form::DecimalComma })
        }
        (_, 0) => is_grouped(bare, ',').then_some(Form::GroupedByComma { fraction: false }),
        (0, _) => is_grouped(bare, '.').then_some(Form::GroupedByPoint { fraction: false }),
        (_, 1) if bare.rfind('.') > bare.rfind(',') => {
            let (whole, part) = bare.split_once('.')?;
            (is_grouped(whole, ',') && is_digits(part)).then_some(Form::GroupedByComma { fraction: true })
        }
        (1, _) => {
            let (whole, part) = bare.split_once(',')?;
            (is_grouped(whole, '.') && is_digits(part)).then_some(Form::GroupedByPoint { fraction: true })
        }
        _ => None,
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether digits are set apart in threes by a mark that is there.
fn is_grouped(text: &str, mark: char) -> bool {
    let mut groups = text.split(mark);
    let first = groups.next().is_some_and(|first| is_digits(first) && first.len() <= 3);
    let rest: Vec<&str> = groups.collect();
    first && !rest.is_empty() && rest.iter().all(|group| group.len() == 3 && is_digits(group))
}
