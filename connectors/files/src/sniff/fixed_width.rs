//! Fields of fixed width: lines of one length, whose fields begin at the same places.

use tidegate_core::syntax::Width;

/// How many lines are looked at.
const LINES_MAX: usize = 10_000;

/// Fewer lines prove nothing.
const LINES_MIN: usize = 2;

/// Finds the places of the fields in the lines of a text. `None` if the lines differ in length, or have one field.
pub(super) fn find(text: &str, whole: bool) -> Option<Vec<Width>> {
    let mut lines: Vec<Vec<char>> = text
        .lines()
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .map(|line| line.chars().collect())
        .collect();
    if !whole {
        lines.pop();
    }
    let length = lines.first()?.len();
    if lines.len() < LINES_MIN || length < 4 || lines.iter().any(|line| line.len() != length) {
        return None;
    }
    let all = |is: fn(char) -> bool, at: usize| lines.iter().all(|line| is(line[at]));
    let is_blank = |c: char| c == ' ';
    let mut starts = Vec::new();
    for at in 0..length {
        let follows_blank = at == 0 || all(is_blank, at - 1);
        let changes = at > 0 && all(|c| c.is_ascii_digit(), at - 1) && all(char::is_alphabetic, at);
        if (follows_blank && !all(is_blank, at)) || changes {
            starts.push(at as u32 + 1);
        }
    }
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([length as u32]);
    let widths: Vec<Width> = starts.iter().zip(ends).map(|(from, to)| Width { from: *from, to }).collect();
    (widths.len() > 1).then_some(widths)
}
