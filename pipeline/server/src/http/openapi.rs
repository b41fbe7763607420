//! The description of the API, for machines at `/openapi.json` and for people at `/docs`.
//!
//! The page for people is served by this process alone: it and its scripts are part of the binary, and its policy
//! forbids browsers to load anything from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_core::manifest::{Column, Dataset, Manifest};
use utoipa::OpenApi as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, SecurityRequirement};
use utoipa_swagger_ui::{Config, serve};

use super::rows::ROWS_MAX;
use super::{App, Problem};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'none'; \
                      frame-ancestors 'none'";
const PROBLEM: &str = "application/problem+json";
/// The error answers of every operation that needs a token.
const ANYWHERE: [(&str, &str); 4] = [
    ("401", "no token was shown, or one that is not known or has expired"),
    ("403", "the token's role does not allow it"),
    ("500", "it failed; the server's log says why"),
    (
        "503",
        "not at the moment: ask again after `Retry-After` seconds, under an Idempotency-Key what must be done once",
    ),
];
/// The error answers of operations with path parameters, with query or header parameters, with a body, and with an
/// `Idempotency-Key`.
const OF_PATHS: [(&str, &str); 1] = [("404", "there is no such thing; `detail` says what")];
const OF_PARAMETERS: [(&str, &str); 1] = [("400", "the request is faulty; `detail` says where")];
const OF_BODIES: [(&str, &str); 4] = [
    ("400", "the request is faulty, in its body perhaps; `detail` says where"),
    ("408", "the client was too slow"),
    ("413", "it is too long, or has too many rows"),
    ("415", "it comes in another form"),
];
const OF_KEYS: [(&str, &str); 1] = [("422", "the Idempotency-Key was used for other content")];

#[derive(utoipa::OpenApi)]
#[openapi(
    components(schemas(Problem)),
    tags(
        (name = "push", description = "Send rows and files"),
        (name = "receipts", description = "What became of what was sent"),
        (name = "dead letters", description = "Lines that are not in their table, and why"),
        (name = "backups", description = "Tables to Avro files, and back"),
        (name = "views", description = "Metric views"),
        (name = "operations", description = "Health, metrics, and this description"),
    )
)]
struct Base;

/// Completes the description of a pipeline's API with what all operations share and what the manifest says.
pub(super) fn describe(mut api: OpenApi, manifest: &Manifest, views: &[String]) -> Value {
    let base = Base::openapi();
    api.tags = base.tags;
    let components = api.components.get_or_insert_with(Components::new);
    components.schemas.extend(base.components.into_iter().flat_map(|components| components.schemas));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("a token that `tidegate token create` made"))
        .build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let key = ApiKeyValue::with_description("x-api-key", "the same token");
    components.add_security_scheme("api_key", SecurityScheme::ApiKey(ApiKey::Header(key)));
    let no_scopes: [&str; 0] = [];
    api.security =
        Some(["bearer", "api_key"].map(|scheme| SecurityRequirement::new(scheme, no_scopes)).to_vec());
    api.info = Info::new("Tidegate", env!("CARGO_PKG_VERSION"));
    api.info.description = Some(
        "Rows and files in, exactly once; what became of every line; metric views. Errors are problem details \
         (RFC 9457) with stable types."
            .to_owned(),
    );
    let mut api = serde_json::to_value(api).unwrap_or_default();
    for (path, item) in api["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete(path, method, operation);
        }
    }
    pushes(&mut api["paths"], manifest);
    if !views.is_empty() {
        one_of(&mut api["paths"]["/v1/views/{view}"]["get"], "view", views);
    }
    links(&mut api["paths"]);
    api
}

