//! Checks and their findings.

/// One check, and its findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The name of the check.
    pub name: &'static str,
    /// First what was checked, then the violations, then the notes.
    pub findings: Vec<Finding>,
}

impl Check {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, findings: Vec::new() }
    }

    /// The number of violations.
    pub fn violations(&self) -> u64 {
        let violations = self.findings.iter().filter(|finding| finding.verdict == Verdict::Violation);
        violations.map(|finding| finding.count).sum()
    }

    pub(crate) fn checked(&mut self, count: u64, what: impl Into<String>) {
        self.add(Verdict::Checked, count, what);
    }

    pub(crate) fn counted(&mut self, count: u64, what: impl Into<String>) {
        self.add(Verdict::Note, count, what);
    }

    pub(crate) fn violation(&mut self, position: impl Into<Option<String>>, message: impl Into<String>) {
        self.list(Verdict::Violation, position.into(), message.into());
    }

    pub(crate) fn note(&mut self, position: impl Into<Option<String>>, message: impl Into<String>) {
        self.list(Verdict::Note, position.into(), message.into());
    }

    fn list(&mut self, verdict: Verdict, position: Option<String>, message: String) {
        let of_verdict = self.findings.iter().filter(|finding| finding.verdict == verdict);
        if of_verdict.count() < LISTED_MAX {
            self.findings.push(Finding { verdict, count: 1, position, message });
        } else {
            self.unlisted(verdict, 1);
        }
    }

    /// Counts findings that are not listed.
    pub(crate) fn unlisted(&mut self, verdict: Verdict, count: u64) {
        const MORE: &str = "and as many more";
        match self.findings.iter_mut().find(|finding| finding.verdict == verdict && finding.message == MORE) {
            Some(more) => more.count += count,
            None => self.add(verdict, count, MORE),
        }
    }

    /// Adds a finding on items at no one place, unless there are none.
    fn add(&mut self, verdict: Verdict, count: u64, message: impl Into<String>) {
        if count > 0 || verdict == Verdict::Checked {
            self.findings.push(Finding { verdict, count, position: None, message: message.into() });
        }
    }
}

/// One finding of an audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The meaning of the finding.
    pub verdict: Verdict,
    /// The number of items.
    pub count: u64,
    /// The place, as `SOURCE:LINE` or the number of a source, if there is one place.
    pub position: Option<String>,
    /// The finding in words.
    pub message: String,
}

/// The meaning of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// So many items were checked.
    Checked,
    /// The finding breaks a promise of `docs/guarantees.md`.
    Violation,
    /// The finding breaks no promise, but is worth knowing.
    Note,
}

impl Verdict {
    /// Returns the word that users see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Violation => "violation",
            Self::Note => "note",
        }
    }
}

/// The maximum number of violations, and of notes, that are listed for each check. The others are counted.
pub(crate) const LISTED_MAX: usize = 20;
