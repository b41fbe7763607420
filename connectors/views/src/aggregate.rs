//! The aggregates that are kept by changes.

use sqlparser::ast::{DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments};

use crate::sql::{Descent, ident_value, look_through};

/// An aggregate in the query.
#[derive(Debug)]
pub(super) struct Aggregate<'a> {
    pub(super) name: &'static str,
    pub(super) function: AggregateFunction,
    pub(super) distinct: bool,
    /// `None` for `count(*)`.
    pub(super) argument: Option<&'a Expr>,
    pub(super) filter: Option<&'a Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

const AGGREGATES: [(&str, AggregateFunction); 5] = [
    ("count", AggregateFunction::Count),
    ("sum", AggregateFunction::Sum),
    ("avg", AggregateFunction::Avg),
    ("min", AggregateFunction::Min),
    ("max", AggregateFunction::Max),
];
/// Returns the name of a function as Postgres knows it, without its schema.
pub(super) fn function_name(function: &Function) -> String {
    function.name.0.last().and_then(|part| part.as_ident()).map(ident_value).unwrap_or_default()
}

/// Returns the aggregate that a function call is; `None` if it is not one of the class.
pub(super) fn aggregate(function: &Function) -> Option<Aggregate<'_>> {
    let schema = function.name.0.iter().rev().nth(1).and_then(|part| part.as_ident()).map(ident_value);
    if schema.is_some_and(|schema| schema != "pg_catalog") {
        return None;
    }
    let called = function_name(function);
    let (name, kind) = AGGREGATES.into_iter().find(|(name, _)| *name == called)?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let is_plain = function.over.is_none()
        && function.within_group.is_empty()
        && function.null_treatment.is_none()
        && list.clauses.is_empty();
    let argument = match &list.args[..] {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))] => Some(expr),
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] if kind == AggregateFunction::Count => None,
        _ => return None,
    };
    let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let filter = function.filter.as_deref();
    is_plain.then_some(Aggregate { name, function: kind, distinct, argument, filter })
}

/// Returns the aggregate that an expression is; `None` if it is none.
pub(super) fn as_aggregate(expr: &Expr) -> Option<Aggregate<'_>> {
    match expr {
        Expr::Function(function) => aggregate(function),
        _ => None,
    }
}

pub(super) fn contains_aggregate(expr: &Expr) -> bool {
    look_through(expr, |part| if as_aggregate(part).is_some() { Err(()) } else { Ok(Descent::Deeper) })
        .is_err()
}
