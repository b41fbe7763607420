//! The files of `sql/views`, with one query each, and the order in which views read each other.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::time::Duration;

use sqlparser::ast::{ObjectNamePart, Query, SetExpr, Statement, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use tidegate_postgres::PgError;

use crate::kind::{RefreshReason, refuse};
use crate::sql::ident_value;

/// A view, as its file defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The name of the file and of the relation.
    pub name: String,
    /// The text of the file.
    pub definition: String,
    /// The text of the query.
    pub(super) select: String,
    /// The line of the file on which the query begins.
    pub(super) first_line: u64,
    /// How often the view is refreshed, if the file's header says so.
    pub(super) refresh: Option<Duration>,
    /// The parsed query, or the reason why it could not be parsed, though Postgres may accept it.
    pub(super) query: Result<Box<Query>, RefreshReason>,
    /// The relations that the query names without a schema; all its words if it could not be parsed.
    reads: BTreeSet<String>,
}

/// The longest name of a view, in bytes, so that the names derived from it are within Postgres's 63.
const NAME_BYTES_MAX: usize = 40;
/// The prefix of the temporary relations that views are analysed with.
const OWN_NAMES: &str = "tidegate_";
/// The longest query that is parsed, in tokens, which limits the depth of its tree.
const TOKENS_MAX: usize = 2000;
/// The shortest and the longest time between two refreshes.
const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl View {
    /// Parses the text of a view's file.
    ///
    /// # Errors
    ///
    /// If the name or the text is not valid: the fault, with its line.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        // Editors on Windows write a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !is_name || name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!(
                "'{name}' is no name for a view: use a-z, 0-9 and _, at most {NAME_BYTES_MAX}"
            ));
        }
        if name.starts_with(OWN_NAMES) {
            return Err(format!(
                "'{name}' is no name for a view: those that begin with '{OWN_NAMES}' are Tidegate's"
            ));
        }
        if let Some(line) = text.lines().position(|line| line.contains('\0')) {
            return Err(format!("line {}: a NUL byte, which Postgres takes in no text", line + 1));
        }
        if let Some(line) = text.lines().position(|line| line.trim().starts_with("-- store:")) {
            return Err(format!(
                "line {}: '-- store:' is of Tidegate's first version; a view is one select over the tables now, and \
                 what is stored for it follows from that",
                line + 1
            ));
        }
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
            .tokenize_with_location()
            .map_err(|error| format!("line {}: {}", error.location.line, error.message))?;
        let tokens = query_tokens(&tokens);
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return Err("the file holds no query: write one select".to_owned());
        };
        if let Some(second) = tokens.iter().find(|token| token.token == Token::SemiColon) {
            return Err(format!(
                "line {}: the file goes on behind its query; write one select a file",
                second.span.start.line
            ));
        }
        let select = between(text, first, last);
        let query = parse_select(tokens)?;
        let reads = match &query {
            Ok(query) => RelationCollector::of(query),
            Err(_) => words(tokens, name),
        };
        Ok(Self {
            name: name.to_owned(),
            definition: text.to_owned(),
            first_line: first.span.start.line,
            refresh: header(text, first.span.start.line)?,
            select,
            query,
            reads,
        })
    }

    /// Returns whether the query names a relation of that name.
    pub(super) fn names(&self, relation: &str) -> bool {
        self.reads.contains(relation)
    }
}

/// Returns the tokens from the first to the last of the query, without the semicolon that ends it.
fn query_tokens(tokens: &[TokenWithSpan]) -> &[TokenWithSpan] {
    let is_code = |token: &TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
    let first = tokens.iter().position(is_code);
    let last = tokens.iter().rposition(|token| is_code(token) && token.token != Token::SemiColon);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => &tokens[first..=last],
        _ => &[],
    }
}

/// Returns the text from one token to another.
fn between(text: &str, first: &TokenWithSpan, last: &TokenWithSpan) -> String {
    let offset = |line: u64, column: u64| {
        let start: usize = text.split_inclusive('\n').take(line as usize - 1).map(str::len).sum();
        let rest = &text[start..];
        start + rest.char_indices().nth(column as usize - 1).map_or(rest.len(), |(at, _)| at)
    };
    let (start, end) = (first.span.start, last.span.end);
    text[offset(start.line, start.column)..offset(end.line, end.column)].to_owned()
}

