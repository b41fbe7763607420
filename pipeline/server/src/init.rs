//! `tidegate init`: a manifest to start from.

use std::io::Write;

use tidegate_connectors::csv::infer;
use tidegate_core::manifest::starter;

use crate::cli::{Global, InitArguments};
use crate::{Failure, output};

/// How many rows of a file its types are inferred from.
const SAMPLE_ROWS: usize = 10_000;

/// `tidegate init`.
///
/// # Errors
///
/// If a file cannot be read, or a manifest is there already.
pub async fn command(global: &Global, arguments: &InitArguments) -> Result<(), Failure> {
    let mut samples = Vec::new();
    for path in &arguments.from {
        samples.push(infer::sample(path, SAMPLE_ROWS).await?);
    }
    let directory = std::env::current_dir()?;
    let text = starter::write(
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
    output::print(&format!("wrote {path}; read it through, then try 'tidegate check'\n"))
}

/// A name for the pipeline from that of the folder.
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
