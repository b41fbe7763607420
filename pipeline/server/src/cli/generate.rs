//! `tidegate generate`.

use std::path::PathBuf;

use clap::Args;

use crate::Failure;
use crate::generate::Company;

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArguments {
    /// Where to write the files
    #[arg(long, default_value = ".")]
    pub to: PathBuf,
    /// How many employees
    #[arg(long, default_value_t = 1_000_000)]
    pub employees: u64,
    /// How many of a hundred lines lack a field
    #[arg(long, default_value_t = 3.5)]
    pub rejects_percent: f64,
    /// The same seed gives the same files
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs `tidegate generate`.
pub fn command(arguments: &GenerateArguments) -> Result<(), Failure> {
    let &GenerateArguments { ref to, employees, rejects_percent, seed } = arguments;
    std::fs::create_dir_all(to)?;
    Ok(Company { employees, rejects_percent, seed, ..Company::default() }.write(to)?)
}