/// Parses the query, or returns the reason why it could not be parsed. Fails if the statement is not a query.
fn parse_select(tokens: &[TokenWithSpan]) -> Result<Result<Box<Query>, RefreshReason>, String> {
    let line = tokens.first().map_or(1, |token| token.span.start.line);
    if tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).count() > TOKENS_MAX {
        return Ok(refuse(line, format!("the query has more than {TOKENS_MAX} words and signs")));
    }
    let mut parser = Parser::new(&PostgreSqlDialect {}).with_tokens_with_locations(tokens.to_vec());
    let parsed = parser.parse_statement();
    let next = parser.peek_token();
    let unknown = |what: String| {
        let line = next.span.start.line.max(line);
        Ok(refuse(line, format!("Tidegate's parser does not know this: {what}")))
    };
    let statement = match parsed {
        Ok(statement) if next.token == Token::EOF => statement,
        Ok(_) => return unknown(format!("'{}'", next.token)),
        Err(ParserError::ParserError(message) | ParserError::TokenizerError(message)) => {
            return unknown(message);
        }
        Err(ParserError::RecursionLimitExceeded) => return unknown("so deep a nesting".to_owned()),
    };
    match statement {
        Statement::Query(query) if !matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_)) => {
            Ok(Ok(query))
        }
        _ => Err(format!("line {line}: a view is one select")),
    }
}

/// Collects the relations that a query names without a schema, other than its own parts, such as those of `with`.
#[derive(Default)]
struct RelationCollector {
    names: BTreeSet<String>,
    /// The queries around the one that is being visited.
    around: Vec<Parts>,
    /// For each query that is a part of another, how many parts of that one it can see: those before it.
    sight: HashMap<*const Query, usize>,
}

/// The named parts of a query, and how many of them are visible at the place that is being visited.
struct Parts {
    names: Vec<String>,
    seen: usize,
}

impl RelationCollector {
    fn of(query: &Query) -> BTreeSet<String> {
        let mut reads = Self::default();
        let _ = query.visit(&mut reads);
        reads.names
    }
}

