//! Helpers for parsed queries: names, lines, and expressions with replaced parts.

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, Ident, Query, Spanned, Value, ValueWithSpan, Visit, VisitMut, Visitor,
    VisitorMut, visit_expressions_mut,
};
use sqlparser::tokenizer::Span;

/// Returns the name that Postgres reads an identifier as.
pub(super) fn ident_value(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// Returns the line of the file on which a node stands; `otherwise` if the parser does not know.
pub(super) fn line_of(node: &impl Spanned, otherwise: u64) -> u64 {
    let Span { start, .. } = node.span();
    if start.line == 0 { otherwise } else { start.line }
}

/// Renders an expression as SQL, with every part replaced for which `replace` returns a text. A part is asked for
/// before its own parts. A replacement must be a name, or stand in parentheses.
pub(super) fn with_replaced(expr: &Expr, replace: impl FnMut(&Expr) -> Option<String>) -> String {
    struct PartReplacer<F>(F);

    impl<F: FnMut(&Expr) -> Option<String>> VisitorMut for PartReplacer<F> {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Some(sql) = (self.0)(expr) {
                // An identifier without quotes is rendered verbatim.
                *expr = Expr::Identifier(Ident::new(sql));
            }
            quote(expr);
            ControlFlow::Continue(())
        }
    }

    let mut expr = expr.clone();
    let _ = VisitMut::visit(&mut expr, &mut PartReplacer(replace));
    expr.to_string()
}

/// Renders a string as one without escapes: the parser would take `''` or a backslash in the string for an escape.
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

/// Renders a query as it was parsed, with each operation in parentheses, so that precedence plays no part.
pub(super) fn as_parsed(query: &Query) -> String {
    let mut query = query.clone();
    let _ = visit_expressions_mut(&mut query, |expr| {
        quote(expr);
        if is_operation(expr) {
            let inner = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
            *expr = Expr::Nested(Box::new(inner));
        }
        ControlFlow::<()>::Continue(())
    });
    query.to_string()
}

/// A string in a query that may be the name of a time.
pub(super) struct NamedTime {
    pub(super) text: String,
    /// The line in the file; 0 if the parser does not know.
    pub(super) line: u64,
    /// The query with another word in place of the time.
    pub(super) otherwise: Query,
}

/// Returns the strings in a query that may be names of a time: `'today'`.
pub(super) fn times(query: &Query) -> Vec<NamedTime> {
    /// Replaces the time in the string with this number by a word that is not a time.
    struct TimeReplacer {
        number: usize,
        seen: usize,
        found: Option<(String, u64)>,
    }

    impl VisitorMut for TimeReplacer {
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

    /// Returns a word, with the sign that may follow it, or another word in its place if it is a time.
    fn no_time(word: &str) -> String {
        let letters = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        match &letters.to_lowercase()[..] {
            "now" | "today" | "tomorrow" | "yesterday" => word.replace(letters, "tidegate"),
            _ => word.to_owned(),
        }
    }

    let of_number = |number| {
        let mut otherwise = query.clone();
        let mut replacing = TimeReplacer { number, seen: 0, found: None };
        let _ = VisitMut::visit(&mut otherwise, &mut replacing);
        replacing.found.map(|(text, line)| NamedTime { text, line, otherwise })
    };
    (0..).map_while(of_number).collect()
}

/// Returns whether an expression is an operation, whose parts depend on precedence.
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

/// Calls `look` for an expression and its parts, the whole before the parts. If `look` returns [`Descent::Done`], the
/// parts of that expression are left out.
pub(super) fn look_through<E>(expr: &Expr, look: impl FnMut(&Expr) -> Result<Descent, E>) -> Result<(), E> {
    struct ExpressionVisitor<F> {
        look: F,
        /// How many levels deep the visit is inside an expression that is done.
        within: usize,
    }

    impl<E, F: FnMut(&Expr) -> Result<Descent, E>> Visitor for ExpressionVisitor<F> {
        type Break = E;

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<E> {
            if self.within > 0 {
                self.within += 1;
                return ControlFlow::Continue(());
            }
            match (self.look)(expr) {
                Ok(Descent::Done) => self.within = 1,
                Ok(Descent::Deeper) => {}
                Err(error) => return ControlFlow::Break(error),
            }
            ControlFlow::Continue(())
        }

        fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<E> {
            self.within = self.within.saturating_sub(1);
            ControlFlow::Continue(())
        }
    }

    match expr.visit(&mut ExpressionVisitor { look, within: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Whether to look at the parts of an expression.
pub(super) enum Descent {
    Deeper,
    Done,
}

/// Returns the parts of a condition that `and` connects.
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

/// Returns an expression without the parentheses around it.
pub(super) fn bare(mut expr: &Expr) -> &Expr {
    while let Expr::Nested(inner) = expr {
        expr = inner;
    }
    expr
}

/// Joins the conditions by `and`, each in parentheses.
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
