//! Parses, dispatches and reports.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{self, Cli, Command};
use tidegate_core::dead_letter::Stage;
use tidegate_core::failpoint;
use tidegate_core::printable::{Printable, printable};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.log_level()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .fmt_fields(harmless())
        .init();
    if let Ok(armed) = std::env::var("TIDEGATE_FAILPOINT")
        && let Err(error) = failpoint::arm(&armed)
    {
        return report(&format!("TIDEGATE_FAILPOINT: {error}"), 2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&format!("cannot start the runtime: {error}"), 1),
    };
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Demo(arguments) => cli::demo::command(&cli.global, arguments).await,
            Command::Run(arguments) => cli::run::command(&cli.global, arguments).await,
            Command::Source(arguments) => cli::stages::source(&cli.global, arguments).await,
            Command::Transform(arguments) => {
                cli::stages::stage(&cli.global, Stage::Transform, arguments).await
            }
            Command::Sink(arguments) => cli::stages::stage(&cli.global, Stage::Sink, arguments).await,
            Command::Status(arguments) => cli::status::command(&cli.global, arguments).await,
            Command::Recover(arguments) => cli::recover::command(&cli.global, arguments).await,
            Command::Check(format) => cli::check::command(&cli.global, format).await,
            Command::Verify(arguments) => cli::verify::command(&cli.global, arguments).await,
            Command::Init(arguments) => cli::init::command(&cli.global, arguments).await,
            Command::Preview(arguments) => cli::preview::command(&cli.global, arguments).await,
            Command::View(arguments) => cli::view::command(&cli.global, arguments).await,
            Command::Sources(arguments) => cli::sources::command(&cli.global, arguments).await,
            Command::DeadLetters(arguments) => cli::dead_letters::command(&cli.global, arguments).await,
            Command::Topic(arguments) => cli::topic::command(&cli.global, arguments).await,
            Command::Trace(arguments) => cli::trace::command(&cli.global, arguments).await,
            Command::Arroyo(arguments) => cli::arroyo::command(&cli.global, arguments).await,
            Command::Backup(arguments) => cli::backup::command(&cli.global, arguments).await,
            Command::Restore(arguments) => cli::restore::command(&cli.global, arguments).await,
            Command::Token(arguments) => cli::token::command(&cli.global, arguments).await,
            Command::Generate(arguments) => cli::generate::command(arguments),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure.message, failure.code),
    }
}

/// Formats the fields of a log so that nothing in them, such as a file's name, can move the cursor of a terminal.
fn harmless() -> impl for<'writer> FormatFields<'writer> + Send + Sync + 'static {
    debug_fn(|writer, field, value| match field.name() {
        "message" => write!(Printable(writer), "{value:?}"),
        name => {
            write!(writer, "{name}=")?;
            write!(Printable(writer), "{value:?}")
        }
    })
    .delimited(" ")
}

fn report(message: &str, code: u8) -> ExitCode {
    eprintln!("tidegate: {}", printable(message));
    ExitCode::from(code)
}
