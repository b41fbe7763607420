//! Which dead letters are meant: one filter for lists, counts, exports and bulk moves, and the one place where it
//! becomes SQL.

use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tidegate_core::dead_letter::{Code, Reason};
use tidegate_core::position::Position;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};

use super::{Error, Postgres};

/// Every status of a dead letter.
pub const STATUSES: [&str; 6] = ["rejected", "waiting", "claimed", "healed", "replayed", "discarded"];
/// How many bytes of lines a page has at most, but for its first line.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// What a letter counts for beside its text.
const LETTER_BYTES: i64 = 512;

/// Which dead letters are meant: those of which all that is given is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetterFilter {
    /// Of this dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// With a reason of this code.
    #[serde(rename = "reason", skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// With a reason about this column; of the code, if both are given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// With this status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Of this source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<u64>,
    /// Made at this time or later.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    pub since: Option<SystemTime>,
    /// Made before this time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    pub until: Option<SystemTime>,
    /// Whose line has this text in it, letter by letter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// A filter that no dead letter could meet, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedFilter(String);

/// Reads a time of a filter: RFC 3339, or a day, which begins at midnight UTC. What is before 1970 is 1970.
///
/// # Errors
///
/// If it is neither.
pub fn parse_time(text: &str) -> Result<SystemTime, MalformedFilter> {
    let malformed =
        || MalformedFilter(format!("'{text}' is no time; write 2026-01-31 or 2026-01-31T10:00:00Z (UTC)"));
    if !text.is_ascii() {
        return Err(malformed());
    }
    let (local, east) = without_offset(text).ok_or_else(malformed)?;
    let local = if local.len() == 10 { format!("{local}T00:00:00Z") } else { format!("{local}Z") };
    let local = local.to_ascii_uppercase();
    let year: u32 = local.get(..4).and_then(|year| year.parse().ok()).ok_or_else(malformed)?;
    if year < 1970 {
        let checked = humantime::parse_rfc3339(&format!("1972{}", &local[4..]));
        return checked.map(|_| SystemTime::UNIX_EPOCH).map_err(|_| malformed());
    }
    let local = humantime::parse_rfc3339(&local).map_err(|_| malformed())?;
    let minutes = Duration::from_secs(60 * u64::from(east.unsigned_abs()));
    let time = if east > 0 { local.checked_sub(minutes) } else { local.checked_add(minutes) };
    Ok(time.filter(|time| *time > SystemTime::UNIX_EPOCH).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Takes the offset off a time of RFC 3339: `Z`, or hours and minutes, given as minutes east. A day has none.
fn without_offset(text: &str) -> Option<(&str, i32)> {
    if text.len() == 10 {
        return Some((text, 0));
    }
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return (local.len() > 10).then_some((local, 0));
    }
    let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
    let sign = match offset.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset[1..].split_once(':')?;
    let part = |text: &str, max: i32| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i32>().ok().filter(|part| digits && *part <= max)
    };
    (local.len() > 10).then_some((local, sign * (part(hours, 23)? * 60 + part(minutes, 59)?)))
}

fn as_rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339(*time)),
        None => serializer.serialize_none(),
    }
}

impl LetterFilter {
    /// Says what is wrong with it, so that a word that was mistyped is not taken for "none".
    ///
    /// # Errors
    ///
    /// A code or status that does not exist, or a text that Postgres cannot hold.
    pub fn check(&self) -> Result<(), MalformedFilter> {
        let Self { dataset, code, column, status, contains, .. } = self;
        for (name, text) in [
            ("dataset", dataset),
            ("reason", code),
            ("column", column),
            ("status", status),
            ("text", contains),
        ] {
            if text.as_ref().is_some_and(|text| text.contains('\0')) {
                return Err(MalformedFilter(format!("the {name} has a NUL, which no dead letter has")));
            }
        }
        if let Some(code) = code
            && serde_json::from_value::<Code>(code.as_str().into()).is_err()
        {
            let known: Vec<_> = Code::ALL.iter().map(|code| serde_json::json!(code)).collect();
            let known: Vec<&str> = known.iter().filter_map(|code| code.as_str()).collect();
            return Err(MalformedFilter(format!(
                "there is no reason '{code}'; there are: {}",
                known.join(", ")
            )));
        }
        if let Some(status) = status
            && !STATUSES.contains(&status.as_str())
        {
            return Err(MalformedFilter(format!(
                "there is no status '{status}'; there are: {}",
                STATUSES.join(", ")
            )));
        }
        Ok(())
    }

