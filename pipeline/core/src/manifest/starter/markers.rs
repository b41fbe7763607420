//! The texts with which programs write a missing value.

/// The texts that mean a missing value in a column whose other values have a type.
pub(super) const MARKERS: [&str; 21] = [
    "NA", "NULL", "\\N", "N/A", "null", "Null", "None", "NaN", "nan", "-", "n/a", "#N/A", "<NA>", "(null)",
    "NaT", "NAN", "none", "--", ".", "?", "na",
];

/// Those that are hardly ever text, so that they mean a missing value in columns of text too.
const NO_WORDS: [&str; 5] = ["NULL", "\\N", "#N/A", "<NA>", "(null)"];

/// The index of the marker that a value is.
pub(super) fn marker_of(value: &str) -> Option<usize> {
    if value.len() > 6 {
        return None;
    }
    MARKERS.iter().position(|marker| *marker == value)
}

/// Whether the marker is hardly ever text.
pub(super) fn is_no_word(marker: usize) -> bool {
    NO_WORDS.contains(&MARKERS[marker])
}
