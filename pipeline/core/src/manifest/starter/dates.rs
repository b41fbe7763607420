//! Dates and times that are not in ISO 8601.

use super::column::Finding;
use super::notation::Notation;
use crate::manifest::Kind;

/// How the dates of a column are written, counted over its values.
#[derive(Debug, Default)]
pub(super) struct Dates {
    /// By form, in the order in which they were seen.
    alike: Vec<DatesAlike>,
}

/// The dates of one form.
#[derive(Debug)]
struct DatesAlike {
    form: DateForm,
    count: u64,
    /// How many have a first number, and how many a second number, that cannot be a month.
    first_no_month: u64,
    second_no_month: u64,
    /// A date that shows which number is the day. If there is none, any date.
    example: String,
}

/// A column has at most this many forms. Dates of further ones are not counted.
const FORMS_MAX: usize = 4;

/// The format that two dates may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DateForm {
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
    DayName(MonthName),
    /// `Jul 27, 2021`, with the comma or without.
    NameDay(MonthName, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MonthName {
    /// `Jul`.
    Short,
    /// `July`.
    Long,
}

/// A time behind a date. Each text is what stands before a part, if the part is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TimeFormat {
    before: &'static str,
    seconds: bool,
    fraction: bool,
    half_day: Option<&'static str>,
    zone: Option<&'static str>,
}

impl Dates {
    /// Counts a value if it is such a date.
    pub(super) fn observe(&mut self, value: &str) {
        let Some((form, numbers)) = parse(value) else { return };
        let at = match self.alike.iter().position(|dates| dates.form == form) {
            Some(at) => at,
            None if self.alike.len() == FORMS_MAX => return,
            None => {
                self.alike.push(DatesAlike {
                    form,
                    count: 0,
                    first_no_month: 0,
                    second_no_month: 0,
                    example: String::new(),
                });
                self.alike.len() - 1
            }
        };
        self.alike[at].observe(value, numbers);
    }

    /// The meaning of the dates of a column with `filled` values, as far as it can be told. `plain` counts the values
    /// in ISO 8601, which are read besides every format.
    pub(super) fn meaning(&self, filled: u64, plain: impl Fn(Kind) -> u64) -> Option<Finding> {
        let kind = self.alike.iter().max_by_key(|dates| dates.count)?.form.kind();
        let of_kind = || self.alike.iter().filter(|dates| dates.form.kind() == kind);
        let count = of_kind().map(|dates| dates.count).sum::<u64>() + plain(kind);
        if count * 10 < filled * 9 || filled == 0 {
            return None;
        }
        let mut notation = Notation::default();
        for dates in of_kind() {
            match dates.format() {
                Ok(format) => notation.formats.push(format),
                Err(how) => {
                    let (example, notation) = (dates.example.clone(), Notation::default());
                    return Some(Finding { kind, fitting: filled, notation, example, doubt: Some(how) });
                }
            }
        }
        let example = of_kind().next().map(|dates| dates.example.clone()).unwrap_or_default();
        Some(Finding { kind, fitting: count, notation, example, doubt: None })
    }
}

impl DatesAlike {
    fn observe(&mut self, value: &str, numbers: [u32; 2]) {
        self.count += 1;
        let (first, second) = (numbers[0] > 12, numbers[1] > 12);
        if self.example.is_empty() || (first != second && self.first_no_month + self.second_no_month == 0) {
            value.clone_into(&mut self.example);
        }
        self.first_no_month += u64::from(first);
        self.second_no_month += u64::from(second);
    }

    /// The format of all these dates, or what cannot be told.
    fn format(&self) -> Result<String, String> {
        let form = self.form;
        let (day, month) = (form.format(true), form.format(false));
        match (form.order, self.first_no_month > 0, self.second_no_month > 0) {
            (DateOrder::Numbers, true, true) => Err(format!(
                "format: \"{day}\" or \"{month}\"? some values have the day first, some the month"
            )),
            (DateOrder::Numbers, false, true) => Ok(month),
            (DateOrder::Numbers, false, false) if form.separator != '.' => {
                Err(format!("format: \"{day}\" or \"{month}\"? no value tells the day from the month"))
            }
            _ => Ok(day),
        }
    }
}

impl DateForm {
    fn kind(self) -> Kind {
        match self.time {
            None => Kind::Date,
            Some(TimeFormat { zone: Some(_), .. }) => Kind::Timestamptz,
            Some(_) => Kind::Timestamp,
        }
    }

