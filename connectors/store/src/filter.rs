//! The filter on dead letters: one for lists, counts, exports and bulk moves, and the one place where it becomes SQL.

use std::time::SystemTime;

use deadpool_postgres::GenericClient;
use serde::{Serialize, Serializer};
use tidegate_core::dead_letter::{Code, Reason, Stage};
use tidegate_core::position::Position;
use tidegate_postgres::{Database, PgError, schema, stored_enum};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::Row;
use tokio_postgres::types::{Json, ToSql};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::statement::Columns;

stored_enum! {
    /// The status of a dead letter.
    pub enum LetterStatus {
        /// Its line breaks a rule.
        Rejected = "rejected",
        /// The only fault of its line is a missing reference.
        Waiting = "waiting",
        /// A replay has claimed it.
        Claimed = "claimed",
        /// Its line was accepted when the reference came.
        Healed = "healed",
        /// Its line was accepted by a replay.
        Replayed = "replayed",
        /// Its line was given up.
        Discarded = "discarded",
    }
}

/// The maximum size of the lines of a page, in bytes. The first line may be longer.
const PAGE_BYTES: i64 = 4 * 1024 * 1024;
/// The size, in bytes, that each letter counts for in addition to its text.
const LETTER_BYTES: i64 = 512;

/// A filter on dead letters. A letter matches if it meets every condition that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetterFilter {
    /// The letter's dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The code of one of its reasons.
    #[serde(rename = "reason", skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The column of one of its reasons. If `code` is given too, the same reason has both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The letter's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The number of its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<u64>,
    /// The earliest time at which the letter was created, inclusive.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    pub since: Option<SystemTime>,
    /// The latest time at which the letter was created, exclusive.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_rfc3339")]
    pub until: Option<SystemTime>,
    /// A text that the line contains, compared case-sensitively.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
}

/// The error for a filter that no dead letter could match, as text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedFilter(String);

/// Parses a time of a filter: RFC 3339, or a day, which begins at midnight UTC. A time before 1970 becomes the start
/// of 1970.
pub fn parse_time(text: &str) -> Result<SystemTime, MalformedFilter> {
    let midnight = format!("{text}T00:00:00Z");
    let whole = if text.len() == 10 { &midnight } else { text };
    // The parser takes anything for the `T`.
    let separated = Some(whole).filter(|whole| matches!(whole.as_bytes().get(10), Some(b'T' | b't')));
    let time = separated.and_then(|whole| OffsetDateTime::parse(whole, &Rfc3339).ok());
    let malformed =
        || MalformedFilter(format!("'{text}' is no time; write 2026-01-31 or 2026-01-31T10:00:00Z (UTC)"));
    Ok(SystemTime::from(time.ok_or_else(malformed)?).max(SystemTime::UNIX_EPOCH))
}

fn as_rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&humantime::format_rfc3339(*time)),
        None => serializer.serialize_none(),
    }
}

impl LetterFilter {
    /// Checks the filter, so that a mistyped word is reported and does not count as a filter without matches. Fails if
    /// a code or status does not exist, or Postgres cannot store a text.
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
            && !Code::ALL.iter().any(|known| known.as_str() == code)
        {
            let known: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
            return Err(MalformedFilter(format!(
                "there is no reason '{code}'; there are: {}",
                known.join(", ")
            )));
        }
        if let Some(status) = status
            && status.parse::<LetterStatus>().is_err()
        {
            let known: Vec<&str> = LetterStatus::ALL.iter().map(|status| status.as_str()).collect();
            return Err(MalformedFilter(format!(
                "there is no status '{status}'; there are: {}",
                known.join(", ")
            )));
        }
        Ok(())
    }

    /// Returns whether a reason has the code and the column of the filter.
    pub fn matches_reason(&self, reason: &Reason) -> bool {
        self.code.as_ref().is_none_or(|code| code == reason.code.as_str())
            && self.column.as_ref().is_none_or(|column| reason.column.as_ref() == Some(column))
    }

    /// Returns the values of the parameters of [`CONDITIONS`], for letters after a position.
    pub(super) fn parameters(&self, after: Option<Position>) -> FilterParameters<'_> {
        let after = after.map_or((0, 0), |after| (bigint(after.source), bigint(after.line)));
        FilterParameters { filter: self, source: self.source.map(bigint), after }
    }
}

/// A number that a user gave; a number that Postgres cannot store becomes the largest one.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The conditions of a filter on `tidegate.dead_letters as d`. They use the parameters $1 to $10.
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

/// The values of the parameters of [`CONDITIONS`].
pub(super) struct FilterParameters<'a> {
    filter: &'a LetterFilter,
    source: Option<i64>,
    after: (i64, i64),
}

