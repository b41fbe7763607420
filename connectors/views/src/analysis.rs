//! Determines the kind of each view, with the parser, and by asking Postgres what only the server knows.
//!
//! All views are first created as temporary ones, behind a savepoint. Postgres itself then says whether a query is
//! valid and what its columns are, before any of the old views is touched.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use deadpool_postgres::Transaction;
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Query, SelectItem, SetExpr, Value, visit_expressions, visit_relations,
};
use tidegate_core::manifest::Manifest;
use tidegate_postgres::PgError;
use tidegate_postgres::error::describe;
use tidegate_postgres::session::savepoint;
use tidegate_postgres::table::{quoted, table_name};
use tokio_postgres::error::{ErrorPosition, SqlState};
use tokio_postgres::types::Type;

use crate::aggregate::function_name;
use crate::compile::{CompiledView, Number, Questions, compile};
use crate::file::{View, in_order};
use crate::kind::{RefreshReason, ViewKind, refuse};
use crate::shape::{Catalog, CatalogRelation, ColumnOf, QueryShape, Special};
use crate::sql::{Descent, NamedTime, as_parsed, ident_value, line_of, look_through, times};
use crate::store::StoreSpec;

/// A view, and its kind.
#[derive(Debug)]
pub(super) struct AnalysedView {
    pub(super) view: View,
    pub(super) kind: ViewKind,
    /// Why the view is not incremental.
    pub(super) reason: Option<RefreshReason>,
    /// The views that it reads.
    pub(super) reads: Vec<String>,
    /// The oids of the other relations that it reads, by what their names mean now.
    pub(super) relations: Vec<u32>,
    /// The names and types of its columns.
    pub(super) columns: Vec<(String, String)>,
    /// The store and the reading query of an incremental view.
    pub(super) compiled: Option<CompiledView>,
    /// The columns that identify the rows of a refreshed view, if its query says so.
    pub(super) unique: Vec<String>,
}

/// How many characters of an expression an error shows.
const PART_CHARS_MAX: usize = 120;

/// Analyses the views, each after those that it reads. The tables of the datasets must exist.
pub(super) async fn analyse(
    tx: &Transaction<'_>,
    manifest: &Manifest,
    views: &[View],
) -> Result<Vec<AnalysedView>, PgError> {
    let views = in_order(views.to_vec())?;
    let analysis = Analysis { tx, manifest, tables: tables(tx, manifest).await? };
    if !views.is_empty() {
        analysis.check_privilege().await?;
    }
    tx.batch_execute("savepoint tidegate_analysis").await?;
    let mut analysed: Vec<AnalysedView> = Vec::with_capacity(views.len());
    for view in views {
        let next = analysis.analyse(view, &analysed).await?;
        analysed.push(next);
    }
    tx.batch_execute("rollback to savepoint tidegate_analysis; release savepoint tidegate_analysis").await?;
    Ok(analysed)
}

/// Why a view is not incremental, or why that cannot be found out.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error(transparent)]
    Refreshed(#[from] RefreshReason),
    #[error(transparent)]
    Postgres(#[from] PgError),
}

struct Analysis<'a> {
    tx: &'a Transaction<'a>,
    manifest: &'a Manifest,
    /// The oids of the datasets' tables.
    tables: Vec<u32>,
}

async fn tables(tx: &Transaction<'_>, manifest: &Manifest) -> Result<Vec<u32>, PgError> {
    let names: Vec<String> = manifest.datasets.iter().map(table_name).collect();
    let sql =
        "select to_regclass(name)::oid from unnest($1::text[]) with ordinality as t (name, i) order by i";
    let rows = tx.query(sql, &[&names]).await?;
    Ok(rows.iter().map(|row| row.get::<_, Option<u32>>(0).unwrap_or_default()).collect())
}

