//! The outcome of a run for the files of the landing folder.

use tidegate_core::printable::printable_line;
use tidegate_core::registry::Registry;
use tidegate_files::{Landing, PassedOver};

/// How many files a message names.
const NAMED_MAX: usize = 3;

/// The outcome of a run for the files of the landing folder.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Files that belong to a dataset and cannot be read, with the reason.
    pub refused: Vec<(String, String)>,
    /// All files left in the folder, with the reason: the refused ones, those held open, and those of no dataset.
    pub left: Vec<(String, String)>,
    /// Files of `done/` that were written to and cannot be read again, with the reason.
    pub unread: Vec<(String, String)>,
    /// Files that were not read, because the same content was read last under the same name.
    pub passed_over: Vec<PassedOver>,
    /// The sources of files that have become complete.
    pub complete: Vec<u64>,
}

impl Files {
    /// Adds the outcome of a landing folder.
    pub(crate) fn add<R: Registry>(&mut self, landing: &Landing<R>) {
        let texts = |(path, why): (&std::path::PathBuf, &String)| (path.display().to_string(), why.clone());
        self.refused = landing.refused().iter().map(texts).collect();
        let left = landing.left();
        let (unread, left): (Vec<_>, Vec<_>) = left.iter().partition(|(path, _)| landing.is_done(path));
        self.unread = unread.into_iter().map(texts).collect();
        self.left = left.into_iter().map(texts).collect();
        self.passed_over.extend_from_slice(landing.passed_over());
        self.complete.extend_from_slice(landing.complete());
    }

    /// A message about the files that were passed over, and the command that reads them again.
    pub fn passed_over_in_words(&self) -> Option<String> {
        let name = printable_line(&self.passed_over.first()?.name);
        let mut sources: Vec<u64> = self.passed_over.iter().map(|passed| passed.source).collect();
        sources.dedup();
        let more = if sources.len() > NAMED_MAX { " ..." } else { "" };
        let named = sources.iter().take(NAMED_MAX).map(u64::to_string).collect::<Vec<_>>().join(" ");
        let files = match self.passed_over.len() {
            1 => format!("'{name}' was passed over"),
            count => format!("{count} files were passed over, such as '{name}'"),
        };
        Some(format!(
            "{files}: it is the content that was read last under its name; 'tidegate sources reload {named}{more}' \
             reads it again"
        ))
    }
}
