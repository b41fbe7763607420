//! Accept and reject, for one dataset.

use std::cell::RefCell;
use std::time::SystemTime;

use tidegate_core::dead_letter::{DeadLetter, Event, Reason, Stage};
use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_core::record::Line;
use tidegate_core::validate::{Row, Scratch, Validator};

thread_local! {
    /// Arroyo calls from several threads, each with a batch at a time.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The two functions of a dataset. Making them compiles the dataset's rules; calling them does not.
#[derive(Debug)]
pub struct Functions {
    dataset: String,
    validator: Validator,
}

impl Functions {
    /// The functions of `dataset`.
    pub fn new(dataset: &Dataset) -> Self {
        Self { dataset: dataset.name.clone(), validator: Validator::new(dataset) }
    }

    /// The functions of the dataset of that name, from the text that [`manifest::minimal`] wrote.
    ///
    /// # Panics
    ///
    /// If the text is no manifest of this version of the crate, or has no such dataset. Arroyo has no
    /// other way to be told, and a job that stops beats one that lets everything pass.
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

    /// The canonical record of a raw record whose line breaks no rule, for the accepted topic.
    pub fn accept(&self, value: &str) -> Option<String> {
        self.check(value, |line, checked| {
            let row = checked.ok()?;
            // Numbers may have been written longer than they are.
            let mut out = Vec::with_capacity(value.len().max(row.canonical.len()) + 64);
            Line { text: row.canonical, ..*line }.write(&mut out);
            Some(text(out))
        })
    }

    /// The dead letter, made now, of a raw record whose line breaks a rule.
    pub fn reject(&self, value: &str) -> Option<String> {
        self.reject_at(value, SystemTime::now)
    }

    /// As [`Functions::reject`], with another clock. It is asked only if there is a dead letter to date.
    pub fn reject_at(&self, value: &str, now: impl FnOnce() -> SystemTime) -> Option<String> {
        self.check(value, |line, checked| {
            let reasons = checked.err()?;
            let made = (Event::Rejected, Stage::Transform);
            let mut letter = DeadLetter::new(made, line.position, &self.dataset, line.text, reasons, now());
            letter.form = line.form;
            let mut out = Vec::with_capacity(2 * value.len() + 256);
            letter.write(&mut out);
            Some(text(out))
        })
    }

    /// What `give` makes of the line of a raw record and of what is wrong with it; `None` if the record is
    /// not of Tidegate's form, or its line in columns that the dataset does not have here.
    fn check<T>(
        &self,
        value: &str,
        give: impl FnOnce(&Line<'_>, Result<Row<'_>, Vec<Reason>>) -> Option<T>,
    ) -> Option<T> {
        let line = Line::parse(value.as_bytes()).filter(|line| self.validator.reads(line.form))?;
        SCRATCH.with_borrow_mut(|scratch| give(&line, self.validator.check(line.text, scratch)))
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("fields of a text, cut at ASCII characters, are texts")
}
