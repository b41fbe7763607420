//! `tidegate recover`.

use clap::Args;
use tidegate_node::Node;
use tidegate_node::recover::{Recovery, look};
use tidegate_postgres::relation::Relation;

use crate::Failure;
use crate::cli::{Format, Global, output, progress, settings, signals};

/// Flags of `recover`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate recover --dry-run   list what is missing, and from where it can be brought back
  tidegate recover             bring it back, from the landing folder, done/ and the topics

Exits with 1 if something is missing for good. A file that is found later, in a backup, goes into the
landing folder under its name, and 'tidegate run' reads it under the number that it had.")]
pub struct RecoverArguments {
    /// Only list it
    #[arg(long)]
    pub dry_run: bool,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Runs `tidegate recover`.
pub async fn command(global: &Global, arguments: &RecoverArguments) -> Result<(), Failure> {
    let settings = settings::load(global)?;
    if arguments.dry_run {
        let findings = look(&settings).await?;
        return show(&findings.relation(None), &findings.in_words(), arguments.format).await;
    }
    let mut recovery = Recovery::default();
    let mut node = Node::open(&settings, signals::stop_run()?, false)?;
    // HTTP is not served: lost sources must get their numbers back before new ones are registered.
    let ran = progress::of_run(node.counts().clone(), node.recover(&mut recovery)).await?;
    let outcome = node.summary(ran).await?;
    if outcome.stopped {
        return Err(Failure::new("stopped before it was done; 'tidegate recover' goes on from here"));
    }
    let Recovery { findings, now } = recovery;
    show(&findings.relation(Some(&now)), &outcome.in_words(), arguments.format).await?;
    findings.assert_recovered(&now)
}

async fn show(relation: &Relation, in_words: &str, format: Format) -> Result<(), Failure> {
    output::write(relation, format).await?;
    if format == Format::Table { output::print(output::shown(&format!("{in_words}\n"))) } else { Ok(()) }
}
