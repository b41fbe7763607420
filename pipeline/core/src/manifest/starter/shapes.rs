//! The traits that the texts of a column share, from which a name above them may differ.

/// How many values of a column have each trait, and their lengths.
#[derive(Debug, Default)]
pub(super) struct TextTraits {
    values: u64,
    traits: [u64; Traits::COUNT],
    /// The shortest and the longest value, in characters.
    lengths: Option<(usize, usize)>,
    /// The text of the first row.
    first: Option<String>,
    first_again: bool,
}

/// The traits of a text.
struct Traits([bool; Traits::COUNT]);

impl Traits {
    const COUNT: usize = 6;

    fn of(text: &str) -> Self {
        let letters = || text.chars().filter(|c| c.is_alphabetic());
        Self([
            text.contains(|c: char| c.is_ascii_digit()),
            text.starts_with(char::is_uppercase),
            letters().next().is_some() && letters().all(char::is_uppercase),
            letters().next().is_some() && letters().all(char::is_lowercase),
            text.contains(char::is_whitespace),
            text.contains(['@', '/', ':', ',', ';', '{', '[']),
        ])
    }
}

/// A column has a trait if at least this share of its values has it, and lacks it if at most the rest does.
const SHARE_PERCENT: u64 = 95;

impl TextTraits {
    /// The shapes of a column, with the text of the first row, which may be a name.
    pub(super) fn below(first: &str) -> Self {
        Self { first: Some(first.to_owned()), ..Self::default() }
    }

    pub(super) fn observe(&mut self, value: &str) {
        self.values += 1;
        for (count, is) in self.traits.iter_mut().zip(Traits::of(value).0) {
            *count += u64::from(is);
        }
        let length = value.chars().count();
        let (shortest, longest) = self.lengths.unwrap_or((length, length));
        self.lengths = Some((shortest.min(length), longest.max(length)));
        self.first_again |= self.first.as_deref() == Some(value);
    }

    /// Whether a value equals the text of the first row.
    pub(super) fn has_first_again(&self) -> bool {
        self.first_again
    }

    /// Whether a text differs from all values in a trait that they share.
    pub(super) fn stands_out(&self, text: &str) -> bool {
        if self.values == 0 || text.is_empty() {
            return false;
        }
        let traits = Traits::of(text).0.into_iter().zip(self.traits);
        let unlike = |is: bool, count: u64| match is {
            true => count * 100 <= self.values * (100 - SHARE_PERCENT),
            false => count * 100 >= self.values * SHARE_PERCENT,
        };
        let length = text.chars().count();
        let is_as_long = |(shortest, longest): (usize, usize)| {
            let many = self.values >= 5 || shortest.abs_diff(length) > 2;
            shortest == longest && shortest != length && many
        };
        let same_length = self.lengths.is_some_and(is_as_long);
        // Fewer values may share anything by chance.
        let many = self.values >= 2;
        same_length
            || (many && traits.enumerate().any(|(i, (is, count))| unlike(is, count) && Self::tells(i, is)))
    }

    /// Whether a trait that a name has, or lacks, distinguishes it from values.
    fn tells(index: usize, name_has_it: bool) -> bool {
        match index {
            0 | 1 | 4 | 5 => !name_has_it, // digits, a capital first, blanks, punctuation
            _ => true,
        }
    }
}
