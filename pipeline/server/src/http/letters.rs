//! Dead letters: what is not in its table, and why. What is done with it is in [`moves`](super::moves).

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidegate_connectors::postgres::export::{Export, ExportFormat};
use tidegate_connectors::postgres::filter::{Counted, KeptLetter, LetterFilter, STATUSES, parse_time};
use tidegate_connectors::postgres::moves::{MoveError, Refused};
use tidegate_core::dead_letter::{self, Code};
use tidegate_core::position::Position;
use tracing::warn;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::Read;
use super::moves::Move;
use super::{App, Asked, Named, Problem, page_limit};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(summary))
        .routes(routes!(export))
        .routes(routes!(show))
}

/// One reason against a line.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Reason {
    /// What kind of reason. The codes are stable.
    #[schema(schema_with = codes)]
    code: Code,
    /// The column it is about, if it is about one.
    column: Option<String>,
    /// The reason in words.
    message: String,
    /// The field as it was, its first 256 characters.
    value: String,
}

impl From<dead_letter::Reason> for Reason {
    fn from(reason: dead_letter::Reason) -> Self {
        let dead_letter::Reason { code, column, message, value } = reason;
        Self { code, column, message, value }
    }
}

pub(super) fn in_answer(reasons: Vec<dead_letter::Reason>) -> Vec<Reason> {
    reasons.into_iter().map(Reason::from).collect()
}

/// A line that is not in its table, or was not once.
#[derive(Debug, Serialize, ToSchema)]
struct Letter {
    /// Where the line stands: `SOURCE:LINE`.
    position: String,
    source: u64,
    line: u64,
    dataset: String,
    /// The name of the source.
    name: Option<String>,
    #[schema(schema_with = statuses)]
    status: String,
    /// Who made it: `source`, `transform` or `sink`.
    stage: String,
    /// How often it was replayed.
    attempt: u32,
    /// The line; of one that is too long its beginning; null if it is no text.
    text: Option<String>,
    /// In base64, the line that is no text.
    bytes: Option<String>,
    /// Of a line that is too long, its length in bytes.
    length: Option<u64>,
    /// Of a line that is too long, BLAKE3 in hexadecimal.
    blake3: Option<String>,
    /// All that is, or was at last, against it.
    reasons: Vec<Reason>,
    /// The references that a waiting line lacks, by column.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    awaits: Option<serde_json::Value>,
    /// The names of the fields of `text`, in order, and what is between them.
    text_columns: Option<Vec<String>>,
    text_delimiter: Option<String>,
    /// What an accepted line held of columns that the manifest did not have any more.
    #[schema(value_type = Option<std::collections::HashMap<String, String>>)]
    dropped: Option<serde_json::Value>,
    /// When it was made, RFC 3339.
    created_at: String,
    /// When it changed last, RFC 3339.
    updated_at: String,
}

impl From<KeptLetter> for Letter {
    fn from(kept: KeptLetter) -> Self {
        Self {
            position: kept.position().to_string(),
            source: kept.source,
            line: kept.line,
            dataset: kept.dataset,
            name: kept.name,
            status: kept.status,
            stage: kept.stage,
            attempt: kept.attempt,
            text: kept.text,
            bytes: kept.bytes,
            length: kept.length,
            blake3: kept.blake3,
            reasons: in_answer(kept.reasons),
            awaits: kept.awaits,
            text_columns: kept.text_columns,
            text_delimiter: kept.text_delimiter,
            dropped: kept.dropped,
            created_at: kept.created_at,
            updated_at: kept.updated_at,
        }
    }
}

/// A dead letter with all that was done with it.
#[derive(Debug, Serialize, ToSchema)]
struct LetterWithMoves {
    #[serde(flatten)]
    letter: Letter,
    /// Replays and discards, oldest first.
    moves: Vec<Move>,
}

/// Dead letters, oldest position first.
#[derive(Debug, Serialize, ToSchema)]
struct Letters {
    letters: Vec<Letter>,
    /// What to give as `after` to get the next ones; null at the end.
    next: Option<String>,
}

/// How many dead letters there are of a kind.
#[derive(Debug, Serialize, ToSchema)]
struct ReasonCount {
    dataset: String,
    #[schema(schema_with = statuses)]
    status: String,
    /// The reason's code; empty for letters without one.
    code: String,
    column: Option<String>,
    /// How many letters have it. One with two reasons counts for both.
    lines: u64,
}

/// How many dead letters there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    /// How many letters.
    lines: u64,
    /// By dataset, status, reason and column.
    reasons: Vec<ReasonCount>,
    /// Of a replay that is only tried: how many lines more can only be replayed one by one, with an edited line.
    #[serde(skip_serializing_if = "Option::is_none")]
    need_a_line: Option<u64>,
}

