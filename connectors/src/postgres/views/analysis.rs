//! What each view is: asked of the parser, and of Postgres where only that knows.
//!
//! All views are made as temporary ones first, behind a savepoint: so Postgres itself says whether a query
//! is right and what its columns are, before anything of the old views is touched.

use std::collections::BTreeSet;

use deadpool_postgres::Transaction;
use sqlparser::ast::{Distinct, Expr, GroupByExpr, Query, SelectItem, SetExpr, Value, Visit};
use tidegate_core::manifest::Manifest;
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;

use super::super::Error;
use super::super::error::describe;
use super::super::table::{TableSql, quoted};
use super::compile::{Compiled, Number, Questions, compile};
use super::file::{View, in_order};
use super::locks::savepoint;
use super::shape::{Catalog, ColumnOf, Relation, Shape, Special, function_name};
use super::sql::{Look, Time, as_parsed, ident_value, line_of, look_through, times};
use super::{Kind, Reason};

/// A view, and what it is.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) view: View,
    pub(super) kind: Kind,
    /// What kept it from being incremental.
    pub(super) reason: Option<Reason>,
    /// The views that it reads.
    pub(super) reads: Vec<String>,
    /// What else it reads, by what the names stand for now.
    pub(super) relations: Vec<u32>,
    /// The names and types of its columns.
    pub(super) columns: Vec<(String, String)>,
    /// How an incremental one is kept.
    pub(super) compiled: Option<Compiled>,
    /// The columns that tell the rows of a refreshed one apart, if its query says so.
    pub(super) unique: Vec<String>,
}

/// So much of an expression is shown.
const PART_CHARS_MAX: usize = 120;
const SAVEPOINT: &str = "savepoint tidegate_analysis";
const BACK: &str = "rollback to savepoint tidegate_analysis; release savepoint tidegate_analysis";

/// Analyses the views, each behind those that it reads. The tables of the datasets must be there.
pub(super) async fn analyse(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
) -> Result<Vec<Analysed>, Error> {
    let views = in_order(views.to_vec())?;
    let analysis = Analysis { tx, manifest, tables: tables(tx, manifest).await? };
    if !views.is_empty() {
        analysis.check_privilege().await?;
    }
    tx.batch_execute(SAVEPOINT).await?;
    let mut analysed: Vec<Analysed> = Vec::with_capacity(views.len());
    for view in views {
        let next = analysis.analyse(view, &analysed).await?;
        analysed.push(next);
    }
    tx.batch_execute(BACK).await?;
    Ok(analysed)
}

struct Analysis<'a> {
    tx: &'a Transaction<'a>,
    manifest: &'a Manifest,
    /// The datasets' tables.
    tables: Vec<u32>,
}

async fn tables(tx: &Transaction<'_>, manifest: &Manifest) -> Result<Vec<u32>, Error> {
    let names: Vec<String> = manifest.datasets.iter().map(|dataset| TableSql::new(dataset).name).collect();
    let sql =
        "select to_regclass(name)::oid from unnest($1::text[]) with ordinality as t (name, i) order by i";
    let rows = tx.query(sql, &[&names]).await?;
    Ok(rows.iter().map(|row| row.get::<_, Option<u32>>(0).unwrap_or_default()).collect())
}