/// Returns the names and types of a relation's columns, with collations that differ from their types' own.
pub(super) async fn columns_of(
    tx: &Transaction<'_>,
    relation: &str,
) -> Result<Vec<(String, String)>, PgError> {
    let sql = "select attname::text, concat_ws(' collate ', format_type(atttypid, atttypmod), \
                   nullif(attcollation, typcollation)::regcollation) \
               from pg_attribute join pg_type on pg_type.oid = atttypid \
               where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum";
    let rows = tx.query(sql, &[&relation]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl Analysis<'_> {
    async fn analyse(&self, view: View, others: &[AnalysedView]) -> Result<AnalysedView, PgError> {
        let columns = self.create(&view).await?;
        self.refuse_times_that_stand_still(&view).await?;
        let relations = self.relations(&view).await?;
        let reads = others.iter().map(|other| &other.view.name).filter(|name| view.names(name));
        let reads: Vec<String> = reads.cloned().collect();
        let (kind, reason, compiled) = match &view.query {
            _ if view.refresh.is_some() => (ViewKind::Refreshed, None, None),
            Ok(_) if !reads.is_empty() => (ViewKind::Layered, None, None),
            query => match self.compiled(&view, query, &columns).await {
                Ok(compiled) => (ViewKind::Incremental, None, Some(compiled)),
                Err(Obstacle::Refreshed(reason)) => (ViewKind::Refreshed, Some(reason), None),
                Err(Obstacle::Postgres(error)) => return Err(error),
            },
        };
        let unique = match &view.query {
            Ok(query) if kind == ViewKind::Refreshed => self.unique(&view, query, &columns).await?,
            _ => Vec::new(),
        };
        Ok(AnalysedView { kind, reason, reads, relations, columns, compiled, unique, view })
    }

    /// Compiles a view that reads no other views.
    async fn compiled(
        &self,
        view: &View,
        query: &Result<Box<Query>, RefreshReason>,
        columns: &[(String, String)],
    ) -> Result<CompiledView, Obstacle> {
        let query = query.as_ref().map_err(Clone::clone)?;
        let catalog = self.catalog(query).await?;
        let shape = QueryShape::of(query, self.manifest, &catalog, view.first_line)?;
        if !self.is_understood(view, query).await? {
            let what = "Tidegate's parser reads the query otherwise than Postgres: put parentheses around what \
                belongs together";
            refuse(view.first_line, what)?;
        }
        let questions = Questions::of(&shape);
        let probe = self.probe(&shape, &questions).await?;
        self.assert_immutable(&probe, &questions.scalars, view.first_line).await?;
        let mut summed = Vec::new();
        for expr in questions.summed {
            let sql = format!("select ({}) from tidegate_probe", probe.text(&expr));
            let statement = self.tx.prepare(&sql).await.map_err(PgError::from)?;
            let number = match *statement.columns()[0].type_() {
                Type::INT2 | Type::INT4 => Number::Small,
                Type::INT8 => Number::Big,
                Type::NUMERIC => Number::Numeric,
                Type::FLOAT4 | Type::FLOAT8 => refuse(
                    line_of(&expr, view.first_line),
                    "a sum of floating-point numbers depends on their order: cast them to numeric",
                )?,
                ref other => refuse(
                    line_of(&expr, view.first_line),
                    format!("'sum' and 'avg' are kept for whole numbers and numeric, not for {other}"),
                )?,
            };
            summed.push((expr, number));
        }
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let mut compiled =
            compile(&shape, self.manifest, &summed, &names).or_else(|what| refuse(view.first_line, what))?;
        let table = table_name(&self.manifest.datasets[shape.tables[shape.fact].dataset]);
        self.tell_keys_apart(&mut compiled.store, &table, view.first_line).await?;
        Ok(compiled)
    }

    async fn check_privilege(&self) -> Result<(), PgError> {
        let sql = "select has_database_privilege(current_database(), 'TEMP'), \
                   format('grant temporary on database %I to %I', current_database(), current_user)";
        let row = self.tx.query_one(sql, &[]).await?;
        if row.get(0) {
            return Ok(());
        }
        let grant: &str = row.get(1);
        Err(PgError::halt(format!("views need the privilege to make temporary tables: {grant}")))
    }

    /// Creates the view as a temporary one, and returns its columns.
    async fn create(&self, view: &View) -> Result<Vec<(String, String)>, PgError> {
        let head = format!("create temporary view {} as\n", quoted(&view.name));
        let made = self.tx.batch_execute(&format!("{head}{}", view.select)).await;
        made.map_err(|error| of_query(view, head.chars().count(), error))?;
        columns_of(self.tx, &format!("pg_temp.{}", quoted(&view.name))).await
    }

    /// Returns the columns that identify the rows of the view, if its query says so.
    async fn unique(
        &self,
        view: &View,
        query: &Query,
        columns: &[(String, String)],
    ) -> Result<Vec<String>, PgError> {
        let (unique, numbered) = unique(query, columns);
        Ok(match numbered {
            Some(numbered) if !self.is_understood(view, &numbered).await? => Vec::new(),
            _ => unique,
        })
    }

    /// Returns whether Postgres reads the query as the parser does: the parsed query gives the same view.
    async fn is_understood(&self, view: &View, query: &Query) -> Result<bool, PgError> {
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

    /// Refuses a string such as `'today'`, which Postgres would take for the time at which the view is created, for
    /// ever. The string is a time if Postgres refuses the query with another word in its place for an invalid time.
    async fn refuse_times_that_stand_still(&self, view: &View) -> Result<(), PgError> {
        let Ok(query) = &view.query else { return Ok(()) };
        for NamedTime { text, line, otherwise } in times(query) {
            let sql = format!("create temporary view tidegate_otherwise as {}", as_parsed(&otherwise));
            let fault = savepoint(self.tx, &sql).await?;
            if fault.is_some_and(|error| error.code() == Some(&SqlState::INVALID_DATETIME_FORMAT)) {
                return Err(PgError::halt(format!(
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

    /// Returns the oids of the relations that a view reads, without other views.
    async fn relations(&self, view: &View) -> Result<Vec<u32>, PgError> {
        let sql = "select distinct refobjid from pg_rewrite \
                   join pg_depend on classid = 'pg_rewrite'::regclass and objid = pg_rewrite.oid \
                       and refclassid = 'pg_class'::regclass and refobjid <> ev_class \
                   join pg_class on pg_class.oid = refobjid and relnamespace <> pg_my_temp_schema() \
                   where ev_class = to_regclass($1)";
        let rows = self.tx.query(sql, &[&format!("pg_temp.{}", quoted(&view.name))]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Looks up the names in a query.
    async fn catalog(&self, query: &Query) -> Result<Catalog, PgError> {
        let mut catalog = Catalog::default();
        let (mut relations, mut functions) = (BTreeSet::new(), BTreeSet::new());
        let _ = visit_relations(query, |name| {
            relations.insert(name.to_string());
            ControlFlow::<()>::Continue(())
        });
        let _ = visit_expressions(query, |expr| {
            if let Expr::Function(function) = expr {
                functions.insert(function_name(function));
            }
            ControlFlow::<()>::Continue(())
        });
        for name in relations {
            let sql = "select to_regclass($1)::oid, coalesce((select relkind = 'p' or relhassubclass from pg_class \
                       where oid = to_regclass($1)), false), array(select attname::text from pg_attribute \
                       where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum)";
            let row = self.tx.query_one(sql, &[&name]).await?;
            let oid: Option<u32> = row.get(0);
            let dataset = oid.and_then(|oid| self.tables.iter().position(|table| *table == oid));
            catalog
                .relations
                .insert(name, CatalogRelation { dataset, has_parts: row.get(1), columns: row.get(2) });
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

    /// Creates a temporary table with the columns that the scalars use, in place of the one for the last view.
    async fn probe<'s>(
        &self,
        shape: &'s QueryShape<'s>,
        questions: &Questions,
    ) -> Result<Probe<'s>, PgError> {
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

    /// Refuses the first expression that is not immutable, for the smallest part of it that is not. Each expression is
    /// tried in an index, since Postgres is strict about the expressions of indexes.
    async fn assert_immutable(
        &self,
        probe: &Probe<'_>,
        scalars: &[Expr],
        first_line: u64,
    ) -> Result<(), Obstacle> {
        for scalar in scalars {
            if self.immutable_fault(&probe.text(scalar)).await?.is_none() {
                continue;
            }
            let mut parts: Vec<Expr> = Vec::new();
            let _ = look_through(scalar, |part| {
                parts.push(part.clone());
                Ok::<_, ()>(Descent::Deeper)
            });
            for part in parts.iter().rev() {
                if let Some(fault) = self.immutable_fault(&probe.text(part)).await? {
                    let line = line_of(part, line_of(scalar, first_line));
                    refuse(line, format!("'{}' {fault}", shortened(&part.to_string())))?;
                }
            }
        }
        Ok(())
    }

    async fn immutable_fault(&self, text: &str) -> Result<Option<String>, PgError> {
        let sql = format!("create index on tidegate_probe ((({text}) is null))");
        let result = savepoint(self.tx, &sql).await?;
        Ok(result.map(|error| match error.code() {
            Some(&SqlState::INVALID_OBJECT_DEFINITION) => "is not immutable: its value depends on more than the row; of \
                a timestamptz take the day or the year behind 'at time zone', and dates from text with a format"
                .to_owned(),
            _ => format!("cannot be used here: {}", describe(&error)),
        }))
    }

    /// Adds keys that distinguish values which are equal and yet not identical: 1.0 and 1.00, 0 and -0. One group for
    /// both would go on showing the one value when its rows are gone.
    async fn tell_keys_apart(
        &self,
        store: &mut StoreSpec,
        table: &str,
        first_line: u64,
    ) -> Result<(), Obstacle> {
        let change = store.change(table);
        let sql = format!("create temporary table tidegate_store on commit drop as {change} with no data");
        if let Some(error) = savepoint(self.tx, &sql).await? {
            let fault = describe(&error);
            refuse(first_line, format!("Postgres cannot store it by its groups: {fault}"))?;
        }
        let declared = columns_of(self.tx, table).await?;
        for (name, kind) in &mut store.columns {
            let found = declared.iter().find(|(column, _)| column == name);
            kind.extend(found.map(|(_, declared)| declared.as_str()));
        }
        let types = columns_of(self.tx, "pg_temp.tidegate_store").await?;
        store.key_types = types.into_iter().take(store.keys.len()).map(|(_, kind)| kind).collect();
        let sql = include_str!("../../../sql/queries/view_keys.sql");
        for row in self.tx.query(sql, &[]).await.map_err(PgError::from)? {
            let key = &store.keys[row.get::<_, i32>(0) as usize - 1];
            let apart =
                if row.get(1) { format!("scale({key})") } else { format!("({key})::text collate \"C\"") };
            if !store.keys.contains(&apart) {
                store.keys.push(apart);
            }
        }
        self.tx.batch_execute("drop table tidegate_store").await.map_err(PgError::from)?;
        Ok(())
    }
}

/// A temporary table with the columns `c0`, `c1`, ... in place of those of a query.
struct Probe<'a> {
    shape: &'a QueryShape<'a>,
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

/// Shortens a text for display.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(PART_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Turns Postgres's error about a view's query into one with the line in the file.
fn of_query(view: &View, head: usize, error: tokio_postgres::Error) -> PgError {
    let Some(db) = error.as_db_error() else { return error.into() };
    let position = match db.position() {
        Some(ErrorPosition::Original(position)) => (*position as usize).saturating_sub(head + 1),
        _ => 0,
    };
    let line = view.first_line + view.select.chars().take(position).filter(|c| *c == '\n').count() as u64;
    let hint = db.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
    PgError::halt(format!("view '{}', line {line}: {}{hint}", view.name, db.message()))
}

/// Returns the columns that identify the rows of a query's result, as far as the query itself says so. If the query
/// selects every `group by` column, those columns identify its rows. If the rows are distinct, all columns do. Also
/// returns the query with numbers in place of output names in `group by`: if Postgres reads that as another query,
/// the names are those of columns.
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
        Some(Distinct::On(_)) => return none(), // its expressions need not be selected
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
