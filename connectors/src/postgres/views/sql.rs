//! Small tools for parsed queries: names, lines, and expressions with some of their parts replaced.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Ident, Query, Spanned, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut,
};
use sqlparser::tokenizer::Span;

/// What Postgres takes a written name for.
pub(super) fn ident_value(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// The line of the file on which something stands; the query's first if the parser does not know.
pub(super) fn line_of(node: &impl Spanned, otherwise: u64) -> u64 {
    let Span { start, .. } = node.span();
    if start.line == 0 { otherwise } else { start.line }
}

/// An expression as SQL, the parts for which `replace` has one replaced by it: a part is asked for before
/// the parts of it. What `replace` gives must hold together where it is put: a name, or in parentheses.
pub(super) fn with_replaced(expr: &Expr, replace: impl FnMut(&Expr) -> Option<String>) -> String {
    struct Replacing<F>(F);

    impl<F: FnMut(&Expr) -> Option<String>> VisitorMut for Replacing<F> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(sql) = (self.0)(expr) {
                // An identifier without quotes is written as it is.
                *expr = Expr::Identifier(Ident::new(sql));
            }
            quote(expr);
            ControlFlow::Continue(())
        }
    }

    let mut expr = expr.clone();
    let _ = VisitMut::visit(&mut expr, &mut Replacing(replace));
    expr.to_string()
}

/// Has a string written as one without escapes: the parser would take `''` or a backslash in it for one.
fn quote(expr: &mut Expr) {
    if let Expr::Value(value) = expr {
        let text = match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => text,
            Value::DollarQuotedString(text) => &text.value,
            _ => return,
        };
        *expr = Expr::Identifier(Ident::new(format!("'{}'", text.replace('\'', "''"))));
    }
}

/// A query as it was parsed: each operation in parentheses, so that precedence plays no part.
pub(super) fn as_parsed(query: &Query) -> String {
    struct Enclosing;

    impl VisitorMut for Enclosing {
        type Break = ();

        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            quote(expr);
            if is_operation(expr) {
                let inner = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *expr = Expr::Nested(Box::new(inner));
            }
            ControlFlow::Continue(())
        }
    }

    let mut query = query.clone();
    let _ = VisitMut::visit(&mut query, &mut Enclosing);
    query.to_string()
}

/// A string in a query that may be the name of a time.
pub(super) struct Time {
    pub(super) text: String,
    /// 0 if the parser does not know.
    pub(super) line: u64,
    /// The query with another word in its place.
    pub(super) otherwise: Query,
}

/// The strings in a query that may be names of a time: `'today'`.
pub(super) fn times(query: &Query) -> Vec<Time> {
    /// Puts a word that is no time into the string with that number.
    struct Replacing {
        number: usize,
        seen: usize,
        found: Option<(String, u64)>,
    }

    impl VisitorMut for Replacing {
        type Break = ();

        fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
            let text = value.value.clone().into_string().unwrap_or_default();
            let words = text.split_inclusive(|c: char| !c.is_alphanumeric());
            let otherwise: String = words.map(no_time).collect();
            if otherwise != text {
                if self.seen == self.number {
                    value.value = Value::SingleQuotedString(otherwise);
                    self.found = Some((text, value.span.start.line));
                }
                self.seen += 1;
            }
            ControlFlow::Continue(())
        }
    }

    /// A word, with a sign behind it perhaps, or another if it is a time.
    fn no_time(word: &str) -> String {
        let letters = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        match &letters.to_lowercase()[..] {
            "now" | "today" | "tomorrow" | "yesterday" => word.replace(letters, "tidegate"),
            _ => word.to_owned(),
        }
    }

    let of_number = |number| {
        let mut otherwise = query.clone();
        let mut replacing = Replacing { number, seen: 0, found: None };
        let _ = VisitMut::visit(&mut otherwise, &mut replacing);
        replacing.found.map(|(text, line)| Time { text, line, otherwise })
    };
    (0..).map_while(of_number).collect()
}

/// Whether what an expression is made of depends on precedence.
pub(super) fn is_operation(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::UnaryOp { .. }
            | Expr::BinaryOp { .. }
            | Expr::Cast { kind: CastKind::DoubleColon, .. }
            | Expr::AtTimeZone { .. }
            | Expr::Collate { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsNotTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotUnknown(_)
            | Expr::IsDistinctFrom(..)
            | Expr::IsNotDistinctFrom(..)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::ILike { .. }
            | Expr::SimilarTo { .. }
            | Expr::AnyOp { .. }
            | Expr::AllOp { .. }
    )
}

/// Calls `look` with an expression and its parts, from the whole to the parts, but not with the parts of what
/// `look` is done with.
pub(super) fn look_through<E>(expr: &Expr, look: impl FnMut(&Expr) -> Result<Look, E>) -> Result<(), E> {
    struct Looking<F> {
        look: F,
        /// How many expressions deep we are in one that is done.
        within: usize,
    }

    impl<E, F: FnMut(&Expr) -> Result<Look, E>> Visitor for Looking<F> {
        type Break = E;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<E> {
            if self.within > 0 {
                self.within += 1;
                return ControlFlow::Continue(());
            }
            match (self.look)(expr) {
                Ok(Look::Done) => self.within = 1,
                Ok(Look::Deeper) => {}
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<E> {
            self.within = self.within.saturating_sub(1);
            ControlFlow::Continue(())
        }
    }

    match expr.visit(&mut Looking { look, within: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether to look at the parts of an expression.
pub(super) enum Look {
    Deeper,
    Done,
}

/// The parts of a condition that `and` holds together.
pub(super) fn conjuncts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Nested(inner) => conjuncts(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            let mut all = conjuncts(left);
            all.extend(conjuncts(right));
            all
        }
        other => vec![other],
    }
}

/// An expression without the parentheses around it.
pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// The texts joined by `and`, each in parentheses.
pub(super) fn all_of(conditions: &[String]) -> String {
    conditions.iter().map(|condition| format!("({condition})")).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_of_ascii_are_made_small() {
        assert_eq!(ident_value(&Ident::new("ÄBc")), "Äbc");
        assert_eq!(ident_value(&Ident::with_quote('"', "ÄB")), "ÄB");
    }
}
