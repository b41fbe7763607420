//! The loose spelling of a name.

use crate::printable::is_harmful;
use unicode_normalization::UnicodeNormalization;

/// A name without what does not count in a loose comparison: case, accents, blanks and punctuation. Compatible
/// characters, like those of full width, are the same. Characters that are no text stay: a name with them is no name of
/// a column.
pub(super) fn loose(name: &str) -> String {
    // Lowercase letters may have marks that capital ones lack, as the Turkish İ, so marks are dropped last.
    name.nfkd()
        .flat_map(char::to_lowercase)
        .nfkd()
        .filter(|c| c.is_alphanumeric() || is_no_text(*c))
        .collect()
}

fn is_no_text(c: char) -> bool {
    (is_harmful(c) && !c.is_whitespace()) || c == char::REPLACEMENT_CHARACTER
}

#[cfg(test)]
mod tests {
    use super::loose;

    #[test]
    fn case_accents_blanks_and_punctuation_do_not_count() {
        for (name, expected) in [
            ("First Name", "firstname"),
            ("first_name", "firstname"),
            ("E-mail", "email"),
            ("AÑO", "ano"),
            ("an\u{303}o", "ano"),
            ("İstanbul", "istanbul"),
            ("ＩＤ", "id"),
            ("Größe (cm)", "große cm".replace(' ', "").as_str()),
            ("№ 5", "no5"),
            ("日本", "日本"),
            ("%", ""),
            ("line\r\nbreak", "linebreak"),
            ("i\0d", "i\0d"),
            ("\u{feff}id", "\u{feff}id"),
        ] {
            assert_eq!(loose(name), expected, "{name}");
        }
    }
}