/// The names and types of the columns of a relation, with collations that are not their types' own.
pub(super) async fn columns_of(tx: &Transaction<'_>, relation: &str) -> Result<Vec<(String, String)>, Error> {
    let sql = "select attname::text, concat_ws(' collate ', format_type(atttypid, atttypmod), \
                   nullif(attcollation, typcollation)::regcollation) \
               from pg_attribute join pg_type on pg_type.oid = atttypid \
               where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let rows = tx.query(sql, &[&relation]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl Analysis<'_> {
    async fn analyse(&self, view: View, others: &[Analysed]) -> Result<Analysed, Error> {
        let columns = self.create(&view).await?;
        self.refuse_times_that_stand_still(&view).await?;
        let relations = self.relations(&view).await?;
        let reads = others.iter().map(|other| &other.view.name).filter(|name| view.names(name));
        let reads: Vec<String> = reads.cloned().collect();
        let (kind, found) = self.kind(&view, &reads, &columns).await?;
        let (reason, compiled) = match found {
            Ok(compiled) => (None, compiled),
            Err(reason) => (Some(reason), None),
        };
        let unique = match &view.query {
            Ok(query) if kind == Kind::Refreshed => self.unique(&view, query, &columns).await?,
            _ => Vec::new(),
        };
        Ok(Analysed { kind, reason, reads, relations, columns, compiled, unique, view })
    }

    async fn kind(
        &self,
        view: &View,
        reads: &[String],
        columns: &[(String, String)],
    ) -> Result<(Kind, Result<Option<Compiled>, Reason>), Error> {
        if view.refresh.is_some() {
            return Ok((Kind::Refreshed, Ok(None)));
        }
        let query = match &view.query {
            Ok(query) => query,
            Err(reason) => return Ok((Kind::Refreshed, Err(reason.clone()))),
        };
        if !reads.is_empty() {
            return Ok((Kind::Layered, Ok(None)));
        }
        let catalog = self.catalog(query).await?;
        let shape = match Shape::of(query, self.manifest, &catalog, view.first_line) {
            Ok(shape) => shape,
            Err(reason) => return Ok((Kind::Refreshed, Err(reason))),
        };
        if !self.is_understood(view, query).await? {
            let what = "Tidegate's parser reads the query otherwise than Postgres: put parentheses around what \
                belongs together";
            return Ok((Kind::Refreshed, Err(Reason::new(view.first_line, what))));
        }
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        match self.compile(&shape, &names, view.first_line).await? {
            Ok(compiled) => Ok((Kind::Incremental, Ok(Some(compiled)))),
            Err(reason) => Ok((Kind::Refreshed, Err(reason))),
        }
    }

    async fn check_privilege(&self) -> Result<(), Error> {
        let sql = "select has_database_privilege(current_database(), 'TEMP'), \
                   format('grant temporary on database %I to %I', current_database(), current_user)";
        let row = self.tx.query_one(sql, &[]).await?;
        match row.get(0) {
            true => Ok(()),
            false => {
                let grant: &str = row.get(1);
                Err(Error::halt(format!("views need the privilege to make temporary tables: {grant}")))
            }
        }
    }

    /// Makes the view as a temporary one, and gives its columns.
    async fn create(&self, view: &View) -> Result<Vec<(String, String)>, Error> {
        let head = format!("create temporary view {} as\n", quoted(&view.name));
        let made = self.tx.batch_execute(&format!("{head}{}", view.select)).await;
        made.map_err(|error| of_query(view, head.chars().count(), error))?;
        columns_of(self.tx, &format!("pg_temp.{}", quoted(&view.name))).await
    }

    /// The columns that tell the rows of the view apart, if its query says so.
    async fn unique(
        &self,
        view: &View,
        query: &Query,
        columns: &[(String, String)],
    ) -> Result<Vec<String>, Error> {
        let (unique, numbered) = unique(query, columns);
        Ok(match numbered {
            Some(numbered) if !self.is_understood(view, &numbered).await? => Vec::new(),
            _ => unique,
        })
    }

    /// Whether Postgres reads the query as the parser does: what was parsed makes the same view.
    async fn is_understood(&self, view: &View, query: &Query) -> Result<bool, Error> {
        let sql = format!(
            "drop view if exists pg_temp.tidegate_parsed; \
             create temporary view tidegate_parsed as {}",
            as_parsed(query)
        );
        if savepoint(self.tx, &sql).await?.is_some() {
            return Ok(false);
        }
        let sql =
            "select pg_get_viewdef(to_regclass($1)) = pg_get_viewdef(to_regclass('pg_temp.tidegate_parsed'))";
        Ok(self.tx.query_one(sql, &[&format!("pg_temp.{}", quoted(&view.name))]).await?.get(0))
    }

    /// Refuses a string such as `'today'` that Postgres takes for the time at which the view is made, for ever: with
    /// another word in its place it is no time at all.
    async fn refuse_times_that_stand_still(&self, view: &View) -> Result<(), Error> {
        let Ok(query) = &view.query else { return Ok(()) };
        for Time { text, line, otherwise } in times(query) {
            let sql = format!("create temporary view tidegate_otherwise as {}", as_parsed(&otherwise));
            let fault = savepoint(self.tx, &sql).await?;
            if fault.is_some_and(|error| error.code() == Some(&SqlState::INVALID_DATETIME_FORMAT)) {
                return Err(Error::halt(format!(
                    "view '{}', line {}: '{text}' stands for the moment at which the view is made, for ever: write now() \
                     or current_date",
                    view.name,
                    if line == 0 { view.first_line } else { line },
                )));
            }
            self.tx.batch_execute("drop view if exists pg_temp.tidegate_otherwise").await?;
        }
        Ok(())
    }

    /// The relations that a view reads, but for other views.
    async fn relations(&self, view: &View) -> Result<Vec<u32>, Error> {
        let sql = "select distinct refobjid from pg_rewrite \
                   join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid \
                       and refclassid = 'pg_class'::regclass and refobjid <> ev_class \
                   join pg_class on pg_class.oid = refobjid and relnamespace <> pg_my_temp_schema() \
                   where ev_class = to_regclass($1)";
        let rows = self.tx.query(sql, &[&format!("pg_temp.{}", quoted(&view.name))]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// What the names in a query stand for.
    async fn catalog(&self, query: &Query) -> Result<Catalog, Error> {
        let mut catalog = Catalog::default();
        let Names { relations, functions } = Names::of(query);
        for name in relations {
            let sql = "select to_regclass($1)::oid, coalesce((select relkind = 'p' or relhassubclass from pg_class \
                       where oid = to_regclass($1)), false), array(select attname::text from pg_attribute \
                       where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum)";
            let row = self.tx.query_one(sql, &[&name]).await?;
            let oid: Option<u32> = row.get(0);
            let dataset = oid.and_then(|oid| self.tables.iter().position(|table| *table == oid));
            catalog.relations.insert(name, Relation { dataset, has_parts: row.get(1), columns: row.get(2) });
        }
        let sql = "select proname::text, bool_or(prokind = 'a'), bool_or(prokind = 'w'), bool_and(proretset) \
                   from pg_proc where proname = any($1::text[]) group by proname";
        let functions: Vec<String> = functions.into_iter().collect();
        for row in self.tx.query(sql, &[&functions]).await? {
            let special = match (row.get(1), row.get(2), row.get(3)) {
                (true, ..) => Special::Aggregate,
                (_, true, _) => Special::Window,
                (.., true) => Special::Set,
                _ => continue,
            };
            catalog.special.insert(row.get(0), special);
        }
        Ok(catalog)
    }

    async fn compile(
        &self,
        shape: &Shape<'_>,
        names: &[String],
        first_line: u64,
    ) -> Result<Result<Compiled, Reason>, Error> {
        let questions = Questions::of(shape);
        let probe = self.probe(shape, &questions).await?;
        if let Some(reason) = self.not_immutable(&probe, &questions.scalars, first_line).await? {
            return Ok(Err(reason));
        }
        let mut summed = Vec::new();
        for expr in questions.summed {
            let statement =
                self.tx.prepare(&format!("select ({}) from tidegate_probe", probe.text(&expr))).await?;
            let found = match *statement.columns()[0].type_() {
                Type::INT2 | Type::INT4 => Number::Small,
                Type::INT8 => Number::Big,
                Type::NUMERIC => Number::Numeric,
                Type::FLOAT4 | Type::FLOAT8 => {
                    let what = "a sum of floating-point numbers depends on their order: cast them to numeric";
                    return Ok(Err(Reason::new(line_of(&expr, first_line), what)));
                }
                ref other => {
                    let what =
                        format!("'sum' and 'avg' are kept for whole numbers and numeric, not for {other}");
                    return Ok(Err(Reason::new(line_of(&expr, first_line), what)));
                }
            };
            summed.push((expr, found));
        }
        let mut compiled = match compile(shape, self.manifest, &summed, names) {
            Ok(compiled) => compiled,
            Err(what) => return Ok(Err(Reason::new(first_line, what))),
        };
        let table = TableSql::new(&self.manifest.datasets[shape.tables[shape.fact].dataset]).name;
        Ok(self.tell_keys_apart(&mut compiled, &table).await?.map_or(Ok(compiled), |fault| {
            Err(Reason::new(first_line, format!("Postgres cannot store it by its groups: {fault}")))
        }))
    }

    /// Makes a temporary table with the columns that the scalars use, in place of the last view's.
    async fn probe<'s>(&self, shape: &'s Shape<'s>, questions: &Questions) -> Result<Probe<'s>, Error> {
        let columns: BTreeSet<ColumnOf> =
            questions.scalars.iter().flat_map(|expr| shape.columns(expr)).collect();
        let columns: Vec<ColumnOf> = columns.into_iter().collect();
        let outputs = columns.iter().enumerate().map(|(i, (table, name))| {
            format!(", {}.{} as c{i}", quoted(&shape.tables[*table].alias), quoted(name))
        });
        let tables = shape.tables.iter().map(|table| format!("{} as {}", table.name, quoted(&table.alias)));
        self.tx
            .batch_execute(&format!(
                "drop table if exists pg_temp.tidegate_probe; \
                 create temporary table tidegate_probe on commit drop as select 1 as one{} from {} limit 0",
                outputs.collect::<String>(),
                tables.collect::<Vec<_>>().join(", ")
            ))
            .await?;
        Ok(Probe { shape, columns })
    }

    /// The first of the expressions, or the smallest part of it, that Postgres holds not to be immutable.
    /// It is strict about that for the expressions of indexes.
    async fn not_immutable(
        &self,
        probe: &Probe<'_>,
        scalars: &[Expr],
        first_line: u64,
    ) -> Result<Option<Reason>, Error> {
        for scalar in scalars {
            if self.immutable_fault(&probe.text(scalar)).await?.is_none() {
                continue;
            }
            let mut parts: Vec<Expr> = Vec::new();
            let _ = look_through(scalar, |part| {
                parts.push(part.clone());
                Ok::<_, ()>(Look::Deeper)
            });
            for part in parts.iter().rev() {
                if let Some(fault) = self.immutable_fault(&probe.text(part)).await? {
                    let line = line_of(part, line_of(scalar, first_line));
                    let part = shortened(&part.to_string());
                    return Ok(Some(Reason::new(line, format!("'{part}' {fault}"))));
                }
            }
        }
        Ok(None)
    }

    async fn immutable_fault(&self, text: &str) -> Result<Option<String>, Error> {
        let sql = format!("create index on tidegate_probe ((({text}) is null))");
        let result = savepoint(self.tx, &sql).await?;
        Ok(result.map(|error| match error.code() {
            Some(&SqlState::INVALID_OBJECT_DEFINITION) => "is not immutable: its value depends on more than the row; of \
                a timestamptz take the day or the year behind 'at time zone', and dates from text with a format"
                .to_owned(),
            _ => format!("cannot be used here: {}", describe(&error)),
        }))
    }

    /// Adds what tells apart the values of keys that are equal and yet not the same: 1.0 and 1.00, 0 and -0.
    /// One group for both would go on showing the one when it is gone. The fault if there can be no such
    /// store.
    async fn tell_keys_apart(&self, compiled: &mut Compiled, table: &str) -> Result<Option<String>, Error> {
        let change = compiled.store.change(table);
        let sql = format!("create temporary table tidegate_store on commit drop as {change} with no data");
        if let Some(error) = savepoint(self.tx, &sql).await? {
            return Ok(Some(describe(&error)));
        }
        let declared = columns_of(self.tx, table).await?;
        for (name, kind) in &mut compiled.store.columns {
            let found = declared.iter().find(|(column, _)| column == name);
            kind.extend(found.map(|(_, declared)| declared.as_str()));
        }
        let types = columns_of(self.tx, "pg_temp.tidegate_store").await?;
        let types = types.into_iter().take(compiled.store.keys.len()).map(|(_, kind)| kind);
        compiled.store.key_types = types.collect();
        let rows = self.tx.query(include_str!("../../../../sql/queries/view_keys.sql"), &[]).await?;
        for row in rows {
            let key = &compiled.store.keys[row.get::<_, i32>(0) as usize - 1];
            let apart =
                if row.get(1) { format!("scale({key})") } else { format!("({key})::text collate \"C\"") };
            if !compiled.store.keys.contains(&apart) {
                compiled.store.keys.push(apart);
            }
        }
        self.tx.batch_execute("drop table tidegate_store").await?;
        Ok(None)
    }
}

/// A temporary table with the columns `c0`, `c1`, ... in place of those of a query.
struct Probe<'a> {
    shape: &'a Shape<'a>,
    columns: Vec<ColumnOf>,
}

impl Probe<'_> {
    fn text(&self, expr: &Expr) -> String {
        self.shape.written(expr, |column| {
            let index = self.columns.iter().position(|known| known == column);
            index.map_or_else(|| "one".to_owned(), |index| format!("c{index}"))
        })
    }
}

