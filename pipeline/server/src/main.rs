//! Parses, dispatches and reports.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tidegate::cli::{Cli, Command};
use tidegate::{
    arroyo, backups, check, demo, init, letters, recover, restore, run, show, stages, status, tokens, trace,
    verify, views,
};
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
        Err(error) => return report(&format!("cannot start: {error}"), 1),
    };
    let result = runtime.block_on(async {
        match &cli.command {
            Command::Demo(arguments) => demo::demo(&cli.global, arguments).await,
            Command::Run(arguments) => run::command(&cli.global, arguments).await,
            Command::Source(arguments) => stages::source(&cli.global, arguments).await,
            Command::Transform(arguments) => stages::transform(&cli.global, arguments).await,
            Command::Sink(arguments) => stages::sink(&cli.global, arguments).await,
            Command::Status(arguments) => status::command(&cli.global, arguments).await,
            Command::Recover(arguments) => recover::command(&cli.global, arguments).await,
            Command::Check(format) => check::command(&cli.global, format).await,
            Command::Verify(arguments) => verify::command(&cli.global, arguments).await,
            Command::Init(arguments) => init::command(&cli.global, arguments).await,
            Command::View(arguments) => views::command(&cli.global, arguments).await,
            Command::Sources(arguments) => show::sources(&cli.global, arguments).await,
            Command::DeadLetters(arguments) => letters::command(&cli.global, arguments).await,
            Command::Topic(arguments) => show::topic(&cli.global, arguments).await,
            Command::Trace(arguments) => trace::command(&cli.global, arguments).await,
            Command::Arroyo(arguments) => arroyo::command(&cli.global, arguments).await,
            Command::Backup(arguments) => backups::command(&cli.global, arguments).await,
            Command::Restore(arguments) => restore::command(&cli.global, arguments).await,
            Command::Token(arguments) => tokens::command(&cli.global, arguments).await,
            Command::Generate(arguments) => show::generate(arguments),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure.message, failure.code),
    }
}

/// Writes fields of a log so that nothing in them, a file's name perhaps, moves the cursor of whoever reads it.
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
