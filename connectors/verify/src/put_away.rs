//! The check `done`: finds files in `done/` that another process has written to after they were read.

use std::path::Path;

use tidegate_files::{DoneFile, done_files};
use tidegate_postgres::PgError;
use tidegate_store::{Store, registry};

use crate::check::Check;

/// The number of files that are looked up at once.
const TOGETHER: usize = 1_000;

/// Runs the check `done`. Runs outside the snapshot: a file may have come since.
pub(super) async fn check(store: &Store, landing: &Path) -> Result<Check, PgError> {
    let mut check = Check::new("done");
    let files = match done_files(landing) {
        Ok(files) => files,
        Err(error) => {
            check.note(None, format!("done/ in '{}' cannot be read: {error}", landing.display()));
            return Ok(check);
        }
    };
    let mut looked = 0;
    for files in files.chunks(TOGETHER) {
        // Sizes are read first: what is registered is never newer than the file.
        let size = |file: &DoneFile| std::fs::symlink_metadata(&file.path).ok().map(|found| found.len());
        let sizes: Vec<_> = files.iter().filter_map(|file| Some((file, size(file)?))).collect();
        let sources: Vec<u64> = sizes.iter().map(|(file, _)| file.source).collect();
        let read = registry::files_read(store, &sources).await?;
        for (file, size) in &sizes {
            let of = read.iter().find(|(source, ..)| *source == file.source);
            let Some((source, _, bytes)) = of.filter(|(_, _, bytes)| bytes != size) else { continue };
            let message = format!(
                "'{}' has {size} bytes, and {bytes} were read: a process has written to it after it was moved; 'tidegate \
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
