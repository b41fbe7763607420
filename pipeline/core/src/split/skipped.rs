//! How many physical lines of a file are no records.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of physical lines that are no records of their own, by the rule that skipped them. The physical lines
/// of a file are its records and these.
///
/// Serialized, it is a map from rule to count. Rules that skipped nothing are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct SkippedLines {
    /// Lines of `skip_lines`.
    #[serde(skip_serializing_if = "is_zero")]
    pub before_header: u64,
    /// The line that names the delimiter for Excel.
    #[serde(skip_serializing_if = "is_zero")]
    pub sep: u64,
    /// The header, and its repetitions.
    #[serde(skip_serializing_if = "is_zero")]
    pub header: u64,
    /// Empty lines.
    #[serde(skip_serializing_if = "is_zero")]
    pub blank: u64,
    /// Lines that begin as `comment` says.
    #[serde(skip_serializing_if = "is_zero")]
    pub comment: u64,
    /// Lines that match a pattern of `skip`.
    #[serde(skip_serializing_if = "is_zero")]
    pub pattern: u64,
    /// Lines that do not match `record`.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_kind: u64,
    /// The further lines of records, and of headers, that span several.
    #[serde(skip_serializing_if = "is_zero")]
    pub continuation: u64,
}

/// Why a line is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SkipRule {
    BeforeHeader,
    Blank,
    Comment,
    Pattern,
    OtherKind,
}

impl SkippedLines {
    /// All lines that are no records of their own.
    pub fn total(&self) -> u64 {
        let Self { before_header, sep, header, blank, comment, pattern, other_kind, continuation } = self;
        before_header + sep + header + blank + comment + pattern + other_kind + continuation
    }

    /// Whether every line is a record of its own.
    pub fn is_empty(&self) -> bool {
        self.total() == 0
    }

    pub(super) fn add(&mut self, rule: SkipRule) {
        *match rule {
            SkipRule::BeforeHeader => &mut self.before_header,
            SkipRule::Blank => &mut self.blank,
            SkipRule::Comment => &mut self.comment,
            SkipRule::Pattern => &mut self.pattern,
            SkipRule::OtherKind => &mut self.other_kind,
        } += 1;
    }
}

impl fmt::Display for SkippedLines {
    /// Writes the rules and their counts: `blank 3, header 1`, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        let counts = serde_json::to_value(self).unwrap_or_default();
        let counts = counts.as_object().into_iter().flatten();
        let counts: Vec<String> = counts.map(|(rule, lines)| format!("{rule} {lines}")).collect();
        f.write_str(&counts.join(", "))
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
