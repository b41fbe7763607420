//! The HTTP API.
//!
//! # Layout
//!
//! * `service`: the state that handlers share. `problem`: errors as clients see them. `auth`: callers, tokens and
//!   roles.
//! * `listen`: sockets and encryption. `connections`: the open connections, and which is closed for another.
//! * `openapi`: the description, made of all handlers. `health`, `metrics`: for monitoring; `exposition`: the formats
//!   of metrics.
//! * `views`: metric views.
//! * `push`: rows and files in. `body`: the bodies of requests, decoded by `encoding`; `rows`, `numbers` and
//!   `form` read them. `receipts`: what became of the lines.
//! * `dead_letters`: dead letters. `moves`: replays and discards of them.
//! * `idempotency`: requests with an `Idempotency-Key`, which clients can retry.
//! * `backups`: backups; `pending_backups`: those that are not complete. `restores`: restores of them.

mod service;
mod problem;
mod auth;
mod listen;
mod connections;
mod push;
mod rows;
mod numbers;
mod body;
mod csv_parameters;
mod encoding;
mod form;
mod idempotency;
mod receipts;
mod reloads;
mod dead_letters;
mod moves;
mod backups;
mod pending_backups;
mod restores;
mod views;
mod health;
mod metrics;
mod exposition;
mod openapi;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use tidegate_node::Node;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Failure;
use problem::Problem;
use service::{App, JsonResult, PathParams, QueryParams, Service, page_limit};

/// The HTTP server beside a run.
pub(crate) struct RunningServer {
    app: App,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Serves HTTP, if the manifest asks for it, until the run ends. The server answers from the start; until the pipeline
/// and Postgres are available, requests that need them get 503.
///
/// # Errors
///
/// If the server cannot listen, or cannot read its certificate.
pub(crate) async fn start(node: &Node) -> Result<Option<RunningServer>, Failure> {
    let settings = node.settings();
    let Some(http) = settings.manifest.http.clone() else { return Ok(None) };
    let listener = listen::HttpListener::bind(&http, &settings.folder).await?;
    let (address, scheme) = (listener.address, listener.scheme());
    let app = Service::new(node, http, address.ip().is_loopback())?;
    info!("serving HTTP at {scheme}://{address}");
    let stop = CancellationToken::new();
    let notifications = node.listener().notifications();
    let (following, watching) = (app.clone(), app.clone());
    let tasks = vec![
        tokio::spawn(listener.serve(router(app.clone()), stop.clone())),
        tokio::spawn(async move { following.tokens.follow(&following.store, notifications).await }),
        tokio::spawn(async move { watching.watcher.watch(&watching.store).await }),
    ];
    Ok(Some(RunningServer { app, stop, tasks }))
}

impl RunningServer {
    /// Lets requests in hand end, and accepts no more.
    pub(crate) async fn end(mut self) {
        self.app.access.close();
        self.stop.cancel();
        let _ = (&mut self.tasks[0]).await;
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The routes of all resources.
fn router(app: App) -> Router {
    let (router, api) = OpenApiRouter::new()
        .routes(routes!(push::push))
        .routes(routes!(push::push_several))
        .routes(routes!(receipts::list))
        .routes(routes!(receipts::show))
        .routes(routes!(receipts::events))
        .routes(routes!(reloads::ask))
        .routes(routes!(reloads::follow))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::summary))
        .routes(routes!(dead_letters::export))
        .routes(routes!(dead_letters::show))
        .routes(routes!(moves::replay))
        .routes(routes!(moves::discard))
        .routes(routes!(moves::replay_many))
        .routes(routes!(moves::discard_many))
        .routes(routes!(moves::jobs))
        .routes(routes!(moves::job))
        .routes(routes!(moves::cancel))
        .routes(routes!(views::list))
        .routes(routes!(views::show))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(backups::list, backups::take))
        .routes(routes!(backups::show))
        .routes(routes!(backups::download))
        .routes(routes!(restores::ask))
        .routes(routes!(restores::follow))
        .routes(routes!(metrics::metrics))
        .split_for_parts();
    // The start of the run has read the views already. The description lists them as they are then.
    let views =
        app.settings.load_views().unwrap_or_default().into_iter().map(|view| view.name).collect::<Vec<_>>();
    router
        .merge(openapi::routes(&openapi::describe(api, &app.settings.manifest, &views)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn(encoding::decode))
        // Each handler has its own limits.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(|_| {
            axum::response::IntoResponse::into_response(Problem::internal("a handler panicked"))
        }))
        .layer(axum::middleware::from_fn_with_state(app.clone(), metrics::count))
        .with_state(app)
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(format!("there is nothing at '{}'; '/docs' shows what there is", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("'{}' does not know {method}; '/docs' shows what there is", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the method is not allowed", detail)
}
