//! Text to YAML nodes, and nodes to the parts of the grammar. Each fault has its place.

use marked_yaml::types::MarkedScalarNode;
use marked_yaml::{LoadError, LoaderOptions, Marker, Node, Span, parse_yaml_with_options};

use super::{CanonicalValue, Fault};
use crate::printable::printable_line;
use crate::suggestion::did_you_mean;

const TEXT_BYTES_MAX: usize = 1024 * 1024;
const NESTING_MAX: usize = 64;

/// How many duplicate keys are reported before the reader gives up on the rest.
const DUPLICATES_MAX: u32 = 100;

/// A key that begins with one of these private characters is a duplicate that was reported.
const MASK: u32 = 0xE000;

/// A place in the text; line and column count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Location {
    /// The beginning of a manifest.
    pub(super) const START: Self = Self { line: 1, column: 1 };

    pub(super) fn of(span: &Span) -> Self {
        span.start().map_or(Self::START, Self::at)
    }

    fn at(marker: &Marker) -> Self {
        Self { line: marker.line(), column: marker.column() }
    }
}

/// A text of the manifest, with its variables replaced.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pub(super) value: String,
    pub(super) place: Location,
}

/// A key of a mapping and its value.
#[derive(Clone, Copy)]
pub(super) struct KeyValue<'n> {
    pub(super) name: &'n str,
    pub(super) place: Location,
    pub(super) node: &'n Node,
}

/// Reads nodes, and collects their faults.
pub(super) struct NodeReader<'e> {
    env: &'e dyn Fn(&str) -> Option<String>,
    /// Checks defaults.
    pub(super) canonical: CanonicalValue,
    pub(super) faults: Vec<Fault>,
}

impl<'e> NodeReader<'e> {
    pub(super) fn new(env: &'e dyn Fn(&str) -> Option<String>, canonical: CanonicalValue) -> Self {
        Self { env, canonical, faults: Vec::new() }
    }

    /// Adds a fault: what is wrong at a place, and what to do.
    pub(super) fn fault(&mut self, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), hint.into());
        let (message, hint) = (printable_line(&message).into(), Some(printable_line(&hint).into()));
        self.faults.push(Fault { line: at.line, column: at.column, message, hint });
    }

    /// The top mapping of the text. `None` if the text is not YAML.
    pub(super) fn load(&mut self, text: &str) -> Option<Node> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some((at, message, hint)) = limits(text) {
            self.fault(at, message, hint);
            return None;
        }
        let mut masked = text.to_owned();
        for attempt in 0..DUPLICATES_MAX {
            let options = LoaderOptions::default().error_on_duplicate_keys(true).prevent_coercion(true);
            match parse_yaml_with_options(0, &masked, options) {
                Ok(mut node) => {
                    place_nothings(&mut node);
                    return Some(node);
                }
                Err(LoadError::DuplicateKey(keys)) => {
                    let first = Location::of(keys.prev_key.span());
                    let message = format!("\"{}\" is given twice", keys.key.as_str());
                    let hint = format!("the first is in line {}; remove one of them", first.line);
                    self.fault(Location::of(keys.key.span()), message, hint);
                    masked = mask(&masked, keys.key.span(), attempt)?;
                }
                Err(LoadError::ScanError(..)) if attempt > 0 => return None,
                Err(error) => {
                    self.load_fault(&error);
                    return None;
                }
            }
        }
        None
    }

    fn load_fault(&mut self, error: &LoadError) {
        let plainly = "write the value itself out where it is needed";
        let (at, message, hint) = match error {
            LoadError::TopLevelMustBeMapping(at) | LoadError::TopLevelMustBeSequence(at) => {
                let message = "expected a mapping at the top of the manifest";
                (at, message.to_owned(), "begin with \"pipeline: <name>\"")
            }
            LoadError::UnexpectedAnchor(at) => (at, "anchors are not part of the grammar".into(), plainly),
            LoadError::UnexpectedTag(at) => (at, "tags are not part of the grammar".into(), plainly),
            LoadError::MappingKeyMustBeScalar(at) => {
                (at, "a key must be a text".into(), "write \"name: value\"")
            }
            LoadError::ScanError(at, error) => {
                let hint = "check indentation and quotes, here and just above";
                (at, format!("this is no YAML: {}", error.info()), hint)
            }
            LoadError::DuplicateKey(_) => return, // reported with both places where it is found
        };
        self.fault(Location::at(at), message, hint);
    }

    /// The entries of a mapping; `what` completes "expected a mapping of …".
    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<KeyValue<'n>>> {
        let Some(mapping) = node.as_mapping() else {
            let message = format!("expected a mapping of {what}, found {}", found(node));
            self.fault(Location::of(node.span()), message, "write \"name: value\", a line each, indented");
            return None;
        };
        let entries = mapping.iter().map(|(key, node)| KeyValue {
            name: key.as_str(),
            place: Location::of(key.span()),
            node,
        });
        Some(entries.filter(|entry| !is_masked(entry.name)).collect())
    }

    /// The entries of a mapping whose keys are known. Unknown keys are faults.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<KeyValues<'n>> {
        let entries = self.entries(node, what)?;
        for entry in entries.iter().filter(|entry| !known.contains(&entry.name)) {
            let hint = did_you_mean(entry.name, known, || format!("known here are {}", known.join(", ")));
            self.fault(entry.place, format!("unknown key \"{}\"", entry.name), hint);
        }
        Some(KeyValues(entries))
    }

    /// A text, with its variables replaced. `what` completes "expected …".
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        let place = Location::of(node.span());
        let Some(scalar) = node.as_scalar().filter(|scalar| !is_nothing(scalar)) else {
            let message = format!("expected {what}, found {}", found(node));
            let quote = "quote it where the text itself is meant";
            let hint = if node.as_scalar().is_some() { quote } else { "write it as one text" };
            self.fault(place, message, hint);
            return None;
        };
        self.fill_in(scalar.as_str(), place).map(|value| Text { value, place })
    }

    /// Replaces each `${VAR}` by its value in the environment, and each `$${` by `${`.
    fn fill_in(&mut self, text: &str, place: Location) -> Option<String> {
        let (mut filled, mut rest, mut complete) = (String::with_capacity(text.len()), text, true);
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let name = rest[at + 2..].split_once('}').map(|(name, _)| name).filter(|name| is_variable(name));
            let Some(name) = name else {
                let hint = "write ${NAME} for a variable of the environment, $${ for the text itself";
                self.fault(place, "\"${\" begins no variable here", hint);
                return None;
            };
            match (self.env)(name) {
                Some(value) => filled.push_str(&value),
                None => {
                    let hint = format!("set it, or write $${{{name}}} for the text itself");
                    self.fault(place, format!("the environment variable \"{name}\" is not set"), hint);
                    complete = false;
                }
            }
            rest = &rest[at + name.len() + "${}".len()..];
        }
        filled.push_str(rest);
        complete.then_some(filled)
    }
}

