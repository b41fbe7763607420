//! Decides whether a query is of the incremental class, and takes it apart.
//!
//! The class: one table, the *fact* table, with inner joins along declared references, `where`, `group by`, `having`,
//! `order by`, and the aggregates `count`, `sum`, `avg`, `min`, `max`. This module decides all that can be decided
//! without the server. Types and volatility are asked of Postgres, in [`super::analysis`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArguments, GroupByExpr, Ident, JoinConstraint,
    JoinOperator, ObjectName, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    UnaryOperator, Value,
};
use tidegate_core::manifest::{Manifest, Reference};
use tidegate_postgres::table::quoted;

use crate::aggregate::{aggregate, contains_aggregate, function_name};
use crate::kind::{RefreshReason, refuse};
use crate::sql::{Descent, bare, conjuncts, ident_value, is_operation, line_of, look_through, with_replaced};

/// What the server knows about the names in a query.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    /// The relations, by the name that the query writes.
    pub(super) relations: HashMap<String, CatalogRelation>,
    /// The functions that are not plain functions of their arguments, by name.
    pub(super) special: HashMap<String, Special>,
}

#[derive(Clone, Debug)]
pub(super) struct CatalogRelation {
    /// The index of the dataset whose table it is; `None` if it is not one.
    pub(super) dataset: Option<usize>,
    /// Whether it has partitions or child tables, which can be written directly.
    pub(super) has_parts: bool,
    pub(super) columns: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    Aggregate,
    Window,
    Set,
}

/// A table in the query's `from`.
#[derive(Debug)]
pub(super) struct JoinedTable {
    /// The name, as the query writes it.
    pub(super) name: String,
    pub(super) alias: String,
    pub(super) dataset: usize,
    pub(super) columns: Vec<String>,
    has_parts: bool,
    line: u64,
}

/// A column of a table of the query: the table's index, and the column's name.
pub(super) type ColumnOf = (usize, String);

/// A query of the class.
#[derive(Debug, Default)]
pub(super) struct QueryShape<'a> {
    pub(super) tables: Vec<JoinedTable>,
    /// The index of the fact table.
    pub(super) fact: usize,
    pub(super) conditions: Vec<Expr>,
    pub(super) outputs: Vec<&'a Expr>,
    /// `None` if the query has no `group by`.
    pub(super) groups: Option<Vec<&'a Expr>>,
    pub(super) having: Option<&'a Expr>,
    pub(super) order: Vec<&'a OrderByExpr>,
    /// The names of the outputs; `None` for an output without one.
    pub(super) names: Vec<Option<String>>,
    first_line: u64,
}

const HOW_ELSE: &str = "put it into a view of its own over this one";

impl<'a> QueryShape<'a> {
    /// Takes a query apart. Returns the reason if it is not of the class.
    pub(super) fn of(
        query: &'a Query,
        manifest: &Manifest,
        catalog: &Catalog,
        first_line: u64,
    ) -> Result<Self, RefreshReason> {
        let select = the_select(query, first_line)?;
        let mut shape = Self { having: select.having.as_ref(), first_line, ..Self::default() };
        shape.read_from(select, catalog)?;
        shape.conditions.extend(select.selection.iter().flat_map(conjuncts).cloned());
        shape.read_outputs(select)?;
        shape.read_groups(select)?;
        shape.read_order(query)?;
        for expr in shape.expressions() {
            shape.check(expr, catalog)?;
        }
        let mut aggregates = shape.outputs.iter().chain(&shape.having).copied();
        if shape.groups.is_none() && !aggregates.any(contains_aggregate) {
            return refuse(first_line, "it aggregates nothing: it has neither 'group by' nor an aggregate");
        }
        shape.find_fact(manifest)?;
        let fact = &shape.tables[shape.fact];
        if fact.has_parts {
            return refuse(
                fact.line,
                format!(
                    "'{}' has partitions or tables that inherit from it, which can be written by themselves",
                    fact.name
                ),
            );
        }
        Ok(shape)
    }

