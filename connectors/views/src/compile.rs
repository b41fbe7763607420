//! Compiles a query of the incremental class to a store and a query that reads the store.
//!
//! The store aggregates the fact table alone. Its *keys* are what reading needs of single rows: foreign keys, the
//! expressions of `group by`, arguments of `min` and `max`, and the fact table's share of expressions that mix
//! tables. Its *sums* are `n`, the number of rows, and the terms that `count`, `sum` and `avg` add up. Reading drops
//! the groups whose rows are all gone, joins the referenced tables, and aggregates once more.

use std::collections::BTreeSet;

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use tidegate_core::manifest::Manifest;
use tidegate_postgres::table::quoted;

use crate::aggregate::{Aggregate, AggregateFunction, as_aggregate, contains_aggregate, function_name};
use crate::shape::QueryShape;
use crate::sql::{Descent, all_of, bare, conjuncts, look_through, with_replaced};
use crate::store::{StoreSpec, Sum};

/// A compiled view: its store, and the query that reads the store.
#[derive(Clone, Debug)]
pub(super) struct CompiledView {
    pub(super) store: StoreSpec,
    outputs: Vec<String>,
    /// The SQL that follows the store: the other tables of `from`, and the clauses after `from`.
    rest: String,
}

/// The type of an argument of `sum` or `avg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// `smallint` or `integer`, whose sums are `bigint`.
    Small,
    /// `bigint`, whose sums are `numeric`.
    Big,
    Numeric,
}

/// The store's name in the query that reads it. No table of a user has this name.
const STORE: &str = "\"tidegate.store\"";

/// The questions to Postgres about a query of the class.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Expressions that must be immutable.
    pub(super) scalars: Vec<Expr>,
    /// Arguments of `sum` and `avg`, whose types matter.
    pub(super) summed: Vec<Expr>,
}

impl Questions {
    pub(super) fn of(shape: &QueryShape<'_>) -> Self {
        let mut questions = Self::default();
        for expr in shape.expressions() {
            let _ = look_through(expr, |part| Ok::<_, ()>(questions.ask(part)));
        }
        questions
    }

    fn ask(&mut self, part: &Expr) -> Descent {
        if let Some(aggregate) = as_aggregate(part) {
            self.scalars.extend(aggregate.argument.into_iter().chain(aggregate.filter).cloned());
            if matches!(aggregate.function, AggregateFunction::Sum | AggregateFunction::Avg) {
                self.summed.extend(aggregate.argument.cloned());
            }
        } else if contains_aggregate(part) {
            return Descent::Deeper;
        } else {
            self.scalars.push(part.clone());
        }
        Descent::Done
    }
}

/// Compiles a query whose outputs have these `names` and whose `summed` arguments have these types. Returns the
/// reason if the expressions of `group by` are not found again in what is selected.
pub(super) fn compile(
    shape: &QueryShape<'_>,
    manifest: &Manifest,
    summed: &[(Expr, Number)],
    names: &[&str],
) -> Result<CompiledView, String> {
    let dataset = manifest.datasets[shape.tables[shape.fact].dataset].name.clone();
    let store = StoreSpec { dataset, ..StoreSpec::default() };
    let mut compiler =
        Compiler { shape, summed, store, groups: Vec::new(), bare: BTreeSet::new(), has_quotes: false };
    // Groups come first, so that other expressions are built from them if possible.
    for group in shape.groups.iter().flatten() {
        let read = compiler.read(group, false);
        compiler.groups.push((shape.qualified(bare(group)), read));
    }
    let outputs = shape.outputs.iter().zip(names);
    let outputs = outputs.map(|(expr, name)| format!("{} as {}", compiler.read(expr, true), quoted(name)));
    let outputs = outputs.collect();
    let having = shape.having.map(|having| compiler.read(having, true));
    let order: Vec<String> = shape.order.iter().map(|order| compiler.order(order)).collect();
    let (own_conditions, conditions) = compiler.conditions(&shape.conditions);
    compiler.store.conditions = own_conditions;
    let mut rest = String::new();
    for (_, table) in shape.tables.iter().enumerate().filter(|(index, _)| *index != shape.fact) {
        rest += &format!(",\n    {} as {}", table.name, quoted(&table.alias));
    }
    if !conditions.is_empty() {
        rest += &format!("\nwhere {}", all_of(&conditions));
    }
    if shape.groups.is_some() {
        let groups = compiler.all_groups(manifest)?;
        rest += &format!("\ngroup by {}", groups.join(", "));
    }
    if let Some(having) = having {
        rest += &format!("\nhaving {having}");
    }
    if !order.is_empty() {
        rest += &format!("\norder by {}", order.join(", "));
    }
    if compiler.has_quotes {
        compiler.store.shareable.clear();
    }
    Ok(CompiledView { store: compiler.store, outputs, rest })
}