impl FilterParameters<'_> {
    /// Returns the values, followed by `more`, which are $11 and on.
    pub(super) fn with<'a>(&'a self, more: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let LetterFilter { dataset, code, column, status, since, until, contains, .. } = self.filter;
        let (source, after) = (&self.source, &self.after);
        let mut all: Vec<&(dyn ToSql + Sync)> =
            vec![dataset, code, column, status, source, since, until, contains, &after.0, &after.1];
        all.extend(more);
        all
    }
}

/// The schema of [`Reason`] in JSON.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub struct ReasonSchema {
    /// What kind of reason. The codes are stable.
    #[schema(schema_with = codes)]
    pub code: Code,
    /// The column it is about, if it is about one.
    pub column: Option<String>,
    /// The reason in words.
    pub message: String,
    /// The field as it was, its first 256 characters.
    pub value: String,
}

/// The schema of the code of a reason.
pub fn codes() -> Object {
    words(Code::ALL.iter().map(|code| code.as_str()))
}

/// The schema of the status of a dead letter.
pub fn statuses() -> Object {
    words(LetterStatus::ALL.iter().map(|status| status.as_str()))
}

fn words(words: impl Iterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).build()
}

/// A stored dead letter.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KeptLetter {
    /// The source of the line.
    pub source: u64,
    /// The number of the line in its source, from 1.
    pub line: u64,
    /// The dataset that it was meant for.
    pub dataset: String,
    /// The name of the source.
    pub name: Option<String>,
    /// The status of the letter.
    #[schema(schema_with = statuses)]
    pub status: LetterStatus,
    /// The stage that made it: `source`, `transform` or `sink`.
    #[schema(value_type = String)]
    pub stage: Stage,
    /// The number of its replays.
    pub attempt: u32,
    /// The line, if it is text. Of a line that is too long, its beginning.
    pub text: Option<String>,
    /// The line in base64, if it is no text.
    pub bytes: Option<String>,
    /// For a line that is too long, its length in bytes.
    pub length: Option<u64>,
    /// For a line that is too long, its BLAKE3 in hexadecimal.
    pub blake3: Option<String>,
    /// The reasons against the line, or the last ones if it is no dead letter any more.
    #[schema(value_type = Vec<ReasonSchema>)]
    pub reasons: Vec<Reason>,
    /// For a waiting line, the missing references, by column.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub awaits: Option<serde_json::Value>,
    /// The names of the fields of `text`, in order; null if they are not known.
    pub text_columns: Option<Vec<String>>,
    /// The delimiter between the fields of `text`.
    pub text_delimiter: Option<String>,
    /// The number of the shape of `text`.
    #[serde(skip)]
    pub(super) shape: Option<i64>,
    /// The values of an accepted line in columns that the manifest no longer had.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    pub dropped: Option<serde_json::Value>,
    /// When it was created, RFC 3339 in UTC.
    pub created_at: String,
    /// When it changed last, RFC 3339 in UTC.
    pub updated_at: String,
    /// Whether it has changed since it was created.
    #[serde(skip)]
    pub changed: bool,
}

impl KeptLetter {
    /// Returns the position of the line.
    pub fn position(&self) -> Position {
        Position::new(self.source, self.line)
    }

    fn of(row: &Row) -> Result<Self, PgError> {
        Ok(Self {
            source: row.number("source"),
            line: row.number("line"),
            dataset: row.get("dataset"),
            name: row.get("name"),
            status: row.try_get("status")?,
            stage: row.stage()?,
            attempt: row.get::<_, i32>("attempt") as u32,
            text: row.get("text"),
            bytes: row.get("bytes"),
            length: row.number_opt("length"),
            blake3: row.get("blake3"),
            reasons: row.try_get::<_, Json<Vec<Reason>>>("reasons")?.0,
            awaits: row.get("awaits"),
            text_columns: row.get("text_columns"),
            text_delimiter: row.get("text_delimiter"),
            dropped: row.get("dropped"),
            created_at: row.get("created_at"),
            updated_at: row.get("updated_at"),
            shape: row.get("shape"),
            changed: row.get("changed"),
        })
    }
}

/// A page of dead letters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LetterPage {
    /// The letters.
    pub letters: Vec<KeptLetter>,
    /// The position after which the next page begins; `None` if there are no more letters.
    pub next: Option<Position>,
}

/// The number of dead letters of one dataset, status, code and column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonCount {
    /// The dataset.
    pub dataset: String,
    /// The status.
    #[schema(schema_with = statuses)]
    pub status: LetterStatus,
    /// The code of the reason; empty for letters without one.
    pub code: String,
    /// The column of the reason, if the reason is about one.
    pub column: Option<String>,
    /// The number of letters. A letter with two reasons counts for both.
    pub lines: u64,
}

