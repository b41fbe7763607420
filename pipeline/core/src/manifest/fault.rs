//! What is wrong with a manifest, and where.

use std::fmt;

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

/// All faults of a manifest, sorted by place. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Sorts the faults by place. `None` if there are none.
    pub(super) fn from_unsorted(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        faults.dedup(); // a value that two settings read is one fault
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// The faults, sorted by place. There is at least one.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }

    /// One line for each fault, after the name of the file: `tidegate.yaml:3:5: message; hint`.
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
        let lines: Vec<String> = self.0.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
