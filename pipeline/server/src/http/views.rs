//! Metric views over HTTP.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_views::{OrderBy, ReadError, RegisteredView, RowPage, RowQuery, explain, read};
use utoipa::ToSchema;

use super::auth::Read;
use super::{JsonResult, PathParams, Problem, QueryParams};
use crate::formats::{self, Cells};

const LIMIT_DEFAULT: u32 = 1000;
const LIMIT_MAX: u32 = 10_000;
/// The largest offset of a page.
const OFFSET_MAX: u64 = 1_000_000_000;
const FILTERS_MAX: usize = 50;
/// The prefix of filters by a column whose name is also that of another parameter.
const WHERE: &str = "where.";

/// A metric view.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = View)]
pub(super) struct ViewBody {
    /// Its name, which is that of its file.
    name: String,
    /// `incremental`: exact at every commit. `layered`: as fresh as the views it reads. `refreshed`: as of its last
    /// refresh.
    #[schema(example = "incremental")]
    kind: String,
    /// The views that it reads.
    reads: Vec<String>,
    /// Its columns, in order.
    columns: Vec<ColumnBody>,
    /// How often it is refreshed, in seconds; null unless it is refreshed.
    refresh_seconds: Option<f64>,
    /// When it was refreshed, RFC 3339; null unless it is refreshed.
    refreshed_at: Option<String>,
}

/// A column of a view.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Column)]
pub(super) struct ColumnBody {
    name: String,
    /// Its type, as Postgres names it.
    #[serde(rename = "type")]
    #[schema(example = "bigint")]
    kind: String,
}

/// All metric views, each behind those that it reads.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Views {
    views: Vec<ViewBody>,
}

/// Some rows of a view.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ViewRows {
    /// The view.
    view: String,
    /// The rows: objects of columns and values. Numbers are numbers with all their digits; dates and times are texts
    /// as Postgres writes them, in UTC; what is missing is null.
    #[schema(value_type = Vec<Object>)]
    rows: Box<RawValue>,
    /// The `offset` of the next page; null if there is none.
    next_offset: Option<u64>,
}

impl From<RegisteredView> for ViewBody {
    fn from(view: RegisteredView) -> Self {
        let RegisteredView { name, kind, reads, columns, refresh, refreshed_at, .. } = view;
        let columns = columns.into_iter().map(|(name, kind)| ColumnBody { name, kind }).collect();
        let refreshed_at = refreshed_at.map(|at| format!("{}Z", at.replace(' ', "T")));
        let refresh_seconds = refresh.map(|every| every.as_secs_f64());
        Self { name, kind, reads, columns, refresh_seconds, refreshed_at }
    }
}

/// List the metric views
#[utoipa::path(get, path = "/v1/views", tag = "views", responses((status = 200, body = Views)))]
pub(super) async fn list(Read(app, _): Read) -> JsonResult<Views> {
    let views = explain::in_database(&app.readers).await?;
    Ok(Json(Views { views: views.into_iter().map(ViewBody::from).collect() }))
}

/// Read the rows of a metric view
///
/// Any other parameter is a filter by the column of that name: `?year=2021&department=Sales`. A column that is called
/// `order`, `limit`, `offset` or `format` is meant by `where.order` and so on; so may be any other.
#[utoipa::path(get, path = "/v1/views/{view}", tag = "views",
    params(
        ("view" = String, Path, description = "the name of the view"),
        ("order" = Option<String>, Query,
            description = "columns to order by, commas between them, `-` before one whose largest values come first; \
                           what is equal in all of them is ordered by the others. Without it the view's own order"),
        ("limit" = Option<u32>, Query, description = "how many rows, at most: 1000 if it is not given", minimum = 1, maximum = 10000),
        ("offset" = Option<u64>, Query, description = "how many rows to leave out before", minimum = 0, maximum = 1_000_000_000),
        ("format" = inline(Option<RowsFormat>), Query, description = "`json` if it is not given")
    ),
    responses(
    (status = 200, description = "the rows; a header `Link` leads to the next page, if there is one", content(
        (ViewRows = "application/json"), (String = "text/csv"))),
))]
pub(super) async fn show(
    Read(app, _): Read,
    PathParams(view): PathParams<String>,
    QueryParams(parameters): QueryParams<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let Query { rows: wanted, format } = Query::read(&parameters)?;
    let RowPage { rows, more } = read::rows(&app.readers, &view, &wanted).await?;
    let next_offset = more.then(|| wanted.offset + u64::from(wanted.limit.unwrap_or(LIMIT_MAX)));
    let mut headers = HeaderMap::new();
    if let Some(link) = next_offset.and_then(|offset| next_page(&view, &parameters, offset)) {
        headers.insert(header::LINK, link);
    }
    Ok(match format {
        RowsFormat::Json => {
            let rows =
                RawValue::from_string(formats::json(&rows).map_err(failed)?).map_err(Problem::internal)?;
            (headers, Json(ViewRows { view, rows, next_offset })).into_response()
        }
        RowsFormat::Csv => {
            headers.insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
            );
            // A view's name consists of a-z, 0-9 and _.
            let file = HeaderValue::from_str(&format!("attachment; filename=\"{view}.csv\""));
            headers.insert(header::CONTENT_DISPOSITION, file.map_err(Problem::internal)?);
            (headers, formats::csv(&rows, Cells::Harmless).await.map_err(failed)?).into_response()
        }
    })
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NoView(error) => Self::not_found(error.to_string()),
            ReadError::Unfit { column, message } => Self::bad_request(message).with("column", column),
            ReadError::Postgres(error) => error.into(),
        }
    }
}

