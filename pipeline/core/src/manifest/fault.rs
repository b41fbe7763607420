//! What is wrong with a manifest, and where.

use std::fmt;

use super::limits::IDENTIFIER_BYTES_MAX;

/// One fault: where it is, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// All faults of a manifest, sorted by place; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts them by place; `None` where there is no fault.
    pub(super) fn from_unsorted(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The faults, sorted by place; at least one.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// A line each, behind the name of the file: `tidegate.yaml:3:5: message; hint`.
    pub fn render(&self, file_name: &str) -> String {
        let lines: Vec<String> = self.0.iter().map(|fault| format!("{file_name}:{fault}")).collect();
        lines.join("\n")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The known name that was probably meant: at most a third of its letters may differ.
///
/// What is longer than any name may be is none: to compare two texts costs time and memory by the product of
/// their lengths.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_name = |name: &str| name.len() <= IDENTIFIER_BYTES_MAX;
    let known = known.into_iter().filter(|other| is_name(name) && is_name(other));
    let distances = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let (distance, other) = distances.min_by_key(|(distance, _)| *distance)?;
    let allowed = (name.chars().count().max(other.chars().count()) / 3).max(1);
    (distance <= allowed).then_some(other)
}
