//! Words for true and false.

use super::column::Finding;
use crate::manifest::Kind;

/// How often words for true and false are in a column.
#[derive(Debug, Default)]
pub(super) struct Booleans {
    /// By pair, in the order of [`WORDS`], for each of the two words.
    counts: [[u64; 2]; WORDS.len()],
}

/// Words for true and false, in lower case. They count as such only if both words of a pair are in the column.
const WORDS: [[&str; 2]; 18] = [
    ["yes", "no"],
    ["y", "n"],
    ["t", "f"],
    ["on", "off"],
    ["s\u{ed}", "no"],
    ["si", "no"],
    ["s", "n"],
    ["ja", "nein"],
    ["ja", "nee"],
    ["tak", "nie"],
    ["j", "n"],
    ["oui", "non"],
    ["o", "n"],
    ["sim", "n\u{e3}o"],
    ["verdadero", "falso"],
    ["wahr", "falsch"],
    ["vrai", "faux"],
    ["v", "f"],
];

/// The first of these pairs need no setting.
const PLAIN_WORDS: usize = 4;

/// The first pair of words that has a word, in lower case, and that Postgres does not read.
pub(crate) fn pair_of(word: &str) -> Option<[&'static str; 2]> {
    WORDS[PLAIN_WORDS..].iter().copied().find(|pair| pair.contains(&word))
}

/// The longest of these words, in bytes.
const WORD_BYTES_MAX: usize = 9;

impl Booleans {
    /// Counts a value if it is such a word.
    pub(super) fn observe(&mut self, value: &str) {
        if value.len() > WORD_BYTES_MAX {
            return;
        }
        let lower = value.to_lowercase();
        for (counts, words) in self.counts.iter_mut().zip(WORDS) {
            for (count, word) in counts.iter_mut().zip(words) {
                *count += u64::from(lower == word);
            }
        }
    }

    /// What the values are, if `enough` of them are such words. `plain` more of them are `true` or `false`.
    pub(super) fn finding(&self, plain: u64, enough: impl Fn(u64) -> bool) -> Option<Finding> {
        for (pair, [yes, no]) in self.counts.into_iter().enumerate() {
            let is_plain = pair < PLAIN_WORDS;
            let fitting = yes + no + if is_plain { plain } else { 0 };
            if yes > 0 && no > 0 && enough(fitting) {
                let mut finding = Finding::plain(Kind::Boolean, fitting);
                if !is_plain {
                    finding.notation.words = WORDS[pair].map(|word| vec![word.to_owned()]);
                }
                return Some(finding);
            }
        }
        None
    }
}
