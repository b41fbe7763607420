//! The texts with which programs write a missing value.

/// The texts that mean a missing value in a column whose other values have a type.
pub(crate) const MARKERS: [&str; 27] = [
    "NA", "NULL", "\\N", "N/A", "null", "Null", "None", "NaN", "nan", "-", "n/a", "#N/A", "<NA>", "(null)",
    "NaT", "NAN", "none", "--", ".", "?", "na", "nil", "NIL", "n.a.", "N.A.", "#NULL!", "<null>",
];

/// Those that are hardly ever text, so that they mean a missing value in columns of text too.
const NO_WORDS: [&str; 7] = ["NULL", "\\N", "#N/A", "<NA>", "(null)", "#NULL!", "<null>"];

/// Those that programs write for all columns, so that they mean a missing value among longer texts too.
const SIGNS_OF_PROGRAMS: [&str; 7] = ["NA", "N/A", "n/a", "NaN", "nan", "null", "NaT"];

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

/// Whether programs write the marker for all columns.
pub(super) fn is_sign_of_programs(marker: usize) -> bool {
    SIGNS_OF_PROGRAMS.contains(&MARKERS[marker])
}