impl CompiledView {
    /// Returns the view's query over the rows of its store.
    pub(super) fn over(&self, store: &str) -> String {
        let outputs = self.outputs.join(",\n    ");
        format!("select\n    {outputs}\nfrom ({store}) as {STORE}{}", self.rest)
    }
}

struct Compiler<'a> {
    shape: &'a QueryShape<'a>,
    summed: &'a [(Expr, Number)],
    store: StoreSpec,
    /// The expressions of `group by`: as the query has them, and as they are read from the store.
    groups: Vec<(String, String)>,
    /// Keys that are read outside of aggregates and of the expressions of `group by`.
    bare: BTreeSet<String>,
    /// Whether a name or a value contains a double quote.
    has_quotes: bool,
}

impl Compiler<'_> {
    /// Renders an expression of the fact table for the store.
    fn text(&self, expr: &Expr) -> String {
        with_replaced(expr, |part| match part {
            // In parentheses, so that it can be found by its text: a `::` after it would bind to the zone.
            Expr::AtTimeZone { timestamp, time_zone } => {
                Some(format!("({} AT TIME ZONE {})", self.text(timestamp), self.text(time_zone)))
            }
            _ => self.shape.column(part, 0).ok().flatten().map(|(_, name)| quoted(&name)),
        })
    }

    /// Renders an expression that will be stored, and notes its columns and its shareable parts.
    fn stored(&mut self, expr: &Expr) -> String {
        let columns = self.shape.columns(expr).into_iter().map(|(_, name)| (name, String::new()));
        self.store.columns.extend(columns);
        let _ = look_through(expr, |part| {
            if is_worth_sharing(part) {
                let text = self.text(part);
                self.store.shareable.insert(text);
            }
            // Shareable expressions are found by their text, with quoted columns. A value with a double quote could
            // be mistaken for such a text.
            self.has_quotes |= matches!(part, Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_))
                && part.to_string().contains('"');
            Ok::<_, ()>(Descent::Deeper)
        });
        self.has_quotes |= self.store.columns.keys().any(|name| name.contains('"'));
        self.text(expr)
    }

    fn key(&mut self, sql: String) -> String {
        format!("{STORE}.k{}", number_in(&mut self.store.keys, sql))
    }

    fn sum(&mut self, sql: String, is_numeric: bool) -> String {
        format!("{STORE}.s{}", number_in(&mut self.store.sums, Sum { sql, is_numeric }))
    }

    /// Renders conditions: those of the fact table alone for the store, the others for reading.
    fn conditions<'e>(
        &mut self,
        conditions: impl IntoIterator<Item = &'e Expr>,
    ) -> (Vec<String>, Vec<String>) {
        let (mut own, mut read) = (Vec::new(), Vec::new());
        for condition in conditions {
            match self.shape.is_of_fact(condition) {
                true => own.push(self.stored(condition)),
                false => read.push(self.read(condition, false)),
            }
        }
        (own, read)
    }

    fn order(&mut self, order: &sqlparser::ast::OrderByExpr) -> String {
        let by = match &order.expr {
            Expr::Identifier(ident) if self.shape.is_output(&order.expr) => {
                quoted(&crate::sql::ident_value(ident))
            }
            expr if self.shape.is_output(expr) => expr.to_string(),
            expr => self.read(expr, true),
        };
        format!("{by}{}", order.options)
    }

    /// Renders an expression for reading over the store and the referenced tables. `is_bare` if it stands outside of
    /// aggregates.
    fn read(&mut self, expr: &Expr, is_bare: bool) -> String {
        with_replaced(expr, |part| {
            if let Some(aggregate) = as_aggregate(part) {
                return Some(format!("({})", self.read_aggregate(&aggregate)));
            }
            if let Some(group) = self.group(part) {
                return Some(group);
            }
            if let Ok(Some((table, _))) = self.shape.column(part, 0)
                && table != self.shape.fact
            {
                return Some(self.shape.qualified(part));
            }
            if !self.shape.is_of_fact(part) || contains_aggregate(part) || self.is_made_of_keys(part) {
                return None;
            }
            let stored = self.stored(part);
            let key = self.key(stored);
            if is_bare {
                self.bare.insert(key.clone());
            }
            Some(key)
        })
    }

    /// Returns the expression of `group by` that an expression equals, as it is read; `None` if it equals none.
    fn group(&self, part: &Expr) -> Option<String> {
        if self.groups.is_empty() || contains_aggregate(part) || matches!(part, Expr::Value(_)) {
            return None;
        }
        let text = self.shape.qualified(bare(part));
        let (_, read) = self.groups.iter().find(|(group, _)| *group == text)?;
        Some(format!("({read})"))
    }

    /// Returns all expressions to group by when the store is read: the groups, and the keys that depend on them.
    /// Postgres has accepted the query, so a key outside of the groups is a function of a group that is a key itself,
    /// or of the table's own key. But beside a group that mixes tables, the key may be part of the same expression,
    /// written differently. That is an error.
    fn all_groups(&self, manifest: &Manifest) -> Result<Vec<String>, String> {
        let mut groups: Vec<String> = self.groups.iter().map(|(_, read)| read.clone()).collect();
        let more: Vec<String> = self.bare.iter().filter(|key| !groups.contains(key)).cloned().collect();
        let fact = &self.shape.tables[self.shape.fact];
        let own_key = manifest.datasets[fact.dataset].single_key().map(|key| quoted(&key.name));
        let keys: Vec<String> =
            (1..=self.store.keys.len()).map(|number| format!("{STORE}.k{number}")).collect();
        let mut numbered = self.store.keys.iter().zip(&keys);
        let has_own_key = numbered.any(|(key, name)| Some(key) == own_key.as_ref() && groups.contains(name));
        let is_mixed = |group: &String| group.contains(STORE) && !keys.contains(group);
        if !more.is_empty() && !has_own_key && groups.iter().any(is_mixed) {
            return Err(
                "what is selected is not written as what it is grouped by: write both alike".to_owned()
            );
        }
        groups.extend(more);
        Ok(groups)
    }

    /// Returns whether an expression is not a key itself, but consists of keys only.
    fn is_made_of_keys(&self, expr: &Expr) -> bool {
        let is_key = |part: &Expr| self.store.keys.contains(&self.text(part));
        let is_made = look_through(expr, |part| match self.shape.column(part, 0) {
            _ if is_key(part) => Ok(Descent::Done),
            Ok(Some(_)) => Err(()),
            _ => Ok(Descent::Deeper),
        });
        is_made.is_ok() && !is_key(expr)
    }

    fn read_aggregate(&mut self, aggregate: &Aggregate<'_>) -> String {
        let (own, read) = self.conditions(aggregate.filter.into_iter().flat_map(conjuncts));
        let rows = match own.is_empty() {
            true => format!("{STORE}.n"),
            false => self.sum(format!("count(*){}", filter(&own)), false),
        };
        let Some(argument) = aggregate.argument else {
            return count(&rows, &read);
        };
        let is_added_up = matches!(
            aggregate.function,
            AggregateFunction::Count | AggregateFunction::Sum | AggregateFunction::Avg
        ) && !aggregate.distinct;
        if is_added_up && self.shape.is_of_fact(argument) {
            self.read_sum(aggregate.function, argument, &own, &read)
        } else {
            self.read_values(aggregate, argument, &rows, &own, read)
        }
    }

    /// Reads an aggregate whose argument the store adds up.
    fn read_sum(
        &mut self,
        function: AggregateFunction,
        argument: &Expr,
        own: &[String],
        read: &[String],
    ) -> String {
        let text = self.stored(argument);
        let counted = self.sum(format!("count({text}){}", filter(own)), false);
        if function == AggregateFunction::Count {
            return count(&counted, read);
        }
        let number = self.number(argument);
        let (sum, is_there) = match number {
            Number::Small | Number::Big => {
                let sum = self.sum(format!("sum({text}){}", filter(own)), number == Number::Big);
                (format!("sum({sum}){}", filter(read)), format!("sum({counted}){}", filter(read)))
            }
            Number::Numeric => self.numeric_sum(&text, &counted, own, read),
        };
        match (function, number) {
            (AggregateFunction::Avg, _) => format!("{sum} / nullif({is_there}, 0)"),
            (_, Number::Small) => format!("(case when {is_there} > 0 then {sum} end)::bigint"),
            _ => format!("case when {is_there} > 0 then {sum} end"),
        }
    }

    /// Returns the sum of numerics, and how many there are. A sum shows as many digits after the point as the longest
    /// value among its rows, and a value that is not a number cannot be subtracted again. Therefore each number of
    /// digits is a key, and so is each value that is not a number; such values are counted and not added.
    fn numeric_sum(
        &mut self,
        text: &str,
        counted: &str,
        own: &[String],
        read: &[String],
    ) -> (String, String) {
        let value = match own.is_empty() {
            true => format!("({text})"),
            false => format!("(case when {} then {text} end)", all_of(own)),
        };
        let digits = self.key(format!(
            "coalesce(scale{value}, case {value}::text \
             when 'NaN' then -1 when 'Infinity' then -2 when '-Infinity' then -3 end)"
        ));
        let is_number = [own, &[format!("scale({text}) is not null")]].concat();
        let sum = self.sum(format!("sum({text}){}", filter(&is_number)), true);
        let value = format!(
            "case {digits} when -1 then 'NaN'::numeric when -2 then 'Infinity'::numeric \
             when -3 then '-Infinity'::numeric else {sum} end"
        );
        let is_there = [read, &[format!("{counted} > 0")]].concat();
        (format!("sum({value}){}", filter(&is_there)), format!("sum({counted}){}", filter(read)))
    }

    /// Reads an aggregate over values that are keys, or that are built from keys and columns of referenced tables.
    /// `rows` is the number of rows with each value, among those that meet the `own` conditions.
    fn read_values(
        &mut self,
        aggregate: &Aggregate<'_>,
        argument: &Expr,
        rows: &str,
        own: &[String],
        mut read: Vec<String>,
    ) -> String {
        let is_new = |this: &Self| {
            let text = this.text(argument);
            !this.store.keys.contains(&text) && !this.is_made_of_keys(argument)
        };
        let value = if !own.is_empty() && self.shape.is_of_fact(argument) && is_new(self) {
            // The condition may guard the argument against an error.
            let text = self.stored(argument);
            self.key(format!("case when {} then {text} end", all_of(own)))
        } else {
            self.read(argument, false)
        };
        if rows != format!("{STORE}.n") {
            read.push(format!("{rows} > 0"));
        }
        if aggregate.distinct || matches!(aggregate.function, AggregateFunction::Min | AggregateFunction::Max)
        {
            let distinct = if aggregate.distinct { "distinct " } else { "" };
            return format!("{}({distinct}{value}){}", aggregate.name, filter(&read));
        }
        let is_there = [&read[..], &[format!("({value}) is not null")]].concat();
        let sum = format!("sum(({value})::numeric * {rows}){}", filter(&read));
        match aggregate.function {
            AggregateFunction::Count => count(rows, &is_there),
            AggregateFunction::Avg => format!("{sum} / nullif(sum({rows}){}, 0)", filter(&is_there)),
            _ if self.number(argument) == Number::Small => format!("({sum})::bigint"),
            _ => sum,
        }
    }

    fn number(&self, argument: &Expr) -> Number {
        let known = self.summed.iter().find(|(expr, _)| expr == argument);
        known.map_or(Number::Numeric, |(_, number)| *number)
    }
}