impl Summary {
    /// What a bulk move would be.
    pub(super) fn of_move(counted: Counted, need_a_line: Option<u64>) -> Self {
        Self { need_a_line, ..counted.into() }
    }
}

impl From<Counted> for Summary {
    fn from(counted: Counted) -> Self {
        let reasons = counted.reasons.into_iter().map(|count| ReasonCount {
            dataset: count.dataset,
            status: count.status,
            code: count.code,
            column: count.column,
            lines: count.lines,
        });
        Self { lines: counted.lines, reasons: reasons.collect(), need_a_line: None }
    }
}

macro_rules! queries {
    ($($(#[doc = $doc:literal])+ $query:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty,)* })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Debug, Deserialize, IntoParams)]
            #[serde(deny_unknown_fields)]
            #[into_params(parameter_in = Query)]
            struct $query {
                /// Of this dataset.
                #[param(pattern = "^[^\\x00]*$")]
                dataset: Option<String>,
                /// With this reason.
                #[param(schema_with = codes)]
                reason: Option<String>,
                /// With a reason about this column; of that code, if both are given.
                #[param(pattern = "^[^\\x00]*$")]
                column: Option<String>,
                /// With this status.
                #[param(schema_with = statuses)]
                status: Option<String>,
                /// Of this source.
                #[param(minimum = 1)]
                source: Option<u64>,
                /// Made at this time or later.
                #[param(format = DateTime)]
                since: Option<String>,
                /// Made before this time.
                #[param(format = DateTime)]
                until: Option<String>,
                /// Whose line has this text in it, letter by letter.
                #[param(pattern = "^[^\\x00]*$")]
                contains: Option<String>,
                $($(#[$attribute])* $field: $kind,)*
            }

            impl $query {
                /// The filter.
                fn filter(&self) -> Result<LetterFilter, Problem> {
                    Filter {
                        dataset: self.dataset.clone(),
                        reason: self.reason.clone(),
                        column: self.column.clone(),
                        status: self.status.clone(),
                        source: self.source,
                        since: self.since.clone(),
                        until: self.until.clone(),
                        contains: self.contains.clone(),
                    }
                    .read()
                }
            }
        )+
    };
}

queries! {
    /// A list of dead letters.
    Listing {
        /// Only letters behind this position: the `next` of the page before.
        #[param(pattern = "^[1-9][0-9]{0,17}:[1-9][0-9]{0,17}$")]
        after: Option<String>,
        /// How many, at most: 100 if it is not given.
        #[param(minimum = 1, maximum = 1000)]
        limit: Option<u32>,
    }
    /// A summary of dead letters.
    Counting {}
    /// An export of dead letters.
    Exporting {
        /// NDJSON if it is not given.
        #[param(inline)]
        format: Option<Format>,
        /// How many, at most: all if it is not given.
        #[param(minimum = 1)]
        limit: Option<u64>,
    }
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Ndjson,
    Csv,
}

/// A line, in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // the description's
pub(super) struct Where {
    /// Where the line stands, as `SOURCE:LINE`.
    #[param(example = "3:117", pattern = "^[1-9][0-9]{0,17}:[1-9][0-9]{0,17}$")]
    position: String,
}

/// Which dead letters: those of which all that is given is true.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Filter {
    /// Of this dataset.
    #[schema(pattern = "^[^\\x00]*$")]
    dataset: Option<String>,
    /// With this reason.
    #[schema(schema_with = codes)]
    reason: Option<String>,
    /// With a reason about this column; of that code, if both are given.
    #[schema(pattern = "^[^\\x00]*$")]
    column: Option<String>,
    /// With this status.
    #[schema(schema_with = statuses)]
    status: Option<String>,
    /// Of this source.
    #[schema(minimum = 1)]
    source: Option<u64>,
    /// Made at this time or later.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Made before this time.
    #[schema(format = DateTime)]
    until: Option<String>,
    /// Whose line has this text in it, letter by letter.
    #[schema(pattern = "^[^\\x00]*$")]
    contains: Option<String>,
}

impl Filter {
    pub(super) fn read(self) -> Result<LetterFilter, Problem> {
        let time = |text: Option<String>| text.as_deref().map(parse_time).transpose();
        let read = || {
            let filter = LetterFilter {
                dataset: self.dataset,
                code: self.reason,
                column: self.column,
                status: self.status,
                source: self.source,
                since: time(self.since)?,
                until: time(self.until)?,
                contains: self.contains,
            };
            filter.check()?;
            Ok(filter)
        };
        read().map_err(|malformed: tidegate_connectors::postgres::filter::MalformedFilter| {
            Problem::bad_request(malformed.to_string())
        })
    }
}

fn words(words: impl Iterator<Item = String>) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(words)).build()
}