impl Visitor for RelationCollector {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let (Some(seen), Some(around)) =
            (self.sight.get(&std::ptr::from_ref(query)), self.around.last_mut())
        {
            around.seen = *seen;
        }
        let mut parts = Parts { names: Vec::new(), seen: 0 };
        if let Some(with) = &query.with {
            parts.names.extend(with.cte_tables.iter().map(|part| ident_value(&part.alias.name)));
            for (i, part) in with.cte_tables.iter().enumerate() {
                let seen = if with.recursive { parts.names.len() } else { i };
                self.sight.insert(&raw const *part.query, seen);
            }
        }
        parts.seen = parts.names.len();
        self.around.push(parts);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.around.pop();
        if let (true, Some(around)) =
            (self.sight.contains_key(&std::ptr::from_ref(query)), self.around.last_mut())
        {
            around.seen = around.names.len();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor
            && let [ObjectNamePart::Identifier(name)] = &name.0[..]
        {
            let name = ident_value(name);
            let is_part = self.around.iter().any(|parts| parts.names[..parts.seen].contains(&name));
            if !is_part {
                self.names.insert(name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns all words of a query but the name of the view, which the query may give to a column.
fn words(tokens: &[TokenWithSpan], view: &str) -> BTreeSet<String> {
    let words = tokens.iter().filter_map(|token| match &token.token {
        Token::Word(word) => Some(word.value.to_ascii_lowercase()),
        _ => None,
    });
    words.filter(|word| word != view).collect()
}

/// Reads the refresh interval from the comments above the query: `-- refresh: 15m`.
fn header(text: &str, first_line: u64) -> Result<Option<Duration>, String> {
    let lines = text.lines().enumerate().take(first_line as usize);
    let said = lines.filter_map(|(i, line)| Some((i + 1, line.trim().strip_prefix("--")?.trim())));
    let mut refresh = None;
    for (line, said) in said {
        let Some(every) = said.strip_prefix("refresh:") else { continue };
        let every = every.trim().trim_start_matches("every").trim();
        let duration = humantime::parse_duration(every)
            .map_err(|_| format!("line {line}: write '-- refresh: 15m', or 30s, 2h, 1day, not '{every}'"))?;
        if duration < REFRESH_MIN {
            return Err(format!("line {line}: a view is refreshed once a second at most"));
        }
        if duration > REFRESH_MAX {
            return Err(format!("line {line}: a view is refreshed once a year at least"));
        }
        refresh = Some(duration);
    }
    Ok(refresh)
}

/// Orders the views so that each comes after those that it reads.
pub(super) fn in_order(mut views: Vec<View>) -> Result<Vec<View>, PgError> {
    let mut ordered: Vec<View> = Vec::with_capacity(views.len());
    views.sort_by(|a, b| a.name.cmp(&b.name));
    while !views.is_empty() {
        let is_ready = |view: &View| !views.iter().any(|other| view.names(&other.name));
        let Some(next) = views.iter().position(is_ready) else {
            return Err(PgError::halt(format!("{}; break the circle", circle(&views))));
        };
        ordered.push(views.remove(next));
    }
    Ok(ordered)
}

/// Describes a circle of views that read each other.
fn circle(views: &[View]) -> String {
    let mut way: Vec<&str> = Vec::new();
    let mut at = &views[0];
    while !way.contains(&at.name.as_str()) {
        way.push(&at.name);
        at = views.iter().find(|other| at.names(&other.name)).unwrap_or(at);
    }
    let begin = way.iter().position(|name| *name == at.name).unwrap_or(0);
    way.push(&at.name);
    format!(
        "view {}",
        way[begin..].iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" reads ")
    )
}

/// The error for a view that does not exist.
pub fn unknown(name: &str, known: &[&str]) -> PgError {
    let known = match known {
        [] => "there is none".to_owned(),
        known => format!("the views are: {}", known.join(", ")),
    };
    PgError::halt(format!("there is no view '{name}'; {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        View::parse("v", text).unwrap_err()
    }

    #[test]
    fn a_file_is_one_select() {
        let view =
            View::parse("v", "-- about; this\n\nselect ';' as \"x;\" -- é\nfrom t /* t; */ ;\n-- end\n;")
                .unwrap();
        assert_eq!((view.select.as_str(), view.first_line), ("select ';' as \"x;\" -- é\nfrom t", 3));
        assert_eq!(View::parse("v", "select 'é' || x from t").unwrap().select, "select 'é' || x from t");
        assert_eq!(fault("-- nothing\n"), "the file holds no query: write one select");
        assert_eq!(
            fault("select 1;\nselect 2"),
            "line 1: the file goes on behind its query; write one select a file"
        );
        assert_eq!(fault("\ndelete from t"), "line 2: a view is one select");
        assert_eq!(fault("insert into t select 1"), "line 1: a view is one select");
        assert!(fault("select 'open").starts_with("line 1: "), "{}", fault("select 'open"));
        assert!(View::parse("../v", "select 2").is_err());
        assert!(View::parse("tidegate_probe", "select 2").unwrap_err().contains("are Tidegate's"));
        assert_eq!(View::parse("v", "\u{feff}select 2").unwrap().select, "select 2");
        assert_eq!(fault("select 1,\n'\0'"), "line 2: a NUL byte, which Postgres takes in no text");
        let first_version = "-- about\n\n-- store: t by a\nselect a from t\n-- view\nselect a from store";
        assert!(fault(first_version).starts_with("line 3: '-- store:' is of Tidegate's first version"));
        let unknown = View::parse("v", "select a\nfrom t where x !!~~! 3").unwrap();
        assert!(unknown.query.unwrap_err().to_string().contains("parser does not know"));
        let long = format!("select {}1", "1 + ".repeat(100_000));
        assert!(View::parse("v", &long).unwrap().query.unwrap_err().to_string().contains("2000 words"));
        let deep = format!("select {}1{}", "(".repeat(900), ")".repeat(900));
        assert!(View::parse("v", &deep).unwrap().query.is_err());
    }

    #[test]
    fn the_header_says_how_often_a_view_is_refreshed() {
        let refresh = |text: &str| View::parse("v", text).map(|view| view.refresh);
        assert_eq!(refresh("-- about\n--refresh: 15m\nselect 1"), Ok(Some(Duration::from_secs(900))));
        assert_eq!(refresh("-- refresh: every 2h\nselect 1"), Ok(Some(Duration::from_secs(7200))));
        assert_eq!(refresh("select 1\n-- refresh: 15m"), Ok(None));
        assert_eq!(
            fault("-- refresh: often\nselect 1"),
            "line 1: write '-- refresh: 15m', or 30s, 2h, 1day, not 'often'"
        );
        assert_eq!(fault("-- refresh: 0s\nselect 1"), "line 1: a view is refreshed once a second at most");
        assert_eq!(fault("-- refresh: 9y\nselect 1"), "line 1: a view is refreshed once a year at least");
    }

    #[test]
    fn views_stand_behind_those_they_read() {
        let view = |name: &str, query: &str| View::parse(name, query).unwrap();
        let ordered = in_order(vec![
            view("a", "select * from (select * from B) as c -- d"),
            view("b", "select 1"),
            view("c", "with d as (select 1) select 'b' from d"),
            view("d", "select 1"),
        ]);
        let names: Vec<_> = ordered.unwrap().iter().map(|view| view.name.clone()).collect();
        assert_eq!(names, ["b", "a", "c", "d"]);
        let circle = in_order(vec![
            view("a", "select * from b"),
            view("b", "select * from c, s.d"),
            view("c", "select * from b"),
        ]);
        assert_eq!(circle.unwrap_err().to_string(), "view 'b' reads 'c' reads 'b'; break the circle");
        assert!(in_order(vec![view("a", "select * from a")]).is_err());
        // A name that equals a view's is not that view if it is a part of the query, a table of another schema, or a
        // column.
        let fine = vec![
            view(
                "a",
                "with b as (select 1), c as (select * from (select * from b) as d) select * from c, s.a",
            ),
            view("unnest", "select * from unnest(array[1]) as x"),
            view("b", "with recursive b as (select 1 union select * from b) select * from a, b"),
            view("c", "select x !!~~! 3 as c from b"),
        ];
        assert_eq!(in_order(fine).unwrap().len(), 4);
        let inner = vec![view("a", "with a as (select * from a) select * from a")];
        assert!(in_order(inner).is_err(), "a part that is not recursive does not see itself");
    }
}
