//! Files of `done/` that somebody has written to after they were read.

use std::path::Path;

use super::super::{Error, Postgres};
use super::Check;
use crate::csv::{DoneFile, done_files, size_of};

const NAME: &str = "done";
/// How many files are looked at together.
const TOGETHER: usize = 1_000;

/// The check `done`. Not within the snapshot: a file may have come since.
pub(super) async fn check(postgres: &Postgres, landing: &Path) -> Result<Check, Error> {
    let mut check = Check::new(NAME);
    let files = match done_files(landing) {
        Ok(files) => files,
        Err(error) => {
            check.note(None, format!("done/ in '{}' cannot be read: {error}", landing.display()));
            return Ok(check);
        }
    };
    let mut looked = 0;
    for files in files.chunks(TOGETHER) {
        // Sizes first: what is registered is never newer than the file.
        let sizes: Vec<(&DoneFile, u64)> =
            files.iter().filter_map(|file| Some((file, size_of(file)?))).collect();
        let sources: Vec<u64> = sizes.iter().map(|(file, _)| file.source).collect();
        let read = postgres.files_read(&sources).await?;
        for (file, size) in &sizes {
            let of = read.iter().find(|(source, ..)| *source == file.source);
            let Some((source, _, bytes)) = of.filter(|(_, _, bytes)| bytes != size) else { continue };
            let message = format!(
                "'{}' has {size} bytes, and {bytes} were read: somebody has written to it after it was moved; 'tidegate \
                 run' reads it again as a new source",
                file.path.display()
            );
            check.violation(source.to_string(), message);
        }
        looked += sizes.len() as u64;
    }
    check.checked(looked, "files of done/, by their sizes");
    Ok(check)
}