/// The number of dead letters, and their reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LetterCounts {
    /// The number of letters.
    pub lines: u64,
    /// The numbers by dataset, status, code and column.
    pub reasons: Vec<ReasonCount>,
}

/// Returns the dead letters of a filter after a position, oldest first: at most `limit`, and no more than some
/// megabytes. Fails if no pipeline has run on the database.
pub async fn page(
    database: &Database,
    filter: &LetterFilter,
    after: Option<Position>,
    limit: u32,
) -> Result<LetterPage, PgError> {
    select(&schema::prepared_connection(database).await?, filter, after, "", "asc", limit).await
}

/// Returns the dead letters of a filter before a position, newest first, as [`page`]. With `open_only`, healed,
/// replayed and discarded letters are left out.
pub async fn page_of_newest(
    database: &Database,
    filter: &LetterFilter,
    before: Option<Position>,
    open_only: bool,
    limit: u32,
) -> Result<LetterPage, PgError> {
    let mut more = String::new();
    if let Some(Position { source, line }) = before {
        more += &format!(" and (d.source, d.line) < ({}::bigint, {}::bigint)", bigint(source), bigint(line));
    }
    if open_only {
        more += " and d.status in ('rejected', 'waiting', 'claimed')";
    }
    select(&schema::prepared_connection(database).await?, filter, None, &more, "desc", limit).await
}

async fn select(
    client: &impl GenericClient,
    filter: &LetterFilter,
    after: Option<Position>,
    more_conditions: &str,
    order: &str,
    limit: u32,
) -> Result<LetterPage, PgError> {
    let sql = include_str!("../../../sql/queries/letters.sql")
        .replace("{conditions}", &format!("{CONDITIONS}{more_conditions}"))
        .replace("{order}", order);
    let limit = i64::from(limit);
    let parameters = filter.parameters(after);
    let rows = client.query(&sql, &parameters.with(&[&limit, &PAGE_BYTES, &LETTER_BYTES])).await?;
    let found: i64 = rows.first().map_or(0, |row| row.get("found"));
    let letters = rows.iter().map(KeptLetter::of).collect::<Result<Vec<_>, _>>()?;
    let is_last = found < limit && letters.len() as i64 == found;
    let next = letters.last().filter(|_| !is_last).map(KeptLetter::position);
    Ok(LetterPage { letters, next })
}

/// Returns the dead letter of a line, if there is one.
pub async fn find(database: &Database, position: Position) -> Result<Option<KeptLetter>, PgError> {
    find_in(&schema::prepared_connection(database).await?, position).await
}

/// Returns the dead letter of a line, if there is one, as the client's transaction sees it.
pub(super) async fn find_in(
    client: &impl GenericClient,
    position: Position,
) -> Result<Option<KeptLetter>, PgError> {
    let Some(before) = position.line.checked_sub(1) else { return Ok(None) };
    let filter = LetterFilter { source: Some(position.source), ..LetterFilter::default() };
    let page = select(client, &filter, Some(Position::new(position.source, before)), "", "asc", 1).await?;
    Ok(page.letters.into_iter().next().filter(|letter| letter.position() == position))
}

/// Returns the number of dead letters of a filter, by reason.
pub async fn count(database: &Database, filter: &LetterFilter) -> Result<LetterCounts, PgError> {
    let listed = format!("select * from tidegate.dead_letters as d where {CONDITIONS}");
    let connection = schema::prepared_connection(database).await?;
    let rows = connection.query(&counting(&listed), &filter.parameters(None).with(&[])).await?;
    counted(&rows)
}

/// The query that counts the letters of the query `listed`, in the form that [`counted`] reads.
pub(super) fn counting(listed: &str) -> String {
    include_str!("../../../sql/queries/count_letters.sql").replace("{listed}", listed)
}

/// Reads the result of [`counting`].
pub(super) fn counted(rows: &[Row]) -> Result<LetterCounts, PgError> {
    let mut counted = LetterCounts::default();
    for row in rows {
        let lines = row.number("lines");
        let Some(dataset) = row.get("dataset") else {
            counted.lines = lines;
            continue;
        };
        counted.reasons.push(ReasonCount {
            dataset,
            status: row.try_get("status")?,
            code: row.get::<_, Option<_>>("code").unwrap_or_default(),
            column: row.get("column"),
            lines,
        });
    }
    Ok(counted)
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
        for wrong in [
            "",
            "now",
            "2026-13-01",
            "2026-01-31T10:00:00",
            "2026-01-31T10:00:00+25:00",
            "2026-01-31x10:00:00Z",
            "Z",
            "äöü-01-31",
        ] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
