//! Dead letters: lines that are not in their tables, with the reasons. [`moves`](super::moves) replays and discards
//! them.

use axum::Json;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tidegate_core::position::Position;
use tidegate_store::export::{self, Export, ExportFormat};
use tidegate_store::filter::{
    self, KeptLetter, LetterCounts, LetterFilter, MalformedFilter, codes, parse_time, statuses,
};
use tidegate_store::moves::{self, MoveError, Refusal};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

use crate::advice::{self, ReasonAdvice};

use super::auth::Read;
use super::moves::MoveBody;
use super::{JsonResult, PathParams, Problem, QueryParams, body, page_limit};

/// A line that is not in its table, or was not once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Letter {
    /// Where the line stands: `SOURCE:LINE`.
    position: String,
    #[serde(flatten)]
    letter: KeptLetter,
}

impl From<KeptLetter> for Letter {
    fn from(letter: KeptLetter) -> Self {
        Self { position: letter.position().to_string(), letter }
    }
}

/// A dead letter with all that was done with it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LetterWithMoves {
    #[serde(flatten)]
    letter: Letter,
    /// Replays and discards, oldest first.
    moves: Vec<MoveBody>,
}

/// Dead letters, oldest position first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Letters {
    letters: Vec<Letter>,
    /// What to give as `after` to get the next ones; null at the end.
    next: Option<String>,
}

/// How many dead letters there are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Summary {
    /// How many letters.
    lines: u64,
    /// By dataset, status, reason and column.
    reasons: Vec<ReasonAdvice>,
    /// Of a replay that is only tried: how many lines more can only be replayed one by one, with an edited line.
    #[serde(skip_serializing_if = "Option::is_none")]
    need_a_line: Option<u64>,
}

impl Summary {
    pub(super) fn new(LetterCounts { lines, reasons }: LetterCounts, need_a_line: Option<u64>) -> Self {
        let reasons = reasons.into_iter().map(ReasonAdvice::from).collect();
        Self { lines, reasons, need_a_line }
    }
}