/// A text that somebody is to read.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(PART_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// What Postgres says against a view's query, with the line of the file.
fn of_query(view: &View, head: usize, error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else { return error.into() };
    let position = match db.position() {
        Some(ErrorPosition::Original(position)) => (*position as usize).saturating_sub(head + 1),
        _ => 0,
    };
    let line = view.first_line + view.select.chars().take(position).filter(|c| *c == '\n').count() as u64;
    let hint = db.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    Error::halt(format!("view '{}', line {line}: {}{hint}", view.name, db.message()))
}

/// The relations and functions that a query names.
#[derive(Default)]
struct Names {
    relations: BTreeSet<String>,
    functions: BTreeSet<String>,
}

impl Names {
    fn of(query: &Query) -> Self {
        let mut names = Self::default();
        let _ = query.visit(&mut names);
        names
    }
}

impl sqlparser::ast::Visitor for Names {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &sqlparser::ast::ObjectName) -> std::ops::ControlFlow<()> {
        self.relations.insert(name.to_string());
        std::ops::ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> std::ops::ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.functions.insert(function_name(function));
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// The columns that tell the rows of a query's result apart, as far as the query itself says so: what it is
/// grouped by, if all of that is selected; all of them, if they are distinct. And the query with numbers in
/// place of names of its outputs: if it is another query then, these are names of columns.
fn unique(query: &Query, columns: &[(String, String)]) -> (Vec<String>, Option<Query>) {
    let none = || (Vec::new(), None);
    let all = || (columns.iter().map(|(name, _)| name.clone()).collect(), None);
    let select = match &*query.body {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { set_quantifier, .. } => {
            let keeps_all = *set_quantifier == sqlparser::ast::SetQuantifier::All;
            return if keeps_all { none() } else { all() };
        }
        _ => return none(),
    };
    match &select.distinct {
        Some(Distinct::Distinct) => return all(),
        Some(Distinct::On(_)) => return none(), // what need not be selected
        Some(Distinct::All) | None => {}
    }
    let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else { return none() };
    if !modifiers.is_empty() || select.projection.len() != columns.len() {
        return none();
    }
    let mut by_number = groups.clone();
    let mut is_named = false;
    let mut output = |(i, group): (usize, &Expr)| {
        if let Expr::Value(number) = group {
            return number.to_string().parse::<usize>().ok()?.checked_sub(1);
        }
        let is_it = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => expr == group,
            _ => false,
        };
        let is_name = |item: &SelectItem| {
            matches!((item, group), (SelectItem::ExprWithAlias { alias, .. }, Expr::Identifier(name))
                if ident_value(name) == ident_value(alias))
        };
        select.projection.iter().position(is_it).or_else(|| {
            let named = select.projection.iter().position(is_name)?;
            by_number[i] = Expr::value(Value::Number((named + 1).to_string(), false));
            is_named = true;
            Some(named)
        })
    };
    let found: Option<BTreeSet<usize>> = groups.iter().enumerate().map(&mut output).collect();
    let unique = found.unwrap_or_default().into_iter().filter_map(|i| Some(columns.get(i)?.0.clone()));
    let unique = unique.collect();
    let numbered = is_named.then(|| {
        let mut numbered = query.clone();
        if let SetExpr::Select(select) = &mut *numbered.body {
            select.group_by = GroupByExpr::Expressions(by_number, Vec::new());
        }
        numbered
    });
    (unique, numbered)
}
