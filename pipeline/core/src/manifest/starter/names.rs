//! From names of files, headers and folders to names that a manifest may have.

use std::collections::HashSet;

use crate::printable::{in_quotes, is_harmful};

use super::super::limits::{
    DATASET_CHARS_MAX, IDENTIFIER_BYTES_MAX, PIPELINE_CHARS_MAX, TAKEN_COLUMNS, TOPIC_BYTES_MAX,
};

/// The valid name of a pipeline that is nearest to this name.
pub(super) fn pipeline(name: &str) -> String {
    let name = squeezed(name, '-');
    let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let name: String = name.chars().take(PIPELINE_CHARS_MAX).collect();
    let name = name.trim_end_matches('-');
    if name.is_empty() { "pipeline".into() } else { name.into() }
}

/// The names of the columns of a header, each with the name in the header if a table cannot have that.
pub(super) fn columns(header: &[String]) -> Vec<(String, Option<String>)> {
    let mut taken = HashSet::new();
    let names = header.iter().enumerate().map(|(index, name)| {
        let wanted = match name.replace('\0', "") {
            blank if blank.trim().is_empty() && index == 0 => "row".to_owned(),
            blank if blank.trim().is_empty() => format!("column_{}", index + 1),
            ours if TAKEN_COLUMNS.contains(&ours.as_str()) => format!("{ours}_"),
            other => shortened(other.trim(), IDENTIFIER_BYTES_MAX).to_owned(),
        };
        let numbered = |number: usize| match number {
            1 => wanted.clone(),
            _ => format!("{}_{number}", shortened(&wanted, IDENTIFIER_BYTES_MAX - 8)),
        };
        let ours = unused(&mut taken, numbered);
        let renamed = (ours != *name).then(|| name.clone());
        (ours, renamed)
    });
    names.collect()
}

/// The beginning of a text, at most `bytes_max` bytes.
fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// A key as YAML, quoted where it must be.
pub(super) fn key_text(name: &str) -> String {
    if is_plain(name) { name.into() } else { in_quotes(name, is_harmful) }
}

/// A text value as YAML, quoted where it must be, with `${` escaped.
pub(super) fn value_text(value: &str) -> String {
    if is_plain(value) { value.into() } else { quoted(value) }
}

/// Gives each file a dataset's name and a glob that no other file has.
pub(super) struct FileNames {
    name_chars_max: usize,
    names: HashSet<String>,
    globs: HashSet<String>,
}

impl FileNames {
    pub(super) fn new(pipeline: &str) -> Self {
        let room = TOPIC_BYTES_MAX - pipeline.len() - "-accepted-".len();
        Self { name_chars_max: room.min(DATASET_CHARS_MAX), names: HashSet::new(), globs: HashSet::new() }
    }

    /// The name and the glob for a file. `None` if a file of the same name was taken before, or if this is not a file
    /// name.
    pub(super) fn take(&mut self, file_name: &str) -> Option<(String, String)> {
        let (stem, extension) = parted(file_name);
        let glob = format!("{}*{}", escaped(stem), escaped(extension));
        if file_name.contains('/') || file_name.is_empty() || !self.globs.insert(glob.clone()) {
            return None;
        }
        let name = squeezed(stem, '_');
        let name = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let name = if name.is_empty() { "dataset" } else { name };
        let numbered = |number: usize| {
            let end = if number == 1 { String::new() } else { format!("_{number}") };
            let begin: String = name.chars().take(self.name_chars_max - end.len()).collect();
            format!("{}{end}", begin.trim_end_matches('_'))
        };
        Some((unused(&mut self.names, numbered), glob))
    }
}

/// The first of numbered names that is not taken. It is taken then.
fn unused(taken: &mut HashSet<String>, numbered: impl Fn(usize) -> String) -> String {
    let name = (1..).map(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

/// A file's name without its extension, and the extension: `.csv`, `.csv.gz`.
fn parted(file_name: &str) -> (&str, &str) {
    let part = |end: usize| file_name[..end].rfind('.').filter(|at| *at > 0);
    let Some(at) = part(file_name.len()) else { return (file_name, "") };
    let is_packed = matches!(&file_name[at..], ".gz" | ".bz2" | ".xz" | ".zst");
    let at = if is_packed { part(at).unwrap_or(at) } else { at };
    file_name.split_at(at)
}

/// A glob for exactly this text.
fn escaped(text: &str) -> String {
    globset::escape(text).replace('\\', "[\\]")
}

/// The name in lower case, with `gap` for each run of characters other than ASCII letters and digits.
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

/// Texts in quotes, as a list in YAML.
pub(super) fn quoted_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// A text in quotes, as YAML, with `${` escaped.
pub(super) fn quoted(text: &str) -> String {
    in_quotes(&text.replace("${", "$${"), is_harmful)
}
