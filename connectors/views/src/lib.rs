//! Metric views, exact at every commit, on stock Postgres.
//!
//! A file of `sql/views` holds one `select`. [`analysis`] decides its kind:
//!
//! * *incremental*: a [`store`] of changes, kept up to date by triggers and by the sink's direct copy, and a plain
//!   view that sums the changes up. [`shape`] decides which queries are of this class, and [`compile`] derives store
//!   and view from such a query;
//! * *layered*: a plain view, because it reads other views;
//! * *refreshed*: a materialized view, refreshed on a schedule.
//!
//! [`plan`] compares the database with the files, and [`apply`](mod@apply) brings it to the state that they describe.
//! [`upkeep`] folds and refreshes, [`read`] serves readers, and [`registered`](mod@registered) serves audits.

mod kind;
mod file;
mod sql;
mod aggregate;
mod shape;
mod compile;
mod store;
mod maintained_store;
mod analysis;
mod registered;
mod plan;
mod apply;
mod locks;
mod session_settings;
mod triggers;
pub mod upkeep;
pub mod explain;
pub mod read;

pub use apply::apply;
pub use explain::Explanation;
pub use file::{View, unknown};
pub use kind::{RefreshReason, ViewKind};
pub use maintained_store::MaintainedStore;
pub use plan::{Action, ViewStep};
pub use read::{OrderBy, ReadError, RowPage, RowQuery};
pub use registered::{RegisteredView, maintained, registered};
pub use session_settings::{set_search_path, settings};
pub use store::{StoreSpec, ViewStore};
pub use upkeep::{Refresh, RefreshedView};