/// Returns the number of an item in a list, from 1. Adds the item if the list lacks it.
fn number_in<T: PartialEq>(items: &mut Vec<T>, item: T) -> usize {
    let index = items.iter().position(|known| *known == item).unwrap_or(items.len());
    if index == items.len() {
        items.push(item);
    }
    index + 1
}

/// Renders the sum of a count.
fn count(rows: &str, conditions: &[String]) -> String {
    format!("coalesce(sum({rows}){}, 0)::bigint", filter(conditions))
}

fn filter(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" filter (where {})", all_of(conditions)) }
}

/// Returns whether an expression is expensive and never fails for a row, so that it is computed once if it occurs
/// twice.
fn is_worth_sharing(expr: &Expr) -> bool {
    let never_fails = |expr: &Expr| match bare(expr) {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        expr => is_worth_sharing(expr),
    };
    // A unit or a zone from a column may be invalid.
    let is_given = |expr: &Expr| matches!(bare(expr), Expr::Value(_));
    match expr {
        Expr::Extract { expr, .. } => never_fails(expr),
        Expr::AtTimeZone { timestamp, time_zone } => never_fails(timestamp) && is_given(time_zone),
        Expr::Function(function) if function_name(function) == "date_trunc" => {
            let FunctionArguments::List(list) = &function.args else { return false };
            let mut arguments = list.args.iter().enumerate();
            arguments.all(|(i, argument)| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if i == 1 => never_fails(expr),
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => is_given(expr),
                _ => false,
            })
        }
        _ => false,
    }
}
