//! The known name that was probably meant by an unknown one.

/// Postgres's limit for any identifier.
pub(crate) const IDENTIFIER_BYTES_MAX: usize = 63;

/// A hint at the known name that was probably meant. If no name is near, the hint is `otherwise`.
pub(crate) fn did_you_mean(name: &str, known: &[&str], otherwise: impl FnOnce() -> String) -> String {
    match nearest(name, known.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => otherwise(),
    }
}

/// The known name that was probably meant: at most a third of its letters may differ.
///
/// A text longer than any name may be is not compared, because the comparison costs time and memory in proportion to
/// the product of the lengths.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let is_name = |name: &str| name.len() <= IDENTIFIER_BYTES_MAX;
    let known = known.into_iter().filter(|other| is_name(name) && is_name(other));
    let distances = known.map(|other| (strsim::damerau_levenshtein(name, other), other));
    let (distance, other) = distances.min_by_key(|(distance, _)| *distance)?;
    let allowed = (name.chars().count().max(other.chars().count()) / 3).max(1);
    (distance <= allowed).then_some(other)
}