/// Gives an operation a unique name, adds the answers that all operations may give, and describes errors as problems.
fn complete(path: &str, method: &str, operation: &mut Value) {
    operation["operationId"] = operation_id(path, method).into();
    let needs_token = operation.get("security").is_none();
    let parameters = operation["parameters"].as_array();
    let is_any = |is: &dyn Fn(&Value) -> bool| parameters.is_some_and(|all| all.iter().any(is));
    let possible: [(bool, &[(&str, &str)]); 5] = [
        (true, &ANYWHERE),
        (is_any(&|parameter| parameter["in"] == "path"), &OF_PATHS),
        (operation.get("requestBody").is_some(), &OF_BODIES),
        (is_any(&|parameter| parameter["in"] != "path"), &OF_PARAMETERS),
        (is_any(&|parameter| parameter["name"] == "Idempotency-Key"), &OF_KEYS),
    ];
    let possible = possible.into_iter().filter(|(applies, _)| needs_token && *applies);
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (status, description) in possible.flat_map(|(_, answers)| answers) {
        responses.entry(*status).or_insert_with(|| json!({"description": description}));
    }
    for (status, response) in responses {
        if status.starts_with(['4', '5']) {
            response["content"] = json!({PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}});
        }
    }
}

/// A name such as `get_v1_views_view`. It is made of the path, because several functions may have one name.
fn operation_id(path: &str, method: &str) -> String {
    let path: String = path.chars().filter(|c| !matches!(c, '{' | '}')).collect();
    format!("{method}{}", path.replace(['/', '-', ':', '.'], "_"))
}

/// Describes the datasets and their rows, which come from the manifest and not from a Rust type.
fn pushes(paths: &mut Value, manifest: &Manifest) {
    let names: Vec<&str> = manifest.datasets.iter().map(|dataset| dataset.name.as_str()).collect();
    let mut any = Map::new();
    let mut several = Map::new();
    for dataset in &manifest.datasets {
        let columns: Map<String, Value> =
            dataset.columns.iter().map(|column| (column.name.clone(), described(dataset, column))).collect();
        any.extend(columns.iter().map(|(name, _)| (name.clone(), json!({}))));
        let row = json!({"type": "object", "properties": columns, "additionalProperties": false});
        several.insert(dataset.name.clone(), json!({"type": "array", "items": row, "maxItems": ROWS_MAX}));
    }
    let one_row: Vec<Value> = names
        .iter()
        .map(|name| json!({"required": [name], "properties": {*name: {"minItems": 1}}}))
        .collect();
    let json = |operation: &mut Value, schema| {
        operation["requestBody"]["content"]["application/json"]["schema"] = schema;
    };
    let several = json!({
        "type": "object",
        "description": "the rows of each dataset, 1000 together",
        "properties": several,
        "additionalProperties": false,
        // All datasets together have at least one row.
        "anyOf": one_row,
    });
    json(&mut paths["/v1/rows"]["post"], several);
    let push = &mut paths["/v1/datasets/{dataset}/rows"]["post"];
    one_of(push, "dataset", &names);
    let rows = json!({
        "type": "object",
        "required": ["rows"],
        "additionalProperties": false,
        "properties": {"rows": {
            "type": "array",
            "minItems": 1,
            "maxItems": ROWS_MAX,
            "description": "objects of columns and values; which columns there are depends on the dataset",
            "items": {"type": "object", "properties": any, "additionalProperties": false},
        }},
    });
    json(push, rows);
    push["requestBody"]["content"]["multipart/form-data"]["schema"] = json!({
        "type": "object",
        "required": ["file"],
        "additionalProperties": false,
        "properties": {"file": {"type": "string", "format": "binary", "description": "a file of CSV"}},
    });
}

/// Describes a parameter as one of `names`.
fn one_of(operation: &mut Value, parameter: &str, names: &[impl Serialize]) {
    for described in operation["parameters"].as_array_mut().into_iter().flatten() {
        if described["name"] == parameter {
            described["schema"] = json!({"type": "string", "enum": names});
        }
    }
}

