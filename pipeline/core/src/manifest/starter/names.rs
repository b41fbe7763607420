//! Names of files, headers and folders to names that a manifest may have.

use std::collections::HashSet;

use super::super::limits::{
    DATASET_CHARS_MAX, IDENTIFIER_BYTES_MAX, PIPELINE_CHARS_MAX, TAKEN_COLUMNS, TOPIC_BYTES_MAX,
};

/// A valid name of a pipeline that is as near as can be.
pub(super) fn pipeline(name: &str) -> String {
    let name = squeezed(name, '-');
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name: String = name.chars().take(PIPELINE_CHARS_MAX).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "pipeline".into() } else { name.into() }
}

/// A column's name for a name in a header: the same, but for what no table could have.
pub(super) fn column(name: &str) -> String {
    if TAKEN_COLUMNS.contains(&name) { format!("{name}_") } else { name.into() }
}

/// Whether a field reads like the name of a column.
pub(super) fn is_like_a_column(field: &str) -> bool {
    let begins = field.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let goes_on = field.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '.'));
    begins && goes_on && field.len() <= IDENTIFIER_BYTES_MAX
}

/// A key as YAML, quoted where it must be.
pub(super) fn key_text(name: &str) -> String {
    if is_plain(name) { name.into() } else { quoted(name) }
}

/// A text value as YAML, quoted where it must be, and safe from variables.
pub(super) fn value_text(value: &str) -> String {
    if is_plain(value) { value.into() } else { quoted(&value.replace("${", "$${")) }
}

/// Gives each file a dataset's name and a glob that no other has.
pub(super) struct Files {
    name_chars_max: usize,
    names: HashSet<String>,
    globs: HashSet<String>,
}

impl Files {
    pub(super) fn new(pipeline: &str) -> Self {
        let room = TOPIC_BYTES_MAX - pipeline.len() - "-accepted-".len();
        Self { name_chars_max: room.min(DATASET_CHARS_MAX), names: HashSet::new(), globs: HashSet::new() }
    }

    /// The name and the glob for a file; `None` where a file of the same name was there, or it is none.
    pub(super) fn take(&mut self, file_name: &str) -> Option<(String, String)> {
        let (stem, extension) = match file_name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (file_name, String::new()),
        };
        let glob = format!("{}*{}", escaped(stem), escaped(&extension));
        if file_name.contains('/') || file_name.is_empty() || !self.globs.insert(glob.clone()) {
            return None;
        }
        let name = self.unused_name(stem);
        self.names.insert(name.clone());
        Some((name, glob))
    }

    fn unused_name(&self, stem: &str) -> String {
        let name = squeezed(stem, '_');
        let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let name = if name.is_empty() { "dataset" } else { name };
        let numbered = |number: usize| {
            let end = if number == 1 { String::new() } else { format!("_{number}") };
            let begin: String = name.chars().take(self.name_chars_max - end.len()).collect();
            format!("{}{end}", begin.trim_end_matches('_'))
        };
        (1..).map(numbered).find(|name| !self.names.contains(name)).unwrap_or_default()
    }
}

/// A glob for exactly this text.
fn escaped(text: &str) -> String {
    globset::escape(text).replace('\\', "[\\]")
}

/// In lower case, with `gap` for each run of other characters than letters and digits.
fn squeezed(name: &str, gap: char) -> String {
    let lower = name.to_ascii_lowercase();
    let parts = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(&gap.to_string())
}

/// Whether YAML reads the text, unquoted, as itself.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let word = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    begins && goes_on && !word.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            _ if character.is_control() => quoted.push_str(&format!("\\U{:08x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
