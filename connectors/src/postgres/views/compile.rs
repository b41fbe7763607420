//! From a query of the incremental class to a store and a query that reads it.
//!
//! The store aggregates the fact table alone. Its *keys* are what reading needs of single rows: foreign keys,
//! what is grouped by, arguments of `min` and `max`, the fact table's share of expressions that mix tables.
//! Its *sums* are `n`, the number of rows, and what `count`, `sum` and `avg` add up. Reading drops the groups
//! whose rows are all gone, joins the referenced tables, and aggregates once more.

use std::collections::BTreeSet;

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments};
use tidegate_core::manifest::Manifest;

use super::super::table::quoted;
use super::shape::{Aggregate, AggregateFunction, Shape, as_aggregate, contains_aggregate, function_name};
use super::sql::{Look, all_of, bare, conjuncts, look_through, with_replaced};
use super::store::{StoreSpec, Sum};

/// A compiled view: what it stores, and how it is read.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) store: StoreSpec,
    outputs: Vec<String>,
    /// What stands behind the store in `from`, and behind `from`.
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

/// The store, where a view reads it. No table of a user's is called so.
const STORE: &str = "\"tidegate.store\"";

/// What Postgres has to be asked about a query of the class.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// Each must be immutable.
    pub(super) scalars: Vec<Expr>,
    /// Arguments of `sum` and `avg`, whose types matter.
    pub(super) summed: Vec<Expr>,
}

impl Questions {
    pub(super) fn of(shape: &Shape<'_>) -> Self {
        let mut questions = Self::default();
        for expr in shape.expressions() {
            let _ = look_through(expr, |part| Ok::<_, ()>(questions.ask(part)));
        }
        questions
    }

    fn ask(&mut self, part: &Expr) -> Look {
        if let Some(aggregate) = as_aggregate(part) {
            self.scalars.extend(aggregate.argument.into_iter().chain(aggregate.filter).cloned());
            if matches!(aggregate.function, AggregateFunction::Sum | AggregateFunction::Avg) {
                self.summed.extend(aggregate.argument.cloned());
            }
        } else if contains_aggregate(part) {
            return Look::Deeper;
        } else {
            self.scalars.push(part.clone());
        }
        Look::Done
    }
}

/// Compiles a query whose outputs are called `names` and whose `summed` arguments are of those types. What it is
/// grouped by has to be found again in what is selected; the reason where that fails.
pub(super) fn compile(
    shape: &Shape<'_>,
    manifest: &Manifest,
    summed: &[(Expr, Number)],
    names: &[String],
) -> Result<Compiled, String> {
    let dataset = manifest.datasets[shape.tables[shape.fact].dataset].name.clone();
    let store = StoreSpec { dataset, ..StoreSpec::default() };
    let mut compiler =
        Compiler { shape, summed, store, groups: Vec::new(), bare: BTreeSet::new(), has_quotes: false };
    // Groups come first, so that other expressions are made of them where they can be.
    for group in shape.groups.iter().flatten() {
        let read = compiler.read(group, false);
        compiler.groups.push((shape.qualified(bare(group)), read));
    }
    let outputs = shape.outputs.iter().zip(names);
    let outputs = outputs.map(|(expr, name)| format!("{} as {}", compiler.read(expr, true), quoted(name)));
    let outputs = outputs.collect();
    let having = shape.having.map(|having| compiler.read(having, true));
    let order: Vec<String> = shape.order.iter().map(|order| compiler.order(order)).collect();
    let conditions = compiler.conditions();
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
    Ok(Compiled { store: compiler.store, outputs, rest })
}

impl Compiled {
    /// The query of the view over the rows of its store.
    pub(super) fn over(&self, store: &str) -> String {
        let outputs = self.outputs.join(",\n    ");
        format!("select\n    {outputs}\nfrom ({store}) as {STORE}{}", self.rest)
    }
}

