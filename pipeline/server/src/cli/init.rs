//! `tidegate init`: a manifest to start from.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use tidegate_core::manifest::starter::{self, Remarks, Starter};
use tidegate_core::printable::printable_line;
use tidegate_files::infer;

use crate::Failure;
use crate::cli::{Global, output};

/// Flags of `init`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  tidegate init --from departments.csv jobs.csv hired_employees.csv
  tidegate init --from exports/*.csv --force     again, over the manifest that is there

What it finds stands in the manifest as settings, with the evidence in comments. What can be read in two ways,
such as 01/02/2021, is not guessed: it is 'not sure', and asked for.")]
pub struct InitArguments {
    /// Files to infer datasets, columns and types from
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// Replace a manifest that is there
    #[arg(long)]
    pub force: bool,
}

/// Runs `tidegate init`.
pub async fn command(global: &Global, arguments: &InitArguments) -> Result<(), Failure> {
    let mut samples = Vec::new();
    for path in &arguments.from {
        samples.push(infer::sample(path, infer::SAMPLE_BYTES).await?);
    }
    let directory = std::env::current_dir()?;
    let Starter { text, remarks, left_out } = starter::write(
        &samples,
        &pipeline_name(&directory.file_name().unwrap_or_default().to_string_lossy()),
    );
    let mut options = std::fs::OpenOptions::new();
    let options = match arguments.force {
        true => options.write(true).create(true).truncate(true),
        false => options.write(true).create_new(true),
    };
    let path = global.config.display();
    let mut file = options.open(&global.config).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("'{path}' is there already; --force replaces it"))
        }
        _ => Failure::new(format!("cannot write '{path}': {error}")),
    })?;
    file.write_all(text.as_bytes())?;
    let mut told: String = remarks.iter().map(in_words).collect();
    for (file_name, why) in &left_out {
        told.push_str(&format!("{}: left out: {why}\n", printable_line(file_name)));
    }
    output::print(format!(
        "{told}wrote {path}; read it through, then try 'tidegate preview' on a file, and 'tidegate check'\n"
    ))
}

/// The remarks on a file for the terminal: what was found in it, and what the user must decide.
fn in_words(remarks: &Remarks) -> String {
    let mut words = format!("{}: {}\n", printable_line(&remarks.file_name), printable_line(&remarks.found));
    for detail in remarks.details() {
        words.push_str(&format!("  {detail}\n"));
    }
    words
}

/// A name for the pipeline, made of the folder's name.
fn pipeline_name(folder: &str) -> String {
    let spelled = folder.to_ascii_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let name = spelled.trim_start_matches(|c: char| !c.is_ascii_lowercase()).trim_end_matches('-');
    let name = &name[..name.len().min(32)];
    if name.is_empty() { "pipeline".to_owned() } else { name.trim_end_matches('-').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_named_after_its_folder() {
        assert_eq!(pipeline_name("My Data_2021"), "my-data-2021");
        assert_eq!(pipeline_name("2021"), "pipeline");
        assert_eq!(pipeline_name(&"a-".repeat(40)), "a-".repeat(16).trim_end_matches('-'));
    }
}