/// The entries of a mapping, by key.
pub(super) struct KeyValues<'n>(Vec<KeyValue<'n>>);

impl<'n> KeyValues<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| entry.node)
    }

    /// The place of a key.
    pub(super) fn place(&self, key: &str) -> Option<Location> {
        self.entry(key).map(|entry| entry.place)
    }

    /// A key with its place and its value.
    pub(super) fn entry(&self, key: &str) -> Option<&KeyValue<'n>> {
        self.0.iter().find(|entry| entry.name == key)
    }
}

/// The name of a node's kind, for messages.
pub(super) fn found(node: &Node) -> &'static str {
    match node {
        Node::Scalar(scalar) if is_nothing(scalar) => "nothing",
        Node::Scalar(_) => "a text",
        Node::Mapping(_) => "a mapping",
        Node::Sequence(_) => "a list",
    }
}

/// Whether a scalar is YAML's null. Only an unquoted scalar can be.
fn is_nothing(scalar: &MarkedScalarNode) -> bool {
    scalar.may_coerce() && matches!(scalar.as_str(), "" | "~" | "null" | "Null" | "NULL")
}

/// The parser gives a missing value the place of what follows it. The place of its key is more useful to a user.
fn place_nothings(node: &mut Node) {
    match node {
        Node::Scalar(_) => {}
        Node::Mapping(mapping) => mapping.iter_mut().for_each(|(key, value)| {
            if value.as_scalar().is_some_and(is_nothing) {
                value.span_mut().set_start(key.span().start().copied());
            }
            place_nothings(value);
        }),
        Node::Sequence(sequence) => sequence.iter_mut().for_each(place_nothings),
    }
}

fn is_variable(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Overwrites the first character of a duplicate key, which moves nothing else. The loader stops at the first
/// duplicate key, and continues after the mask, so that all faults are found at once.
fn mask(text: &str, key: &Span, nth: u32) -> Option<String> {
    let mut characters: Vec<char> = text.chars().collect();
    let mut at = index_of(&characters, Location::at(key.start()?))?;
    if matches!(characters.get(at)?, '"' | '\'') {
        at += 1;
    }
    *characters.get_mut(at)? = char::from_u32(MASK + nth)?;
    Some(characters.into_iter().collect())
}

/// The index of a place among the characters of the text. The parser's own index is not usable: it counts bytes where
/// a block of text is not ASCII.
fn index_of(characters: &[char], place: Location) -> Option<usize> {
    let mut start = 0;
    for _ in 1..place.line {
        start += characters.get(start..)?.iter().position(|character| matches!(character, '\n' | '\r'))?;
        start += if characters[start..].starts_with(&['\r', '\n']) { 2 } else { 1 };
    }
    Some(start + place.column - 1)
}

fn is_masked(key: &str) -> bool {
    let masks = MASK..MASK + DUPLICATES_MAX;
    key.chars().next().is_some_and(|first| masks.contains(&u32::from(first)))
}

/// What the YAML parser would not survive, or would pass over in silence.
fn limits(text: &str) -> Option<(Location, &'static str, &'static str)> {
    if text.len() > TEXT_BYTES_MAX {
        return Some((
            Location::START,
            "the manifest is longer than 1 MiB",
            "split it into several pipelines",
        ));
    }
    let mut begun = false;
    let text = text.replace("\r\n", "\n");
    // In YAML a lone CR ends a line too.
    for (index, line) in text.split(['\n', '\r']).enumerate() {
        let at = Location { line: index + 1, column: 1 };
        if let Some((before, _)) = line.split_once('\0') {
            let at = Location { column: before.chars().count() + 1, ..at };
            return Some((at, "this is no text: it holds a NUL", "remove the NUL, and what else is no text"));
        }
        let deep = line.split_ascii_whitespace().take_while(|word| matches!(*word, "-" | "?" | ":")).count();
        if deep > NESTING_MAX {
            return Some((at, "this is nested too deeply", "write fewer \"-\", \"?\" and \":\" in a line"));
        }
        let marker = line.trim_end() == "---" || line.starts_with("--- ");
        if begun && (marker || line.trim_end() == "...") {
            return Some((
                at,
                "the document ends here",
                "keep one manifest in a file, without \"---\" and \"...\"",
            ));
        }
        begun |= marker || !(line.trim().is_empty() || line.starts_with(['#', '%']));
    }
    None
}