/// Declares filters of dead letters, and the other fields of their requests. `$describes` is the attribute of a field
/// for the description.
macro_rules! letter_filters {
    ($(
        $(#[$meta:meta])+
        $describes:ident $name:ident {
            $(#[$number:meta])* source,
            $($(#[$attribute:meta])* $field:ident: $kind:ty,)*
        }
    )+) => {
        $(
            $(#[$meta])+
            #[serde(deny_unknown_fields)]
            pub(super) struct $name {
                /// Of this dataset.
                #[$describes(pattern = "^[^\\x00]*$")]
                dataset: Option<String>,
                /// With this reason.
                #[$describes(schema_with = codes)]
                reason: Option<String>,
                /// With a reason about this column; of that code, if both are given.
                #[$describes(pattern = "^[^\\x00]*$")]
                column: Option<String>,
                /// With this status.
                #[$describes(schema_with = statuses)]
                status: Option<String>,
                /// Of this source.
                $(#[$number])*
                #[$describes(minimum = 1)]
                source: Option<u64>,
                /// Made at this time or later.
                #[$describes(format = DateTime)]
                since: Option<String>,
                /// Made before this time.
                #[$describes(format = DateTime)]
                until: Option<String>,
                /// Whose line has this text in it, letter by letter.
                #[$describes(pattern = "^[^\\x00]*$")]
                contains: Option<String>,
                $($(#[$attribute])* $field: $kind,)*
            }

            impl $name {
                /// The filter.
                pub(super) fn filter(&self) -> Result<LetterFilter, Problem> {
                    let time = |text: &Option<String>| text.as_deref().map(parse_time).transpose();
                    let read = || {
                        let filter = LetterFilter {
                            dataset: self.dataset.clone(),
                            code: self.reason.clone(),
                            column: self.column.clone(),
                            status: self.status.clone(),
                            source: self.source,
                            since: time(&self.since)?,
                            until: time(&self.until)?,
                            contains: self.contains.clone(),
                        };
                        filter.check()?;
                        Ok(filter)
                    };
                    read().map_err(|malformed: MalformedFilter| Problem::bad_request(malformed.to_string()))
                }
            }
        )+
    };
}

letter_filters! {
    /// Which dead letters: those of which all that is given is true.
    #[derive(Debug, Default, Deserialize, ToSchema)]
    #[serde(default)]
    schema Filter {
        #[serde(deserialize_with = "body::whole_number")]
        source,
    }
    /// A list of dead letters.
    #[derive(Debug, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    param ListParams {
        source,
        /// Only letters behind this position: the `next` of the page before.
        #[param(pattern = "^[1-9][0-9]{0,17}:[1-9][0-9]{0,17}$")]
        after: Option<String>,
        /// How many, at most: 100 if it is not given.
        #[param(minimum = 1, maximum = 1000)]
        limit: Option<u32>,
    }
    /// A summary of dead letters.
    #[derive(Debug, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    param SummaryParams {
        source,
    }
    /// An export of dead letters.
    #[derive(Debug, Deserialize, IntoParams)]
    #[into_params(parameter_in = Query)]
    param ExportParams {
        source,
        /// NDJSON if it is not given.
        #[param(inline)]
        format: Option<ExportName>,
        /// How many, at most: all if it is not given.
        #[param(minimum = 1)]
        limit: Option<u64>,
    }
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ExportName {
    Ndjson,
    Csv,
}

/// A line, in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code)] // the description's
pub(super) struct PositionParam {
    /// Where the line stands, as `SOURCE:LINE`.
    #[param(example = "3:117", pattern = "^[1-9][0-9]{0,17}:[1-9][0-9]{0,17}$")]
    position: String,
}

/// List dead letters, oldest position first
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(ListParams), responses(
    (status = 200, body = Letters),
))]
pub(super) async fn list(
    Read(app, _): Read,
    QueryParams(listing): QueryParams<ListParams>,
) -> JsonResult<Letters> {
    let filter = listing.filter()?;
    let limit = page_limit(listing.limit)?;
    let after = listing.after.as_deref().map(str::parse::<Position>).transpose();
    let after = after.map_err(|error| Problem::bad_request(error.to_string()))?;
    let page = filter::page(&app.readers, &filter, after, limit).await?;
    let letters = page.letters.into_iter().map(Letter::from).collect();
    Ok(Json(Letters { letters, next: page.next.map(|next| next.to_string()) }))
}

/// Count dead letters by dataset, status, reason and column, with the setting that would accept them
#[utoipa::path(get, path = "/v1/dead-letters/summary", tag = "dead letters", params(SummaryParams), responses(
    (status = 200, body = Summary),
))]
pub(super) async fn summary(
    Read(app, _): Read,
    QueryParams(counting): QueryParams<SummaryParams>,
) -> JsonResult<Summary> {
    let filter = counting.filter()?;
    let counts = filter::count(&app.readers, &filter).await?;
    let lines = counts.lines;
    let reasons = advice::of_counts(&app.readers, &app.settings.manifest, &filter, counts).await?;
    Ok(Json(Summary { lines, reasons, need_a_line: None }))
}

/// Export dead letters as NDJSON or CSV, of any number
///
/// In CSV a cell that a spreadsheet would take for a formula gets an apostrophe in front; NDJSON has every line exact.
#[utoipa::path(get, path = "/v1/dead-letters/export", tag = "dead letters", params(ExportParams), responses(
    (status = 200, content((String = "application/x-ndjson"), (String = "text/csv"))),
))]
pub(super) async fn export(
    Read(app, _): Read,
    QueryParams(exporting): QueryParams<ExportParams>,
) -> Result<Response, Problem> {
    let filter = exporting.filter()?;
    if exporting.limit == Some(0) {
        return Err(Problem::bad_request("limit is 0; it is 1 or more"));
    }
    let (format, kind, name) = match exporting.format.unwrap_or(ExportName::Ndjson) {
        ExportName::Ndjson => (ExportFormat::Ndjson, "application/x-ndjson", "dead-letters.ndjson"),
        ExportName::Csv => (ExportFormat::Csv, "text/csv; charset=utf-8", "dead-letters.csv"),
    };
    let mut export = export::export(&app.readers, filter, format, exporting.limit);
    // An error before the first piece becomes a problem. A later error cuts the answer off.
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
    params(PositionParam), responses(
    (status = 200, body = LetterWithMoves),
))]
pub(super) async fn show(
    Read(app, _): Read,
    PathParams(position): PathParams<String>,
) -> JsonResult<LetterWithMoves> {
    let position = read_position(&position)?;
    let letter = filter::find(&app.readers, position).await?;
    let letter = letter.ok_or_else(|| Problem::from(MoveError::from(Refusal::Unknown(position))))?;
    let moves = moves::of_line(&app.readers, position).await?;
    Ok(Json(LetterWithMoves {
        letter: letter.into(),
        moves: moves.into_iter().map(MoveBody::from).collect(),
    }))
}

/// Parses a position that Postgres can store.
pub(super) fn read_position(text: &str) -> Result<Position, Problem> {
    let position: Position = text.parse().map_err(|error| Problem::not_found(format!("{error}")))?;
    let held = [position.source, position.line].iter().all(|number| i64::try_from(*number).is_ok());
    if held { Ok(position) } else { Err(MoveError::from(Refusal::Unknown(position)).into()) }
}
