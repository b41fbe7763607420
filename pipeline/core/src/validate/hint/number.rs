//! The notation that would read a refused number.

use super::{Hint, first_of, scalar};
use crate::decimal::is_decimal;
use crate::manifest::{Column, Reading};

/// Decimal marks and marks between thousands, the most frequent first.
const NOTATIONS: [(char, Option<char>); 8] = [
    ('.', None),
    ('.', Some(',')),
    (',', None),
    (',', Some('.')),
    ('.', Some(' ')),
    (',', Some(' ')),
    ('.', Some('\'')),
    (',', Some('\'')),
];

/// The signs of currencies, and the percent sign.
const SIGNS: &str = "$€£¥₹₽₩₺₫₴₦₱฿₪₡₲₵₸₼₾¢%";

pub(super) fn hint(column: &Column, text: &str) -> Option<Hint> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A number that is too long or too large is no number of another notation.
    let is_plain = (column.reading.decimal, column.reading.thousands) == ('.', None);
    if is_plain && !column.kind.is_integer() && is_decimal(text) {
        return None;
    }
    let base = Reading { strip: stripped(column, text)?, ..column.reading.clone() };
    let is_accounting = text.contains('(') || text.ends_with('-');
    let base = Reading { accounting: base.accounting || is_accounting, ..base };
    let own = (base.decimal, base.thousands);
    // A mark that the column or its dataset has can be changed there, but not taken away.
    let is_other =
        |notation: &(char, Option<char>)| *notation != own && (notation.1.is_some() || own.1.is_none());
    let all = std::iter::once(own).chain(NOTATIONS.into_iter().filter(is_other));
    let candidates = all.map(|(decimal, thousands)| {
        let reading = Reading { decimal, thousands, ..base.clone() };
        (settings(&column.reading, &reading), reading)
    });
    first_of(column, text, candidates)
}

/// The texts to strip: those of the column, and what stands before and behind the number. `None` if that is too long.
fn stripped(column: &Column, text: &str) -> Option<Vec<String>> {
    let is_number = |c: char| c.is_ascii_digit() || "+-().,'\u{2019} \u{a0}\u{202f}".contains(c);
    let mut strip = column.reading.strip.clone();
    let before: String =
        text.trim_start_matches(['-', '+', '(']).chars().take_while(|c| !is_number(*c)).collect();
    let behind = text.trim_end_matches(['-', '+', ')']);
    let behind = &behind[behind
        .rfind(is_number)
        .map_or(0, |at| at + behind[at..].chars().next().map_or(1, char::len_utf8))..];
    for symbol in [before.as_str(), behind] {
        if !symbol.is_empty() && !is_symbol(symbol) {
            return None;
        }
        if !symbol.is_empty() && !strip.iter().any(|known| known == symbol) {
            strip.push(symbol.to_owned());
        }
    }
    Some(strip)
}

/// Whether a text before or behind a number can be left out without changing the number: the sign or the code of a
/// currency, or a percent sign. A sign of less or more, a dash or a letter such as `k` cannot.
fn is_symbol(text: &str) -> bool {
    let symbol = text.trim();
    let is_code = symbol.len() == 3 && symbol.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code || symbol == "R$" || (symbol.chars().count() == 1 && symbol.chars().all(|c| SIGNS.contains(c)))
}

/// The settings in which two readings differ.
fn settings(from: &Reading, to: &Reading) -> String {
    let mut settings = Vec::new();
    if from.decimal != to.decimal {
        settings.push(format!("decimal: \"{}\"", to.decimal));
    }
    if let Some(thousands) = to.thousands.filter(|_| from.thousands != to.thousands) {
        settings.push(format!("thousands: \"{thousands}\""));
    }
    if from.strip != to.strip {
        let texts: Vec<String> = to.strip.iter().map(|text| scalar(text)).collect();
        settings.push(format!("strip: [{}]", texts.join(", ")));
    }
    if from.accounting != to.accounting {
        settings.push("accounting: true".to_owned());
    }
    settings.join(", ")
}