fn codes() -> Object {
    let word = |code: &Code| serde_json::json!(code).as_str().unwrap_or_default().to_owned();
    words(Code::ALL.iter().map(word))
}

fn statuses() -> Object {
    words(STATUSES.iter().map(|status| (*status).to_owned()))
}

/// List dead letters, oldest position first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(Listing), responses(
    (status = 200, body = Letters),
))]
async fn list(
    State(app): State<App>,
    _: Read,
    Asked(listing): Asked<Listing>,
) -> Result<Json<Letters>, Problem> {
    let filter = listing.filter()?;
    let limit = page_limit(listing.limit)?;
    let after = listing.after.as_deref().map(str::parse::<Position>).transpose();
    let after = after.map_err(|error| Problem::bad_request(error.to_string()))?;
    let page = app.readers.letters(&filter, after, limit).await?;
    let letters = page.letters.into_iter().map(Letter::from).collect();
    Ok(Json(Letters { letters, next: page.next.map(|next| next.to_string()) }))
}

/// Count dead letters by dataset, status, reason and column
#[utoipa::path(get, path = "/v1/dead-letters/summary", tag = "dead letters", params(Counting), responses(
    (status = 200, body = Summary),
))]
async fn summary(
    State(app): State<App>,
    _: Read,
    Asked(counting): Asked<Counting>,
) -> Result<Json<Summary>, Problem> {
    Ok(Json(app.readers.count_letters(&counting.filter()?).await?.into()))
}

/// Export dead letters as NDJSON or CSV, of any number
///
/// In CSV a cell that a spreadsheet would take for a formula gets an apostrophe in front; NDJSON has every line exact.
#[utoipa::path(get, path = "/v1/dead-letters/export", tag = "dead letters", params(Exporting), responses(
    (status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
))]
async fn export(
    State(app): State<App>,
    _: Read,
    Asked(exporting): Asked<Exporting>,
) -> Result<Response, Problem> {
    let filter = exporting.filter()?;
    if exporting.limit == Some(0) {
        return Err(Problem::bad_request("limit is 0; it is 1 or more"));
    }
    let (format, kind, name) = match exporting.format.unwrap_or(Format::Ndjson) {
        Format::Ndjson => (ExportFormat::Ndjson, "application/x-ndjson", "dead-letters.ndjson"),
        Format::Csv => (ExportFormat::Csv, "text/csv; charset=utf-8", "dead-letters.csv"),
    };
    let mut export = app.readers.export_letters(filter, format, exporting.limit);
    // What cannot be had at all is a problem; what fails later cuts the answer off.
    let first = export.next().await?;
    let rest = stream::unfold(Some((first, export)), |state: Option<(Option<Vec<u8>>, Export)>| async {
        let (piece, mut export) = state?;
        let piece = piece?;
        Some(match export.next().await {
            Ok(next) => (Ok(piece), Some((next, export))),
            Err(error) => {
                warn!("an export of dead letters was cut off: {error}");
                (Err(std::io::Error::other("Postgres could not be asked any more")), None)
            }
        })
    });
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, Body::from_stream(rest)).into_response())
}

/// Show a dead letter, with all that was done with it
#[utoipa::path(get, path = "/v1/dead-letters/{position}", tag = "dead letters",
    params(Where), responses(
    (status = 200, body = LetterWithMoves),
))]
async fn show(
    State(app): State<App>,
    _: Read,
    Named(position): Named<String>,
) -> Result<Json<LetterWithMoves>, Problem> {
    let position = read_position(&position)?;
    let letter = app.readers.letter(position).await?;
    let letter = letter.ok_or_else(|| Problem::from(MoveError::from(Refused::Unknown(position))))?;
    let moves = app.readers.moves_of(position).await?;
    Ok(Json(LetterWithMoves { letter: letter.into(), moves: moves.into_iter().map(Move::from).collect() }))
}

/// A position as Postgres can hold it.
pub(super) fn read_position(text: &str) -> Result<Position, Problem> {
    let position: Position = text.parse().map_err(|error| Problem::not_found(format!("{error}")))?;
    let held = [position.source, position.line].iter().all(|number| i64::try_from(*number).is_ok());
    if held { Ok(position) } else { Err(MoveError::from(Refused::Unknown(position)).into()) }
}