    /// Returns every expression of the query.
    pub(super) fn expressions(&self) -> Vec<&Expr> {
        let groups = self.groups.iter().flatten();
        let order = self.order.iter().filter(|order| !self.is_output(&order.expr)).map(|order| &order.expr);
        let rest = self.outputs.iter().chain(groups).chain(&self.having).copied();
        self.conditions.iter().chain(rest).chain(order).collect()
    }

    /// Returns whether an expression of `order by` means an output, by number or name.
    pub(super) fn is_output(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Value(_) => true,
            Expr::Identifier(ident) => self.names.contains(&Some(ident_value(ident))),
            _ => false,
        }
    }

    fn read_from(&mut self, select: &'a Select, catalog: &Catalog) -> Result<(), RefreshReason> {
        if select.from.is_empty() {
            return refuse(self.first_line, "it reads no table");
        }
        for from in &select.from {
            let first = self.tables.len();
            self.add_table(&from.relation, catalog)?;
            for join in &from.joins {
                let line = line_of(&join.relation, self.first_line);
                let (JoinOperator::Join(constraint) | JoinOperator::Inner(constraint)) = &join.join_operator
                else {
                    let kind = match join.join_operator {
                        JoinOperator::CrossJoin(_) => "a cross join",
                        _ => "an outer join",
                    };
                    return refuse(line, format!("{kind}: only inner joins along declared references"));
                };
                self.add_table(&join.relation, catalog)?;
                match constraint {
                    JoinConstraint::On(condition) => {
                        self.conditions.extend(conjuncts(condition).into_iter().cloned());
                    }
                    JoinConstraint::Using(columns) => {
                        for column in columns {
                            self.add_merged(first, column, line)?;
                        }
                    }
                    JoinConstraint::Natural => {
                        let what = "'natural join': write the join's condition with 'on'";
                        return refuse(line, what);
                    }
                    JoinConstraint::None => {}
                }
            }
        }
        Ok(())
    }

    fn add_table(&mut self, factor: &TableFactor, catalog: &Catalog) -> Result<(), RefreshReason> {
        let line = line_of(factor, self.first_line);
        let TableFactor::Table { name, alias, args: None, sample: None, with_ordinality: false, .. } = factor
        else {
            let what = match factor {
                TableFactor::Derived { .. } => "a subquery in 'from'",
                TableFactor::Table { sample: Some(_), .. } => "'tablesample'",
                TableFactor::Table { .. }
                | TableFactor::Function { .. }
                | TableFactor::TableFunction { .. } => "a function in 'from'",
                _ => "parentheses or something else than tables in 'from'",
            };
            return refuse(line, format!("{what}: only tables of datasets can be joined"));
        };
        let written = name.to_string();
        let relation = catalog.relations.get(&written);
        let Some((relation, dataset)) = relation.and_then(|relation| Some((relation, relation.dataset?)))
        else {
            return refuse(line, format!("'{written}' is not the table of a dataset"));
        };
        if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
            return refuse(line, "an alias that renames columns");
        }
        let own = || name.0.last().and_then(|part| part.as_ident()).map(ident_value);
        let alias = alias.as_ref().map(|alias| ident_value(&alias.name)).or_else(own).unwrap_or_default();
        let CatalogRelation { columns, has_parts, .. } = relation.clone();
        self.tables.push(JoinedTable { name: written, alias, dataset, columns, has_parts, line });
        Ok(())
    }

    /// Adds the condition for a column in the last table's `using`. It joins that table to the tables from index
    /// `first` on, not to those before a comma. The column's name alone means the column of the left table.
    fn add_merged(&mut self, first: usize, column: &ObjectName, line: u64) -> Result<(), RefreshReason> {
        let column = column.0.last().and_then(|part| part.as_ident());
        let name = column.map(ident_value).unwrap_or_default();
        let left = self.tables[first..].iter().find(|table| table.columns.contains(&name));
        let (Some(left), Some(right)) = (left, self.tables.last()) else {
            return refuse(line, format!("'using ({name})'"));
        };
        let of = |table: &JoinedTable| {
            let parts = [&table.alias, &name].map(|part| Ident::with_quote('"', part));
            Box::new(Expr::CompoundIdentifier(parts.into()))
        };
        let condition = Expr::BinaryOp { left: of(left), op: BinaryOperator::Eq, right: of(right) };
        self.conditions.push(condition);
        Ok(())
    }

    fn read_outputs(&mut self, select: &'a Select) -> Result<(), RefreshReason> {
        for item in &select.projection {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, own_name(expr)),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(ident_value(alias))),
                other => {
                    let line = line_of(other, self.first_line);
                    return refuse(line, "'*' in what is selected: name the columns");
                }
            };
            self.outputs.push(expr);
            self.names.push(name);
        }
        Ok(())
    }

    fn read_groups(&mut self, select: &'a Select) -> Result<(), RefreshReason> {
        let first_line = self.first_line;
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
            return refuse(first_line, "'group by all': name what it is grouped by");
        };
        if !modifiers.is_empty() {
            return refuse(first_line, "grouping sets");
        }
        if groups.is_empty() {
            return Ok(());
        }
        let mut found = Vec::new();
        for group in groups {
            let line = line_of(group, first_line);
            let expr = match group {
                Expr::Value(value) => match &value.value {
                    Value::Number(number, _) => {
                        let index = number.to_string().parse::<usize>().ok().and_then(|n| n.checked_sub(1));
                        index.and_then(|index| self.outputs.get(index)).copied().unwrap_or(group)
                    }
                    _ => group,
                },
                // The name of a table's column takes precedence over an output's name.
                Expr::Identifier(ident) if self.column(group, line).is_err() => {
                    let name = ident_value(ident);
                    let output = self.names.iter().position(|output| output.as_ref() == Some(&name));
                    output.map_or(group, |index| self.outputs[index])
                }
                Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => {
                    return refuse(line, format!("grouping sets: {HOW_ELSE}"));
                }
                other => other,
            };
            if matches!(bare(expr), Expr::Value(_)) {
                return refuse(line, "it is grouped by a constant");
            }
            found.push(expr);
        }
        self.groups = Some(found);
        Ok(())
    }

    fn read_order(&mut self, query: &'a Query) -> Result<(), RefreshReason> {
        let Some(order) = &query.order_by else { return Ok(()) };
        match &order.kind {
            OrderByKind::Expressions(expressions) => self.order.extend(expressions),
            OrderByKind::All(_) => return refuse(self.first_line, "'order by all'"),
        }
        Ok(())
    }

    /// Refuses expressions that cannot be kept by changes, or whose form is not on the list.
    fn check(&self, expr: &Expr, catalog: &Catalog) -> Result<(), RefreshReason> {
        look_through(expr, |expr| {
            let line = line_of(expr, self.first_line);
            let unknown = || refuse(line, format!("an expression of a kind that is not known here: {expr}"));
            match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {
                    self.column(expr, line)?;
                }
                Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
                    return refuse(line, format!("a subquery: {HOW_ELSE}"));
                }
                Expr::Function(function) => self.check_function(function, line, catalog)?,
                Expr::UnaryOp { op: UnaryOperator::Minus, expr } if expr.to_string().starts_with('-') => {
                    return refuse(line, "two minus signs: put parentheses between them");
                }
                Expr::Like { any: true, .. } | Expr::ILike { any: true, .. } => return unknown(),
                Expr::Nested(_)
                | Expr::Value(_)
                | Expr::TypedString(_)
                | Expr::Cast { .. }
                | Expr::Extract { .. }
                | Expr::Case { .. }
                | Expr::Interval(_)
                | Expr::Array(_)
                | Expr::Ceil { .. }
                | Expr::Floor { .. }
                | Expr::Position { .. }
                | Expr::Substring { .. }
                | Expr::Trim { .. }
                | Expr::Overlay { .. } => {}
                operation if is_operation(operation) => {}
                _ => return unknown(),
            }
            Ok(Descent::Deeper)
        })
    }

    fn check_function(&self, function: &Function, line: u64, catalog: &Catalog) -> Result<(), RefreshReason> {
        let name = function_name(function);
        let refuse_window = || refuse(line, format!("the window function '{name}': {HOW_ELSE}"));
        if function.over.is_some() {
            return refuse_window();
        }
        if let FunctionArguments::List(list) = &function.args
            && list.args.iter().any(|argument| !matches!(argument, FunctionArg::Unnamed(_)))
        {
            return refuse(line, format!("arguments of '{name}' by name: give them by their order"));
        }
        let is_aggregate = match catalog.special.get(&name) {
            Some(Special::Set) => return refuse(line, format!("'{name}' gives a set of rows")),
            Some(Special::Window) => return refuse_window(),
            Some(Special::Aggregate) => true,
            None => false,
        };
        if !is_aggregate && function.filter.is_none() {
            return Ok(());
        }
        let Some(aggregate) = aggregate(function) else {
            return refuse(
                line,
                format!("the aggregate '{name}': count, sum, avg, min and max are kept by changes"),
            );
        };
        if aggregate.argument.into_iter().chain(aggregate.filter).any(contains_aggregate) {
            return refuse(line, format!("an aggregate within the aggregate '{name}'"));
        }
        Ok(())
    }

    /// Returns the column that a name means; `Ok(None)` if the expression is not a name.
    pub(super) fn column(&self, expr: &Expr, line: u64) -> Result<Option<ColumnOf>, RefreshReason> {
        let (table, name) = match expr {
            Expr::Identifier(ident) => (None, ident_value(ident)),
            Expr::CompoundIdentifier(parts) => match &parts[..] {
                [.., table, column] => (Some(ident_value(table)), ident_value(column)),
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        let mut found = self.tables.iter().enumerate().filter(|(_, candidate)| {
            table.as_ref().is_none_or(|table| *table == candidate.alias) && candidate.columns.contains(&name)
        });
        match found.next() {
            Some((index, _)) => Ok(Some((index, name))),
            None => refuse(line, format!("'{expr}' is not a column of a joined table")),
        }
    }

    /// Returns the columns that an expression uses.
    pub(super) fn columns(&self, expr: &Expr) -> BTreeSet<ColumnOf> {
        let mut columns = BTreeSet::new();
        let _ = look_through(expr, |part| {
            columns.extend(self.column(part, 0).ok().flatten());
            Ok::<_, ()>(Descent::Deeper)
        });
        columns
    }

    /// Returns whether an expression uses columns of the fact table and of no other.
    pub(super) fn is_of_fact(&self, expr: &Expr) -> bool {
        let columns = self.columns(expr);
        !columns.is_empty() && columns.iter().all(|(table, _)| *table == self.fact)
    }

    /// Renders an expression as SQL, with its columns as `column` renders them.
    pub(super) fn written(&self, expr: &Expr, mut column: impl FnMut(&ColumnOf) -> String) -> String {
        with_replaced(expr, |part| self.column(part, 0).ok().flatten().map(|of| column(&of)))
    }

    /// Renders an expression as SQL, with each column qualified by its table.
    pub(super) fn qualified(&self, expr: &Expr) -> String {
        self.written(expr, |(table, name)| format!("{}.{}", quoted(&self.tables[*table].alias), quoted(name)))
    }

    /// Returns the two columns that a condition says are equal.
    fn equality(&self, condition: &Expr) -> Option<(ColumnOf, ColumnOf)> {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = bare(condition) else { return None };
        let column = |side: &Expr| self.column(bare(side), 0).ok().flatten();
        Some((column(left)?, column(right)?))
    }

    /// Returns the pairs of tables that the conditions join along a declared reference, by their indices: from, to. For
    /// a reference of several columns there must be a condition for each.
    fn joined_references(&self, manifest: &Manifest) -> Vec<(usize, usize)> {
        let equalities: Vec<_> =
            self.conditions.iter().filter_map(|condition| self.equality(condition)).collect();
        let is_joined = |from: usize, to: usize, reference: &Reference| {
            let own = &manifest.datasets[self.tables[from].dataset];
            let its = &manifest.datasets[self.tables[to].dataset];
            reference.columns.iter().zip(&reference.to).all(|(column, key)| {
                let is_side =
                    |(table, name): &ColumnOf, of: usize, wanted: &str| *table == of && name == wanted;
                let (column, key) = (&own.columns[*column].name, &its.columns[*key].name);
                equalities.iter().any(|(left, right)| {
                    (is_side(left, from, column) && is_side(right, to, key))
                        || (is_side(right, from, column) && is_side(left, to, key))
                })
            })
        };
        let tables = || 0..self.tables.len();
        let pairs =
            tables().flat_map(|from| tables().map(move |to| (from, to))).filter(|(from, to)| from != to);
        let pairs = pairs.filter(|(from, to)| {
            let references = &manifest.datasets[self.tables[*from].dataset].references;
            let target = self.tables[*to].dataset;
            references.iter().any(|reference| reference.dataset == target && is_joined(*from, *to, reference))
        });
        pairs.collect()
    }

    /// Finds the fact table: the one that no other references, and from which references lead to all others.
    fn find_fact(&mut self, manifest: &Manifest) -> Result<(), RefreshReason> {
        let mut edges: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in self.joined_references(manifest) {
            edges.entry(from).or_default().push(to);
        }
        let is_target = |table: &usize| edges.values().any(|targets| targets.contains(table));
        let roots: Vec<usize> = (0..self.tables.len()).filter(|table| !is_target(table)).collect();
        let Some(fact) = roots.first().copied() else {
            return refuse(self.first_line, "its tables reference each other in a circle");
        };
        let mut reached = vec![fact];
        let mut next = 0;
        while let Some(table) = reached.get(next) {
            let more = edges.get(table).into_iter().flatten().copied();
            let more: Vec<_> = more.filter(|table| !reached.contains(table)).collect();
            reached.extend(more);
            next += 1;
        }
        match (0..self.tables.len()).find(|table| !reached.contains(table)) {
            None => {
                self.fact = fact;
                Ok(())
            }
            Some(lost) => {
                let (lost, fact) = (&self.tables[lost], &self.tables[fact]);
                refuse(
                    lost.line.max(fact.line),
                    format!(
                        "'{}' and '{}' are not joined along a declared reference",
                        fact.alias, lost.alias
                    ),
                )
            }
        }
    }
}

/// Returns the one `select` of a query that has no other clauses around it.
fn the_select(query: &Query, first_line: u64) -> Result<&Select, RefreshReason> {
    if let Some(with) = &query.with {
        return refuse(line_of(with, first_line), format!("'with': {HOW_ELSE}"));
    }
    if let Some(limit) = &query.limit_clause {
        return refuse(line_of(limit, first_line), format!("'limit' or 'offset': {HOW_ELSE}"));
    }
    if let Some(fetch) = &query.fetch {
        return refuse(line_of(fetch, first_line), format!("'fetch': {HOW_ELSE}"));
    }
    if !query.locks.is_empty() {
        return refuse(first_line, "'for update' or 'for share'");
    }
    let select = match &*query.body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { op, right, .. } => {
            let operation = op.to_string().to_lowercase();
            return refuse(line_of(&**right, first_line), format!("'{operation}': {HOW_ELSE}"));
        }
        SetExpr::Values(_) => return refuse(first_line, "'values': there is no table in it"),
        other => return refuse(line_of(other, first_line), "parentheses around the query, or no select"),
    };
    if select.distinct.is_some() {
        return refuse(line_of(&select.select_token.0, first_line), "'distinct': write 'group by' instead");
    }
    if !select.named_window.is_empty() {
        return refuse(first_line, format!("'window': {HOW_ELSE}"));
    }
    if select.into.is_some() {
        return refuse(first_line, "'into'");
    }
    Ok(select)
}

/// Returns the name that Postgres gives an output by itself, as far as `group by` and `order by` can use it.
fn own_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident_value(ident)),
        Expr::CompoundIdentifier(parts) => parts.last().map(ident_value),
        Expr::Function(function) => Some(function_name(function)),
        Expr::Nested(expr) | Expr::Cast { expr, .. } | Expr::Collate { expr, .. } => own_name(expr),
        Expr::Case { else_result: Some(expr), .. } => own_name(expr),
        _ => None,
    }
}