    /// The format in the notation of `strptime`.
    fn format(self, day_first: bool) -> String {
        let (separator, year) = (self.separator, if self.short_year { "%y" } else { "%Y" });
        let mut format = match self.order {
            DateOrder::Numbers if day_first => format!("%d{separator}%m{separator}{year}"),
            DateOrder::Numbers => format!("%m{separator}%d{separator}{year}"),
            DateOrder::YearFirst => format!("{year}{separator}%m{separator}%d"),
            DateOrder::DayName(name) => format!("%d{separator}{}{separator}{year}", name.part()),
            DateOrder::NameDay(name, true) => format!("{}{separator}%d, {year}", name.part()),
            DateOrder::NameDay(name, false) => format!("{}{separator}%d{separator}{year}", name.part()),
        };
        if let Some(time) = self.time {
            format.push_str(time.before);
            format.push_str(if time.half_day.is_some() { "%I:%M" } else { "%H:%M" });
            format.push_str(if time.seconds { ":%S" } else { "" });
            format.push_str(if time.fraction { "%.f" } else { "" });
            for (before, part) in [(time.half_day, "%p"), (time.zone, "%z")] {
                format.extend(before.map(|before| format!("{before}{part}")));
            }
        }
        format
    }
}

impl MonthName {
    /// The name of a month, in English.
    fn of(text: &str) -> Option<Self> {
        const MONTHS: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        let lower = text.to_ascii_lowercase();
        if MONTHS.iter().any(|month| month[..3] == lower) {
            return Some(Self::Short);
        }
        MONTHS.contains(&lower.as_str()).then_some(Self::Long)
    }

    fn part(self) -> &'static str {
        match self {
            Self::Short => "%b",
            Self::Long => "%B",
        }
    }
}

/// The form of a date, and its two numbers other than the year, in the order in which they are written.
fn parse(value: &str) -> Option<(DateForm, [u32; 2])> {
    if value.len() > 40 || !value.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (date, time) = match value.find(':') {
        None => (value, None),
        Some(colon) => {
            let begin = value[..colon].rfind([' ', 'T'])?;
            let before = [", ", " ", "T"].into_iter().find(|before| value[..=begin].ends_with(before))?;
            (&value[..begin + 1 - before.len()], Some(parse_time(&value[begin + 1..], before)?))
        }
    };
    let form =
        |order, separator, year: &str| DateForm { order, separator, short_year: year.len() == 2, time };
    let separator = date.chars().find(|c| matches!(c, '/' | '.' | '-' | ' '))?;
    let (date, has_comma) = match date.split_once(", ") {
        Some((before, year)) if separator == ' ' => (format!("{before} {year}"), true),
        _ => (date.to_owned(), false),
    };
    let parts: Vec<&str> = date.split(separator).collect();
    let [a, b, c] = parts[..] else { return None };
    let is_day = |number: u32| (1..=31).contains(&number);
    if let (Some(first), Some(second)) = (number(a, 2), number(b, 2))
        && let Some(year) = year(c)
        && is_day(first)
        && is_day(second)
        && (first <= 12 || second <= 12)
        && separator != ' '
    {
        return Some((form(DateOrder::Numbers, separator, year), [first, second]));
    }
    if a.len() == 4
        && let (Some(_), Some(month), Some(day)) = (number(a, 4), number(b, 2), number(c, 2))
        && (1..=12).contains(&month)
        && is_day(day)
    {
        return Some((form(DateOrder::YearFirst, separator, a), [month, day]));
    }
    if let (Some(day), Some(name), Some(year), false) = (number(a, 2), MonthName::of(b), year(c), has_comma) {
        return is_day(day).then_some((form(DateOrder::DayName(name), separator, year), [day, 0]));
    }
    let (Some(name), Some(day), Some(year)) = (MonthName::of(a), number(b, 2), year(c)) else { return None };
    is_day(day).then_some((form(DateOrder::NameDay(name, has_comma), separator, year), [0, day]))
}

fn parse_time(text: &str, before: &'static str) -> Option<TimeFormat> {
    let gap_before = |rest: &str| if rest.ends_with(' ') { " " } else { "" };
    let upper = text.to_ascii_uppercase();
    let (clock, half_day) = match upper.strip_suffix("AM").or_else(|| upper.strip_suffix("PM")) {
        Some(clock) => (clock, Some(gap_before(clock))),
        None => (upper.as_str(), None),
    };
    let end = clock.find(['+', '-']);
    let zone = end.map(|end| gap_before(&clock[..end]));
    let parts: Vec<&str> = clock[..end.unwrap_or(clock.len())].trim_end().split(':').collect();
    let whole = |part: &str, max| number(part, 2).is_some_and(|value| value <= max);
    let mut fraction = "";
    let fits = match parts[..] {
        [hour, minute] => whole(hour, 24) && whole(minute, 59),
        [hour, minute, second] => {
            let (second, rest) = second.split_once('.').unwrap_or((second, ""));
            fraction = rest;
            whole(hour, 24)
                && whole(minute, 59)
                && whole(second, 60)
                && rest.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    let (seconds, fraction) = (parts.len() == 3, !fraction.is_empty());
    fits.then_some(TimeFormat { before, seconds, fraction, half_day, zone })
}

fn number(text: &str, digits_max: usize) -> Option<u32> {
    let fits = !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

fn year(text: &str) -> Option<&str> {
    (number(text, 4).is_some() && matches!(text.len(), 2 | 4)).then_some(text)
}
