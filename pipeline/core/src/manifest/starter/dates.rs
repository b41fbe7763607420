//! Dates and times that are not in ISO 8601.

use super::column::Meaning;
use crate::manifest::Kind;

/// How the dates of a column are written, counted over its values.
#[derive(Debug, Default)]
pub(super) struct Dates {
    /// The pattern of the first date.
    pattern: Option<Pattern>,
    /// How many dates have that pattern.
    alike: u64,
    /// How many have a first number, and how many a second number, that cannot be a month.
    first_no_month: u64,
    second_no_month: u64,
    /// A date that shows which number is the day. If there is none, any date.
    example: String,
}

/// The format that two dates may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern {
    order: DateOrder,
    separator: char,
    short_year: bool,
    time: Option<TimeFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DateOrder {
    /// Two numbers, then the year. The values of the column tell the day from the month.
    Numbers,
    YearFirst,
    /// `27 Jul 2021`.
    DayName,
    /// `Jul 27, 2021`.
    NameDay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeFormat {
    seconds: bool,
    half_day: bool,
    zone: bool,
}

impl Dates {
    /// Counts a value if it is such a date.
    pub(super) fn observe(&mut self, value: &str) {
        let Some((pattern, numbers)) = parse(value) else { return };
        if *self.pattern.get_or_insert(pattern) != pattern {
            return;
        }
        self.alike += 1;
        let (first, second) = (numbers[0] > 12, numbers[1] > 12);
        if self.example.is_empty() || (first != second && self.first_no_month + self.second_no_month == 0) {
            value.clone_into(&mut self.example);
        }
        self.first_no_month += u64::from(first);
        self.second_no_month += u64::from(second);
    }

    /// The meaning of the dates of a column with `filled` values.
    pub(super) fn meaning(&self, filled: u64) -> Option<Meaning> {
        let pattern = self.pattern.filter(|_| self.alike * 10 >= filled * 9 && filled > 0)?;
        let kind = match pattern.time {
            None => Kind::Date,
            Some(TimeFormat { zone: true, .. }) => Kind::Timestamptz,
            Some(_) => Kind::Timestamp,
        };
        let (how, sure) = match (pattern.order, self.first_no_month > 0, self.second_no_month > 0) {
            (DateOrder::Numbers, true, true) => {
                ("some with the day first, some with the month".into(), false)
            }
            (DateOrder::Numbers, false, true) => (pattern.format(false), true),
            (DateOrder::Numbers, false, false) if pattern.separator != '.' => {
                let (day, month) = (pattern.format(true), pattern.format(false));
                (format!("{day} or {month}: no value tells the day from the month"), false)
            }
            _ => (pattern.format(true), true),
        };
        Some(Meaning { kind, how, example: self.example.clone(), sure })
    }
}

impl Pattern {
    /// The format in the notation of `strftime`.
    fn format(self, day_first: bool) -> String {
        let (separator, year) = (self.separator, if self.short_year { "%y" } else { "%Y" });
        let mut format = match self.order {
            DateOrder::Numbers if day_first => format!("%d{separator}%m{separator}{year}"),
            DateOrder::Numbers => format!("%m{separator}%d{separator}{year}"),
            DateOrder::YearFirst => format!("{year}{separator}%m{separator}%d"),
            DateOrder::DayName => format!("%d{separator}%b{separator}{year}"),
            DateOrder::NameDay => format!("%b %d, {year}"),
        };
        if let Some(time) = self.time {
            let hour = if time.half_day { " %I:%M" } else { " %H:%M" };
            let (seconds, half) =
                (if time.seconds { ":%S" } else { "" }, if time.half_day { " %p" } else { "" });
            format.push_str(&[hour, seconds, half, if time.zone { "%z" } else { "" }].concat());
        }
        format
    }
}

/// The pattern of a date, and its two numbers other than the year, in the order in which they are written.
fn parse(value: &str) -> Option<(Pattern, [u32; 2])> {
    if value.len() > 40 || !value.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, time) = match value.find(':') {
        None => (value, None),
        Some(colon) => {
            let begin = value[..colon].rfind([' ', 'T'])?;
            (value[..begin].trim_end_matches([',', ' ']), Some(parse_time(&value[begin + 1..])?))
        }
    };
    let pattern =
        |order, separator, year: &str| Pattern { order, separator, short_year: year.len() == 2, time };
    let separator = date.chars().find(|c| matches!(c, '/' | '.' | '-' | ' '))?;
    let parts: Vec<&str> = date.split([separator, ',']).map(str::trim).filter(|p| !p.is_empty()).collect();
    let [a, b, c] = parts[..] else { return None };
    if let (Some(first), Some(second)) = (number(a, 2), number(b, 2))
        && let Some(year) = year(c)
        && (1..=31).contains(&first)
        && (1..=31).contains(&second)
        && (first <= 12 || second <= 12)
        && separator != ' '
    {
        return Some((pattern(DateOrder::Numbers, separator, year), [first, second]));
    }
    if a.len() == 4
        && let (Some(_), Some(month), Some(day)) = (number(a, 4), number(b, 2), number(c, 2))
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (separator != '-' || time.is_some())
    {
        return Some((pattern(DateOrder::YearFirst, separator, a), [month, day]));
    }
    if let (Some(day), true, Some(year)) = (number(a, 2), is_month(b), year(c)) {
        return (1..=31).contains(&day).then_some((pattern(DateOrder::DayName, separator, year), [day, 0]));
    }
    let (true, Some(day), Some(year)) = (is_month(a), number(b, 2), year(c)) else { return None };
    (1..=31).contains(&day).then_some((pattern(DateOrder::NameDay, ' ', year), [0, day]))
}

fn parse_time(text: &str) -> Option<TimeFormat> {
    let upper = text.trim().to_ascii_uppercase();
    let (clock, half_day) = match upper.strip_suffix("AM").or_else(|| upper.strip_suffix("PM")) {
        Some(clock) => (clock.trim(), true),
        None => (upper.as_str(), false),
    };
    let end = clock.find(['Z', '+', '-']).unwrap_or(clock.len());
    let parts: Vec<&str> = clock[..end].trim().split(':').collect();
    let whole = |part: &str, max| number(part, 2).is_some_and(|value| value <= max);
    let fits = match parts[..] {
        [hour, minute] => whole(hour, 24) && whole(minute, 59),
        [hour, minute, second] => {
            whole(hour, 24) && whole(minute, 59) && whole(second.split('.').next().unwrap_or_default(), 60)
        }
        _ => false,
    };
    fits.then_some(TimeFormat { seconds: parts.len() == 3, half_day, zone: end < clock.len() })
}

fn number(text: &str, digits_max: usize) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

fn year(text: &str) -> Option<&str> {
    (number(text, 4).is_some() && matches!(text.len(), 2 | 4)).then_some(text)
}

fn is_month(text: &str) -> bool {
    const MONTHS: [&str; 12] =
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let name = text.trim_end_matches('.').to_ascii_lowercase();
    name.len() >= 3
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
        && MONTHS.iter().any(|m| name.starts_with(m))
}