struct Compiler<'a> {
    shape: &'a Shape<'a>,
    summed: &'a [(Expr, Number)],
    store: StoreSpec,
    /// What is grouped by: as the query has it, and as it is read.
    groups: Vec<(String, String)>,
    /// Keys that are read outside of aggregates and of what is grouped by.
    bare: BTreeSet<String>,
    /// Whether a name or a value has a double quote in it.
    has_quotes: bool,
}

impl Compiler<'_> {
    /// An expression of the fact table as the store writes it.
    fn text(&self, expr: &Expr) -> String {
        with_replaced(expr, |part| match part {
            // In parentheses, so that it can be found by its text: `::` behind it would bind to the zone.
            Expr::AtTimeZone { timestamp, time_zone } => {
                Some(format!("({} AT TIME ZONE {})", self.text(timestamp), self.text(time_zone)))
            }
            _ => self.shape.column(part, 0).ok().flatten().map(|(_, name)| quoted(&name)),
        })
    }

    /// The same, for something that is going to be stored.
    fn stored(&mut self, expr: &Expr) -> String {
        let columns = self.shape.columns(expr).into_iter().map(|(_, name)| (name, String::new()));
        self.store.columns.extend(columns);
        let _ = look_through(expr, |part| {
            if is_worth_sharing(part) {
                let text = self.text(part);
                self.store.shareable.insert(text);
            }
            // Expressions are told by their text, which holds a quoted column: here that might stand in a value.
            self.has_quotes |= matches!(part, Expr::Value(_) | Expr::TypedString(_) | Expr::Interval(_))
                && part.to_string().contains('"');
            Ok::<_, ()>(Look::Deeper)
        });
        self.has_quotes |= self.store.columns.keys().any(|name| name.contains('"'));
        self.text(expr)
    }

    fn key(&mut self, sql: String) -> String {
        let known = self.store.keys.iter().position(|key| *key == sql);
        let index = known.unwrap_or_else(|| {
            self.store.keys.push(sql);
            self.store.keys.len() - 1
        });
        format!("{STORE}.k{}", index + 1)
    }

    fn sum(&mut self, sql: String, is_numeric: bool) -> String {
        let sum = Sum { sql, is_numeric };
        let known = self.store.sums.iter().position(|known| *known == sum);
        let index = known.unwrap_or_else(|| {
            self.store.sums.push(sum);
            self.store.sums.len() - 1
        });
        format!("{STORE}.s{}", index + 1)
    }

    /// The conditions that need other tables, or none; the fact table's own become the store's.
    fn conditions(&mut self) -> Vec<String> {
        let mut read = Vec::new();
        for condition in &self.shape.conditions {
            if self.shape.is_of_fact(condition) {
                let stored = self.stored(condition);
                self.store.conditions.push(stored);
            } else {
                read.push(self.read(condition, false));
            }
        }
        read
    }

    fn order(&mut self, order: &sqlparser::ast::OrderByExpr) -> String {
        let by = match &order.expr {
            Expr::Identifier(ident) if self.shape.is_output(&order.expr) => {
                quoted(&super::sql::ident_value(ident))
            }
            expr if self.shape.is_output(expr) => expr.to_string(),
            expr => self.read(expr, true),
        };
        format!("{by}{}", order.options)
    }

    /// An expression as it is read over the store and the referenced tables. `is_bare` if it stands outside
    /// of aggregates.
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

    /// What is grouped by, if an expression is that.
    fn group(&self, part: &Expr) -> Option<String> {
        if self.groups.is_empty() || contains_aggregate(part) || matches!(part, Expr::Value(_)) {
            return None;
        }
        let text = self.shape.qualified(bare(part));
        let (_, read) = self.groups.iter().find(|(group, _)| *group == text)?;
        Some(format!("({read})"))
    }

    /// All that is to be grouped by when the store is read: the groups, and keys that depend on them. Postgres has
    /// taken the query, so keys that stand outside of the groups are functions of one that is a key itself, or of the
    /// table's own key. But next to a group that mixes tables they may be parts of the same, written otherwise.
    fn all_groups(&self, manifest: &Manifest) -> Result<Vec<String>, String> {
        let mut groups: Vec<String> = self.groups.iter().map(|(_, read)| read.clone()).collect();
        let more: Vec<String> = self.bare.iter().filter(|key| !groups.contains(key)).cloned().collect();
        let fact = &self.shape.tables[self.shape.fact];
        let own_key = quoted(&manifest.datasets[fact.dataset].key_column().name);
        let has_own_key = self
            .store
            .keys
            .iter()
            .enumerate()
            .any(|(index, key)| *key == own_key && groups.contains(&format!("{STORE}.k{}", index + 1)));
        let is_key = |group: &str| {
            let number = group.strip_prefix(STORE).and_then(|rest| rest.strip_prefix(".k"));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_mixed = |group: &String| group.contains(STORE) && !is_key(group);
        if !more.is_empty() && !has_own_key && groups.iter().any(is_mixed) {
            return Err(
                "what is selected is not written as what it is grouped by: write both alike".to_owned()
            );
        }
        groups.extend(more);
        Ok(groups)
    }

    /// Whether an expression is no key, but all that it is made of is.
    fn is_made_of_keys(&self, expr: &Expr) -> bool {
        let is_key = |part: &Expr| self.store.keys.contains(&self.text(part));
        let is_made = look_through(expr, |part| match self.shape.column(part, 0) {
            _ if is_key(part) => Ok(Look::Done),
            Ok(Some(_)) => Err(()),
            _ => Ok(Look::Deeper),
        });
        is_made.is_ok() && !is_key(expr)
    }

    fn read_aggregate(&mut self, aggregate: &Aggregate<'_>) -> String {
        let (mut own, mut read) = (Vec::new(), Vec::new());
        for condition in aggregate.filter.into_iter().flat_map(conjuncts) {
            if self.shape.is_of_fact(condition) {
                own.push(self.stored(condition));
            } else {
                read.push(self.read(condition, false));
            }
        }
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

    /// An aggregate whose argument the store adds up.
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

    /// The sum of numerics, and how many there are. A sum shows as many digits behind the point as the
    /// longest of the values that are there, and cannot be freed of a value that is no number: so each
    /// number of digits is a key, and so is each of those values, which are counted and not added.
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

    /// An aggregate over values, which are keys, or made of keys and columns of referenced tables. `rows` says
    /// how many rows have each, of those for which the `own` conditions hold.
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
            // The condition may guard it against an error.
            let text = self.stored(argument);
            self.key(format!("case when {} then {text} end", all_of(own)))
        } else {
            self.read(argument, false)
        };
        if rows != format!("{STORE}.n") {
            read.push(format!("{rows} > 0"));
        }
        let function = match aggregate.function {
            AggregateFunction::Count => "count",
            AggregateFunction::Sum => "sum",
            AggregateFunction::Avg => "avg",
            AggregateFunction::Min => "min",
            AggregateFunction::Max => "max",
        };
        if aggregate.distinct || matches!(aggregate.function, AggregateFunction::Min | AggregateFunction::Max)
        {
            let distinct = if aggregate.distinct { "distinct " } else { "" };
            return format!("{function}({distinct}{value}){}", filter(&read));
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

/// The sum of a count.
fn count(rows: &str, conditions: &[String]) -> String {
    format!("coalesce(sum({rows}){}, 0)::bigint", filter(conditions))
}

fn filter(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" filter (where {})", all_of(conditions)) }
}

/// Whether an expression is dear, and never fails for a row: to be computed once where it stands twice.
fn is_worth_sharing(expr: &Expr) -> bool {
    let never_fails = |expr: &Expr| match bare(expr) {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        expr => is_worth_sharing(expr),
    };
    // A unit or a zone that is a column may be one that there is not.
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
