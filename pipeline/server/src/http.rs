//! The HTTP API.
//!
//! # Layout
//!
//! * `service`: what handlers share. `problem`: errors as clients see them. `auth`: who asks, and what they may.
//! * `listen`: sockets, encryption. `connections`: those that are open, and who has to go.
//! * `openapi`: the description, which is made of all of them. `health`, `metrics`: for whoever watches;
//!   `exposition`: the formats of metrics.
//! * `views`: metric views.
//! * `push`: rows and files in. `body`: what is sent, in `encoding`; `rows`, `numbers`, `documents` and `form` read it.
//!   `receipts`: what became of it.
//! * `letters`: dead letters. `moves`: what is done with them.
//! * `idempotency`: requests that name themselves, to be sent again.
//! * `backups`: backups; `taking`: those that are not there yet. `restores`: restores of them.

mod service;
mod problem;
mod auth;
mod listen;
mod connections;
mod push;
mod rows;
mod numbers;
mod room;
mod body;
mod documents;
mod encoding;
mod form;
mod idempotency;
mod receipts;
mod reloads;
mod letters;
mod moves;
mod backups;
mod taking;
mod restores;
mod views;
mod health;
mod metrics;
mod exposition;
mod openapi;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, StatusCode, Uri};
use tidegate_connectors::postgres::Postgres;
use tidegate_engine::Counts;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::info;
use utoipa_axum::router::OpenApiRouter;

use crate::Failure;
use crate::settings::Settings;
pub(crate) use problem::Problem;
use service::page_limit;
pub(crate) use service::{App, Asked, Named, Service};

/// HTTP as it is served beside a run.
pub(crate) struct Serving {
    app: App,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Serves HTTP, if the manifest asks for it, until the run ends. It answers from the beginning, with 503 what needs
/// the pipeline or Postgres.
///
/// # Errors
///
/// If it cannot listen, or has no certificate.
pub(crate) async fn start(
    settings: &Settings,
    postgres: &Postgres,
    counts: Arc<Counts>,
) -> Result<Option<Serving>, Failure> {
    let Some(http) = settings.manifest.http.clone() else { return Ok(None) };
    let listener = listen::Listener::bind(&http, &settings.folder).await?;
    let (address, scheme) = (listener.address(), listener.scheme());
    let app = App::new(settings, http, postgres.clone(), counts)?;
    if address.ip().is_loopback() {
        app.tokens.open_while_none();
    }
    info!("serving HTTP at {scheme}://{address}");
    let stop = CancellationToken::new();
    let (following, watching) = (app.clone(), app.clone());
    let tasks = vec![
        tokio::spawn(listener.serve(router(app.clone()), stop.clone())),
        tokio::spawn(async move { following.tokens.follow(&following.postgres).await }),
        tokio::spawn(async move { watching.watcher.watch(&watching.postgres).await }),
    ];
    Ok(Some(Serving { app, stop, tasks }))
}

impl Serving {
    /// What handlers share.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Lets requests end that have begun, and no more begin.
    pub(crate) async fn end(mut self) {
        self.app.admit(None);
        self.stop.cancel();
        let _ = (&mut self.tasks[0]).await;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// All that is served.
fn router(app: App) -> Router {
    let (router, api) = OpenApiRouter::new()
        .merge(push::routes())
        .merge(receipts::routes())
        .merge(reloads::routes())
        .merge(letters::routes())
        .merge(moves::routes())
        .merge(views::routes())
        .merge(health::routes())
        .merge(backups::routes())
        .merge(restores::routes())
        .merge(metrics::routes())
        .split_for_parts();
    // A start has read them before; they are described as they are then.
    let views =
        app.settings.load_views().unwrap_or_default().into_iter().map(|view| view.name).collect::<Vec<_>>();
    router
        .merge(openapi::routes(&openapi::describe(api, &app.settings.manifest, &views)))
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn(encoding::decode))
        // Each handler has limits of its own.
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
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "not with that method", detail)
}
