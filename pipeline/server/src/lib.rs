//! The command `tidegate`: command line, HTTP and wiring. A [`Node`](tidegate_node::Node) does the work.
//!
//! # Layout
//!
//! * [`cli`]: the commands, a file each with its flags. `settings` reads the manifest, `output` writes to stdout, `progress` shows progress on stderr, `signals` stops a command.
//! * [`http`]: the API beside a run, a file for each kind of resource.
//! * [`formats`]: relations as CSV and JSON.
//! * [`advice`]: the settings of the manifest that would accept dead letters.
//! * [`generate`]: example data of any size.

pub mod generate;
pub mod formats;
pub mod advice;
pub mod http;
pub mod cli;

pub use tidegate_node::Failure;
