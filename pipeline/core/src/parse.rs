//! The text of a manifest, with all checks. It stands beside the manifest because the check of defaults is that of lines.

use crate::manifest::{Faults, Manifest};
use crate::validate::canonical_value;

impl Manifest {
    /// Reads a manifest. `env` looks up its `${VAR}`s.
    ///
    /// # Errors
    ///
    /// All faults of the text, sorted by place.
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Faults> {
        Self::read(text, env, canonical_value)
    }
}
