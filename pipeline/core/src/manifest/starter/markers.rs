//! Texts by which programs write a missing value.

/// What is taken for a mark of a missing value, where a column's other values are of a type.
pub(super) const MARKERS: [&str; 21] = [
    "NA", "NULL", "\\N", "N/A", "null", "Null", "None", "NaN", "nan", "-", "n/a", "#N/A", "<NA>", "(null)",
    "NaT", "NAN", "none", "--", ".", "?", "na",
];

/// Those that hardly any text is, so that they mean a missing one in columns of text too.
const NO_WORDS: [&str; 5] = ["NULL", "\\N", "#N/A", "<NA>", "(null)"];

/// Which of them a value is.
pub(super) fn marker_of(value: &str) -> Option<usize> {
    if value.len() > 6 {
        return None;
    }
    MARKERS.iter().position(|marker| *marker == value)
}

/// Whether the marker is no word of any text.
pub(super) fn is_no_word(marker: usize) -> bool {
    NO_WORDS.contains(&MARKERS[marker])
}
