//! The functions accept and reject of one dataset.

use std::cell::RefCell;
use std::time::SystemTime;

use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::record::Line;
use tidegate_core::validate::{Row, Scratch, Validators};

thread_local! {
    /// Arroyo calls from several threads. Each thread handles one batch at a time.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The two functions of a dataset. Creating them compiles the dataset's rules; calling them does not.
#[derive(Debug)]
pub struct Functions {
    dataset: String,
    validators: Validators,
}

impl Functions {
    /// The functions of `dataset`.
    pub fn new(dataset: &Dataset) -> Self {
        Self { dataset: dataset.name.clone(), validators: Validators::new(dataset) }
    }

    /// The functions of the dataset of this name, from the text that [`manifest::minimal`] wrote.
    ///
    /// # Panics
    ///
    /// If the text is not a manifest of this version of the crate, or has no such dataset. A panic is the only way to
    /// tell Arroyo, and a job that stops is better than one that accepts every line.
    ///
    /// [`manifest::minimal`]: crate::manifest::minimal
    pub fn from_text(manifest: &str, dataset: &str) -> Self {
        match Manifest::parse(manifest, &|_| None) {
            Ok(manifest) => match manifest.dataset(dataset) {
                Some((_, dataset)) => Self::new(dataset),
                None => panic!("the manifest in this function has no dataset '{dataset}'"),
            },
            Err(faults) => panic!("the manifest in this function cannot be read: {faults}"),
        }
    }

    /// The canonical record, for the accepted topic, of a raw record whose line breaks no rule.
    pub fn accept(&self, value: &str) -> Option<String> {
        self.check(value, |line, checked| {
            let row = checked.ok()?;
            // The raw record's numbers may have leading zeros.
            let mut out = Vec::with_capacity(value.len().max(row.canonical.len()) + 64);
            Line { text: row.canonical, ..*line }.write(&mut out);
            Some(text(out))
        })
    }

    /// The dead letter of a raw record whose line breaks a rule, dated now.
    pub fn reject(&self, value: &str) -> Option<String> {
        self.reject_at(value, SystemTime::now)
    }

    /// As [`Functions::reject`], with another clock. `now` is called only if there is a dead letter.
    pub fn reject_at(&self, value: &str, now: impl FnOnce() -> SystemTime) -> Option<String> {
        self.check(value, |line, checked| {
            let reasons = checked.err()?;
            let mut letter = DeadLetter::new(
                Event::Rejected,
                Stage::Transform,
                line.position,
                &self.dataset,
                line.text,
                reasons,
                now(),
            );
            letter.fingerprint = line.fingerprint;
            let mut out = Vec::with_capacity(2 * value.len() + 256);
            letter.write(&mut out);
            Some(text(out))
        })
    }

    /// Calls `give` with the line of a raw record and the result of its check. `None` if the record is not in
    /// Tidegate's format, or its fingerprint is not the dataset's.
    fn check<T>(
        &self,
        value: &str,
        give: impl FnOnce(&Line<'_>, Result<Row<'_>, Vec<Reason>>) -> Option<T>,
    ) -> Option<T> {
        let line = Line::parse(value.as_bytes())?;
        let validator = self.validators.reading(line.fingerprint)?;
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.set_now(SystemTime::now());
            give(&line, validator.check(line.text, scratch))
        })
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("fields of a text, cut at ASCII characters, are texts")
}
