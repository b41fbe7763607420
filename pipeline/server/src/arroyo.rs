//! `tidegate arroyo`: the transform on an Arroyo cluster.
//!
//! # Layout
//!
//! * `sql`: the job, as SQL over the topics.
//! * `udf`: its functions, as sources.
//! * `deploy`: from what a cluster runs to what the manifest says. `api`: what it asks of the cluster.

mod sql;
mod udf;
mod api;
mod deploy;

use crate::cli::{ArroyoArguments, ArroyoCommand, Global};
use crate::settings::Settings;
use crate::{Failure, output};

/// `tidegate arroyo`.
///
/// # Errors
///
/// If the manifest is faulty or lacks something, or the cluster does not do what it is asked for.
pub async fn command(global: &Global, arguments: &ArroyoArguments) -> Result<(), Failure> {
    let settings = Settings::load(global)?;
    let manifest = &settings.manifest;
    match &arguments.command {
        ArroyoCommand::Sql(arguments) => {
            let endpoint = sql::endpoint(manifest, arguments.endpoint.as_deref())?;
            output::print(&sql::job(manifest, endpoint))
        }
        ArroyoCommand::Udf(arguments) => udf::command(manifest, arguments),
        ArroyoCommand::Deploy(arguments) => deploy::command(manifest, arguments).await,
    }
}