    /// What stands for the parameters of [`CONDITIONS`], for letters behind a position.
    pub(super) fn parameters(&self, after: Option<Position>) -> Parameters<'_> {
        let of = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let source = self.source.map(of);
        let after = after.map_or((0, 0), |after| (of(after.source), of(after.line)));
        Parameters { filter: self, source, after }
    }
}

/// The conditions of a filter on `tidegate.dead_letters as d`: $1 to $10.
pub(super) const CONDITIONS: &str = "($1::text is null or d.dataset = $1) \
    and (($2::text is null and $3::text is null) or exists ( \
        select from jsonb_array_elements(d.reasons) as reason \
        where ($2::text is null or reason ->> 'code' = $2) and ($3::text is null or reason ->> 'column' = $3))) \
    and ($4::text is null or d.status = $4) \
    and ($5::bigint is null or d.source = $5) \
    and ($6::timestamptz is null or d.created_at >= $6) \
    and ($7::timestamptz is null or d.created_at < $7) \
    and ($8::text is null or strpos(d.text, $8) > 0) \
    and (d.source, d.line) > ($9::bigint, $10::bigint)";

/// The values of [`CONDITIONS`].
pub(super) struct Parameters<'a> {
    filter: &'a LetterFilter,
    source: Option<i64>,
    after: (i64, i64),
}

impl Parameters<'_> {
    /// They, and `more` behind them: from $11 on.
    pub(super) fn with<'a>(&'a self, more: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let LetterFilter { dataset, code, column, status, since, until, contains, .. } = self.filter;
        let (source, after) = (&self.source, &self.after);
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![dataset, code, column, status, source, since, until, contains, &after.0, &after.1];
        all.extend(more);
        all
    }
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeptLetter {
    /// The source of the line.
    pub source: u64,
    /// Its number there.
    pub line: u64,
    /// The dataset that it was meant for.
    pub dataset: String,
    /// The name of the source.
    pub name: Option<String>,
    /// One of [`STATUSES`].
    pub status: String,
    /// Who made it: `source`, `transform` or `sink`.
    pub stage: String,
    /// How often it was replayed.
    pub attempt: u32,
    /// The line, if it is text; of one that is too long its beginning.
    pub text: Option<String>,
    /// In base64, the line that is no text.
    pub bytes: Option<String>,
    /// Of a line that is too long, the length in bytes.
    pub length: Option<u64>,
    /// Of a line that is too long, BLAKE3 in hexadecimal.
    pub blake3: Option<String>,
    /// All that is, or was at last, against it.
    pub reasons: Vec<Reason>,
    /// The references that a waiting line lacks, by column.
    pub awaits: Option<serde_json::Value>,
    /// The names of the fields of `text`, in order; none where they are not known.
    pub text_columns: Option<Vec<String>>,
    /// What is between them.
    pub text_delimiter: Option<String>,
    /// What an accepted line held of columns that the manifest did not have any more.
    pub dropped: Option<serde_json::Value>,
    /// When it was made, RFC 3339 in UTC.
    pub created_at: String,
    /// When it changed last.
    pub updated_at: String,
}

impl KeptLetter {
    /// Where the line stands.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    fn of(row: &Row) -> Self {
        let number = |name: &str| row.get::<_, Option<i64>>(name).map(|number| number as u64);
        Self {
            source: number("source").unwrap_or_default(),
            line: number("line").unwrap_or_default(),
            dataset: row.get("dataset"),
            name: row.get("name"),
            status: row.get("status"),
            stage: row.get("stage"),
            attempt: row.get::<_, i32>("attempt") as u32,
            text: row.get("text"),
            bytes: row.get("bytes"),
            length: number("length"),
            blake3: row.get("blake3"),
            reasons: row.get::<_, Json<Vec<Reason>>>("reasons").0,
            awaits: row.get("awaits"),
            text_columns: row.get("text_columns"),
            text_delimiter: row.get("text_delimiter"),
            dropped: row.get("dropped"),
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
        }
    }
}

