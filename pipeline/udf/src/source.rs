//! The text that Arroyo compiles.
//!
//! Arroyo compiles one function from a file, so each function has a file of its own: a comment with the dependencies
//! in TOML, the function, and the manifest. Arroyo adds its own plugin to the dependencies.

use std::fmt;

use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::printable::in_quotes;

/// One of the two functions of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Returns the canonical record, or null.
    Accept,
    /// Returns the dead letter, or null.
    Reject,
}

impl Function {
    /// Both functions.
    pub const ALL: [Self; 2] = [Self::Accept, Self::Reject];

    /// The first part of the function's name, which is also the name of the method of [`Functions`](crate::Functions)
    /// that it calls.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
        }
    }

    /// The function's name in SQL: `accept_departments`.
    pub fn of(self, dataset: &Dataset) -> String {
        format!("{}_{}", self.as_str(), dataset.name)
    }

    fn gives(self) -> &'static str {
        // A part of the deployed source: a change of this text deploys every job anew.
        match self {
            Self::Accept => {
                "the canonical record, `form,source,line,canonical`, of a line that breaks no rule"
            }
            Self::Reject => "the dead letter, as JSON, of a line that breaks a rule",
        }
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where Arroyo's compiler finds this crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In Arroyo's registry, in exactly this version.
    Version(String),
    /// In a Git repository.
    Git {
        /// The URL of the repository.
        url: String,
        /// The tag in the repository.
        tag: String,
    },
    /// In a folder of the machine that compiles.
    Path(String),
}

impl Origin {
    /// The origin as the value of a dependency in TOML.
    fn toml(&self) -> String {
        match self {
            Self::Version(version) => toml_text(&format!("={version}")),
            Self::Git { url, tag } => format!("{{ git = {}, tag = {} }}", toml_text(url), toml_text(tag)),
            Self::Path(path) => format!("{{ path = {} }}", toml_text(path)),
        }
    }
}

/// The source file of one function of a dataset.
pub fn of(manifest: &Manifest, dataset: &Dataset, function: Function, origin: &Origin) -> String {
    let (name, dataset_name, pipeline) = (function.of(dataset), &dataset.name, &manifest.pipeline);
    let text = crate::manifest::minimal(manifest, dataset);
    let fence = fence(&text);
    format!(
        "\
/*
[dependencies]
tidegate-udf = {dependency}
*/

// Generated for the dataset {dataset_name} of the pipeline {pipeline}. Change the manifest instead of this file.

use std::sync::LazyLock;

use arroyo_udf_plugin::udf;
use tidegate_udf::Functions;

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| Functions::from_text(MANIFEST, \"{dataset_name}\"));

/// Gives {gives}; null for any other record.
#[udf]
fn {name}(value: &str) -> Option<String> {{
    FUNCTIONS.{function}(value)
}}

/// What a line must be. Which keys exist, the sink knows.
const MANIFEST: &str = r{fence}\"
{text}\"{fence};
",
        dependency = origin.toml(),
        gives = function.gives(),
    )
}

/// As many `#` as a raw string of the text needs.
fn fence(text: &str) -> String {
    let runs = text.split('"').skip(1).map(|rest| rest.len() - rest.trim_start_matches('#').len());
    "#".repeat(runs.max().unwrap_or(0) + 1)
}

/// A text as a basic TOML string that cannot end the comment around it.
fn toml_text(text: &str) -> String {
    let mut before = ' ';
    in_quotes(text, |c| {
        let ends_comment = std::mem::replace(&mut before, c) == '*' && c == '/';
        ends_comment || !matches!(c, ' '..='~')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_string_has_a_fence_that_its_text_lacks() {
        assert_eq!(fence("a"), "#");
        assert_eq!(fence("# \"a\""), "#");
        assert_eq!(fence("\"## \"#"), "###");
    }

    #[test]
    fn a_dependency_is_toml_and_ends_no_comment() {
        let git = Origin::Git { url: "https://example.org/a*/\"b\".git".into(), tag: "v1\n".into() };
        assert!(!git.toml().contains("*/"));
        let table: toml::Table = toml::from_str(&format!("x = {}", git.toml())).unwrap();
        assert_eq!(table["x"]["git"].as_str(), Some("https://example.org/a*/\"b\".git"));
        assert_eq!(table["x"]["tag"].as_str(), Some("v1\n"));
        assert_eq!(Origin::Version("0.1.0".into()).toml(), "\"=0.1.0\"");
    }
}