/// Describes a column for clients that send rows. No type is demanded, because a value of another type makes the line a
/// dead letter and not the request faulty.
fn described(dataset: &Dataset, column: &Column) -> Value {
    let is_key = dataset.key_columns().any(|key| key.name == column.name);
    let more = if !is_key {
        if column.optional { ", optional" } else { "" }
    } else if column.generated.is_some() {
        ", the key, generated where it is missing"
    } else if dataset.key.len() > 1 {
        ", part of the key"
    } else {
        ", the key"
    };
    json!({"description": format!("{}{more}", column.kind)})
}

/// Adds links from answers to the operations that they lead to.
fn links(paths: &mut Value) {
    let (push, several) = ("/v1/datasets/{dataset}/rows", "/v1/rows");
    let (letters, letter) = ("/v1/dead-letters", "/v1/dead-letters/{position}");
    let (replays, discards, job) =
        ("/v1/dead-letters/replay", "/v1/dead-letters/discard", "/v1/dead-letters/jobs/{job}");
    let all = [
        (("post", push), ("get", "/v1/receipts/{source}"), "source", "/source"),
        (("post", push), ("get", "/v1/receipts/{source}/events"), "source", "/source"),
        (("post", several), ("get", "/v1/receipts/{source}"), "source", "/receipts/0/source"),
        (("get", letters), ("get", letter), "position", "/letters/0/position"),
        (("get", letters), ("post", &format!("{letter}/replay")), "position", "/letters/0/position"),
        (("get", letters), ("post", &format!("{letter}/discard")), "position", "/letters/0/position"),
        (("post", replays), ("get", job), "job", "/job"),
        (("post", discards), ("get", job), "job", "/job"),
        (("post", discards), ("post", &format!("{job}/cancel")), "job", "/job"),
        (("post", "/v1/backups"), ("get", "/v1/backups/{id}"), "id", "/id"),
        (("post", "/v1/restores"), ("get", "/v1/restores/{id}"), "id", "/id"),
        (("get", "/v1/views"), ("get", "/v1/views/{view}"), "view", "/views/0/name"),
    ];
    for ((method, path), (to_method, to), parameter, from) in all {
        let Some(operation) = paths.get_mut(path).and_then(|item| item.get_mut(method)) else { continue };
        let to = operation_id(to, to_method);
        let link = json!({"operationId": to, "parameters": {parameter: format!("$response.body#{from}")}});
        for (_, response) in operation["responses"]
            .as_object_mut()
            .into_iter()
            .flatten()
            .filter(|(status, _)| status.starts_with('2'))
        {
            response["links"][&to] = link.clone();
        }
    }
}

/// The routes that serve the description.
pub(super) fn routes(api: &Value) -> Router<App> {
    let json = Bytes::from(format!("{api:#}"));
    let config = Arc::new(
        Config::from("/openapi.json").validator_url("none").deep_linking(true).persist_authorization(false),
    );
    let page = {
        let config = config.clone();
        move || async move { file("index.html", config) }
    };
    Router::new()
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], json)))
        .route("/docs", get(page.clone()))
        .route("/docs/", get(page))
        .route("/docs/{*file}", get(async move |Path(name): Path<String>| file(&name, config)))
}

fn file(name: &str, config: Arc<Config<'static>>) -> Response {
    let found = match serve(name, config) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Problem::not_found(format!("there is no '{name}' in the documentation")).into_response();
        }
        Err(error) => return Problem::internal(error).into_response(),
    };
    let mut bytes = found.bytes.into_owned();
    if name == "index.html" {
        // The base lets the page find its parts, since it is served at `/docs` without a redirect.
        let page =
            String::from_utf8_lossy(&bytes).replacen("<head>", "<head>\n    <base href=\"/docs/\" />", 1);
        bytes = page.replacen("<title>Swagger UI</title>", "<title>Tidegate</title>", 1).into_bytes();
    }
    let mut headers = HeaderMap::new();
    if let Ok(kind) = HeaderValue::from_str(&found.content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    (headers, bytes).into_response()
}