/// Some dead letters, oldest position first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The letters.
    pub letters: Vec<KeptLetter>,
    /// Behind which position to go on; `None` if there are no more.
    pub next: Option<Position>,
}

/// How many dead letters there are of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReasonCount {
    /// The dataset.
    pub dataset: String,
    /// The status.
    pub status: String,
    /// The code of the reason.
    pub code: String,
    /// The column that it is about, if it is about one.
    pub column: Option<String>,
    /// How many letters have it. One with two reasons counts for both.
    pub lines: u64,
}

/// How many dead letters there are, and of which reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// How many letters.
    pub lines: u64,
    /// By dataset, status, code and column.
    pub reasons: Vec<ReasonCount>,
}

impl Postgres {
    /// The dead letters that a filter means, behind a position, oldest first: at most `limit`, and no more than some
    /// megabytes.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked, or no pipeline has run there.
    pub async fn letters(
        &self,
        filter: &LetterFilter,
        after: Option<Position>,
        limit: u32,
    ) -> Result<Page, Error> {
        let sql = include_str!("../../../sql/queries/letters.sql").replace("{conditions}", CONDITIONS);
        let connection = self.prepared_connection().await?;
        let limit = i64::from(limit);
        let parameters = filter.parameters(after);
        let rows = connection.query(&sql, &parameters.with(&[&limit, &PAGE_BYTES, &LETTER_BYTES])).await?;
        let found: i64 = rows.first().map_or(0, |row| row.get("found"));
        let letters: Vec<KeptLetter> = rows.iter().map(KeptLetter::of).collect();
        let is_last = found < limit && letters.len() as i64 == found;
        let next = letters.last().filter(|_| !is_last).map(KeptLetter::position);
        Ok(Page { letters, next })
    }

    /// The dead letter of a line, if it is one.
    ///
    /// # Errors
    ///
    /// As [`Postgres::letters`].
    pub async fn letter(&self, position: Position) -> Result<Option<KeptLetter>, Error> {
        let Some(before) = position.line.checked_sub(1) else { return Ok(None) };
        let filter = LetterFilter { source: Some(position.source), ..LetterFilter::default() };
        let page = self.letters(&filter, Some(Position::new(position.source, before)), 1).await?;
        Ok(page.letters.into_iter().next().filter(|letter| letter.position() == position))
    }

    /// How many dead letters a filter means, by reason.
    ///
    /// # Errors
    ///
    /// As [`Postgres::letters`].
    pub async fn count_letters(&self, filter: &LetterFilter) -> Result<Counted, Error> {
        let listed = format!("select * from tidegate.dead_letters as d where {CONDITIONS}");
        let connection = self.prepared_connection().await?;
        let rows = connection.query(&counting(&listed), &filter.parameters(None).with(&[])).await?;
        Ok(counted(&rows))
    }
}

/// A query that counts what `listed` gives, as [`counted`] reads it.
pub(super) fn counting(listed: &str) -> String {
    include_str!("../../../sql/queries/count_letters.sql").replace("{listed}", listed)
}

/// What [`counting`] found.
pub(super) fn counted(rows: &[Row]) -> Counted {
    let mut counted = Counted::default();
    for row in rows {
        let lines = row.get::<_, i64>("lines") as u64;
        let dataset: Option<String> = row.get("dataset");
        let Some(dataset) = dataset else {
            counted.lines = lines;
            continue;
        };
        let code: Option<String> = row.get("code");
        counted.reasons.push(ReasonCount {
            dataset,
            status: row.get("status"),
            code: code.unwrap_or_default(),
            column: row.get("column"),
            lines,
        });
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_an_offset() {
        let shown =
            |text: &str| parse_time(text).map(|time| humantime::format_rfc3339_millis(time).to_string());
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
            ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000Z"),
            ("2026-01-31t10:00:00.5z", "2026-01-31T10:00:00.500Z"),
            ("2026-01-31T10:00:00+05:30", "2026-01-31T04:30:00.000Z"),
            ("2026-01-31T10:00:00-01:00", "2026-01-31T11:00:00.000Z"),
            ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("1970-01-01T00:00:00+10:00", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(shown(text).unwrap(), expected, "{text}");
        }
        for wrong in
            ["", "now", "2026-13-01", "2026-01-31T10:00:00", "2026-01-31T10:00:00+25:00", "Z", "äöü-01-31"]
        {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
