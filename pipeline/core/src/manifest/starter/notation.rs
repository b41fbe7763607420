//! The settings that read the values of a column as they are written.

use super::names::{quoted, quoted_list};

/// How the values of a column are written, as settings of the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notation {
    /// The formats of dates and times.
    pub formats: Vec<String>,
    /// The mark before decimals, if it is no point.
    pub decimal: Option<char>,
    /// The mark between groups of digits.
    pub thousands: Option<char>,
    /// What stands around numbers.
    pub strip: Vec<String>,
    /// Whether parentheses, or a sign behind a number, make it negative.
    pub accounting: bool,
    /// The words for true and for false.
    pub words: [Vec<String>; 2],
    /// Whether blanks stand around values.
    pub trim: bool,
}

impl Notation {
    /// The settings of a column, each as a key and its value in YAML.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = Vec::new();
        let mut list = |key, texts: &[String]| match texts {
            [] => {}
            [one] => settings.push((key, quoted(one))),
            several => settings.push((key, quoted_list(several))),
        };
        list("format", &self.formats);
        list("strip", &self.strip);
        let [truths, falsehoods] = &self.words;
        for (key, words) in [("true", truths), ("false", falsehoods)] {
            if !words.is_empty() {
                settings.push((key, quoted_list(words)));
            }
        }
        for (key, mark) in [("decimal", self.decimal), ("thousands", self.thousands)] {
            settings.extend(mark.map(|mark| (key, quoted(&mark.to_string()))));
        }
        for (key, is) in [("accounting", self.accounting), ("trim", self.trim)] {
            if is {
                settings.push((key, "true".into()));
            }
        }
        settings
    }
}