fn failed(failure: crate::Failure) -> Problem {
    Problem::internal(failure.message)
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum RowsFormat {
    #[default]
    Json,
    Csv,
}

/// The parameters of a request for rows.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    rows: RowQuery,
    format: RowsFormat,
}

impl Query {
    fn read(parameters: &[(String, String)]) -> Result<Self, Problem> {
        let filters: Vec<_> = parameters.iter().filter(|(name, _)| !is_reserved(name)).collect();
        if filters.len() > FILTERS_MAX {
            return Err(Problem::bad_request(format!("there are more than {FILTERS_MAX} filters")));
        }
        let column = |name: &str| name.strip_prefix(WHERE).unwrap_or(name).to_owned();
        let filters = filters.into_iter().map(|(name, value)| (column(name), value.clone())).collect();
        let limit = number(parameters, "limit", LIMIT_DEFAULT, 1..=LIMIT_MAX)?;
        let offset = number(parameters, "offset", 0, 0..=OFFSET_MAX)?;
        let order: Vec<OrderBy> = match single(parameters, "order")? {
            None | Some("") => Vec::new(),
            Some(order) => order.split(',').filter_map(|column| column.parse().ok()).collect(),
        };
        let format = match single(parameters, "format")? {
            None | Some("json") => RowsFormat::Json,
            Some("csv") => RowsFormat::Csv,
            Some(other) => {
                return Err(Problem::bad_request(format!("format is '{other}'; it is 'json' or 'csv'")));
            }
        };
        let rows = RowQuery { filters, order, limit: Some(limit), offset };
        Ok(Self { rows, format })
    }
}

fn is_reserved(name: &str) -> bool {
    ["order", "limit", "offset", "format"].contains(&name)
}

fn number<T: Copy + Display + FromStr + PartialOrd>(
    parameters: &[(String, String)],
    name: &str,
    default: T,
    range: RangeInclusive<T>,
) -> Result<T, Problem> {
    let Some(given) = single(parameters, name)? else { return Ok(default) };
    given.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        Problem::bad_request(format!("{name} is '{given}'; it is a number from {least} to {most}"))
    })
}

fn single<'a>(parameters: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Problem> {
    let mut given = parameters.iter().filter(|(its, _)| its == name).map(|(_, value)| value.as_str());
    let first = given.next();
    match given.next() {
        Some(_) => Err(Problem::bad_request(format!("{name} is given twice"))),
        None => Ok(first),
    }
}

/// The link to the next page of the same request.
fn next_page(view: &str, parameters: &[(String, String)], offset: u64) -> Option<HeaderValue> {
    let offset = ("offset".to_owned(), offset.to_string());
    let others = parameters.iter().filter(|(name, _)| name != "offset");
    let query =
        form_urlencoded::Serializer::new(String::new()).extend_pairs(others.chain([&offset])).finish();
    HeaderValue::from_str(&format!("</v1/views/{view}?{query}>; rel=\"next\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Query, Problem> {
        let parameters: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Query::read(&parameters)
    }

    #[test]
    fn what_is_no_setting_is_a_filter() {
        let Query { rows, format } =
            read("year=2021&where.order=a%20b&where.year=1&order=-hired,id&limit=10000&offset=7&format=csv")
                .unwrap();
        let filter = |column: &str, value: &str| (column.to_owned(), value.to_owned());
        assert_eq!(rows.filters, [filter("year", "2021"), filter("order", "a b"), filter("year", "1")]);
        let by = |column: &str, descending| OrderBy { column: column.to_owned(), descending };
        assert_eq!(rows.order, [by("hired", true), by("id", false)]);
        assert_eq!((rows.limit, rows.offset, format), (Some(10_000), 7, RowsFormat::Csv));
        let Query { rows, format } = read("").unwrap();
        assert_eq!((rows.limit, rows.offset, rows.order.len(), format), (Some(1000), 0, 0, RowsFormat::Json));
    }

    #[test]
    fn settings_that_are_none_are_refused() {
        for query in [
            "limit=0",
            "limit=10001",
            "limit=x",
            "limit=1&limit=1",
            "offset=-1",
            "offset=1000000001",
            "format=xml",
            "order=a&order=b",
        ] {
            read(query).unwrap_err();
        }
        read(&"a=1&".repeat(50)).unwrap();
        read(&"a=1&".repeat(51)).unwrap_err();
    }

    #[test]
    fn the_next_page_is_asked_for_as_this_one() {
        let parameters =
            [("a b", "é&="), ("offset", "0")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let link = next_page("v", &parameters, 10).unwrap();
        assert_eq!(link, "</v1/views/v?a+b=%C3%A9%26%3D&offset=10>; rel=\"next\"");
    }
}
