//! Random views of the incremental class.
//!
//! No expression fails for any row: no division by a column, no arithmetic that overflows, no cast that
//! refuses an extreme. Expressions of the fact table's columns are immutable; `main` has a test of that.
//!
//! # What is ambiguous
//!
//! Values may be equal and yet differ as text: 1.0 and 1.00 of numerics without a fixed scale, 0 and -0 of
//! floating-point numbers, documents that hold such numerics. If a group has both, which of them `min`, `max` and
//! the key of the group show depends on the order of the rows, in Postgres too. So there such an expression
//! stands only in a form that tells all of them apart or none (`x::text`, `trim_scale(x)`, `round(x, 2)`);
//! `count`, `sum` and `avg` are exact for all of them, with the scale that Postgres gives.

use Type::{Big, Bool, Date, Float, Int, Json, Numeric, Text, Time, Timestamp, Timestamptz, Uuid};
use fastrand::Rng;
use tidegate_core::manifest::Kind;
use tidegate_postgres::table::quoted;

use super::schema::{Column, PLAIN_NAMES, Schema, Table, pick};

/// A view: its select, and whether that says the order of all its rows.
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) select: String,
    pub(crate) is_ordered: bool,
}

impl Query {
    pub(crate) fn random(rng: &mut Rng, schema: &Schema, number: usize) -> Self {
        let name = format!("{}{number}", ["v", "new_", "order", "1st_"][rng.usize(0..4)]);
        let scope = Scope::random(rng, schema);
        let draft = Draft::random(rng, &scope);
        let (from, mut conditions) = scope.from(rng);
        if rng.u8(0..5) < 2 {
            let side = Side::any(rng);
            conditions.push(scope.mostly(rng, side));
        }
        rng.shuffle(&mut conditions);
        let mut select = format!("select\n    {}\nfrom {from}", draft.items(rng).join(",\n    "));
        if !conditions.is_empty() {
            select += &format!("\nwhere {}", conditions.join(" and "));
        }
        if !draft.keys.is_empty() {
            select += &format!("\ngroup by {}", draft.group_by(rng).join(", "));
        }
        if rng.u8(0..5) == 0 {
            select += &format!("\nhaving {}", draft.having(rng, &scope));
        }
        let (order, is_ordered) = draft.order_by(rng);
        if !order.is_empty() {
            select += &format!("\norder by {}", order.join(", "));
        }
        Self { name, select, is_ordered }
    }

    /// The text of the view's file.
    pub(crate) fn file(&self) -> String {
        format!("-- A random view, made by a test.\n\n{}\n", self.select)
    }
}

/// Some expression of a table's own columns, named by the table.
pub(crate) fn own_expression(rng: &mut Rng, table: &Table) -> String {
    let source = Source { table, qualifier: quoted(table.name()), has_alias: false, joined_by: None };
    let scope = Scope { sources: vec![source] };
    if rng.bool() { scope.scalar(rng, Side::Own).sql } else { scope.predicate(rng, Side::Own, 1) }
}

/// The type of an expression, as far as it matters to what can be made of it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Type {
    Int,
    Big,
    Numeric,
    Float,
    Text,
    Date,
    Timestamp,
    Timestamptz,
    Time,
    Bool,
    Uuid,
    Json,
}

#[derive(Clone)]
struct Expr {
    /// Safe to stand before `::` and any operator.
    sql: String,
    kind: Type,
    ambiguous: bool,
    /// What Postgres calls it where it has no alias, if that is sure.
    name: Option<String>,
}

fn expr(sql: impl Into<String>, kind: Type) -> Expr {
    Expr { sql: sql.into(), kind, ambiguous: false, name: None }
}

/// Whose columns an expression is made of.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Own,
    Referenced,
    Any,
    /// One source alone.
    Of(usize),
}

impl Side {
    fn any(rng: &mut Rng) -> Self {
        [Self::Own, Self::Own, Self::Referenced, Self::Any][rng.usize(0..4)]
    }
}

/// The tables of a `from`; the first is the fact table.
struct Scope<'a> {
    sources: Vec<Source<'a>>,
}

struct Source<'a> {
    table: &'a Table,
    /// How columns name it: the alias, or the table's name.
    qualifier: String,
    has_alias: bool,
    /// The reference that joins it: the index of a source before it, and its column.
    joined_by: Option<(usize, usize)>,
}

impl<'a> Scope<'a> {
    fn random(rng: &mut Rng, schema: &'a Schema) -> Self {
        // A referenced table may be the fact table of a view, too.
        let fact = if rng.u8(0..7) == 0 { rng.usize(0..schema.tables.len()) } else { 0 };
        let mut scope = Self { sources: Vec::new() };
        scope.add(rng, &schema.tables[fact], None);
        for _ in 0..[0, 1, 1, 2, 2, 3][rng.usize(0..6)] {
            let references: Vec<_> = scope.references().collect();
            let Some((from, column, to)) = rng.choice(references) else { break };
            scope.add(rng, &schema.tables[to], Some((from, column)));
        }
        scope
    }

    /// References that are not joined yet: source, column, table.
    fn references(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let all = self.sources.iter().enumerate().flat_map(|(source, s)| {
            s.table.columns.iter().enumerate().filter_map(move |(i, c)| Some((source, i, c.references?)))
        });
        all.filter(|(source, column, _)| {
            !self.sources.iter().any(|s| s.joined_by == Some((*source, *column)))
        })
    }

    fn add(&mut self, rng: &mut Rng, table: &'a Table, joined_by: Option<(usize, usize)>) {
        let own = quoted(table.name());
        let is_taken = self.sources.iter().any(|source| source.qualifier == own);
        let has_alias = is_taken || rng.u8(0..3) > 0;
        let alias = [format!("t{}", self.sources.len()), format!("\"Alias {}\"", self.sources.len())];
        let alias = alias[usize::from(rng.u8(0..5) == 0)].clone();
        let qualifier = if has_alias { alias } else { own };
        self.sources.push(Source { table, qualifier, has_alias, joined_by });
    }

    /// The `from`, and the conditions that belong into `where`.
    fn from(&self, rng: &mut Rng) -> (String, Vec<String>) {
        let comma_from = if rng.u8(0..3) == 0 { rng.usize(1..=self.sources.len()) } else { usize::MAX };
        let (mut from, mut conditions, mut done) = (String::new(), Vec::new(), Vec::new());
        while done.len() < self.sources.len() {
            // In any order in which each has a reference to or from one that is there.
            let free = (0..self.sources.len()).filter(|next| !done.contains(next));
            let mut free = free.filter(|next| done.is_empty() || self.link(*next, &done).is_some());
            let next = if rng.bool() { free.next() } else { rng.choice(free.collect::<Vec<_>>()) }.unwrap();
            let table = self.sources[next].sql(rng);
            match self.link(next, &done) {
                None => from = table,
                Some(link) if done.len() >= comma_from => {
                    from += &format!(", {table}");
                    conditions.push(self.equality(rng, link));
                }
                Some(link) => {
                    let join = ["join", "join", "inner join", "JOIN"][rng.usize(0..4)];
                    from += &format!("\n{join} {table} {}", self.on(rng, &done, next, link));
                }
            }
            done.push(next);
        }
        (from, conditions)
    }

    /// The reference between a source and those that are there: from which, its column, to which.
    fn link(&self, next: usize, done: &[usize]) -> Option<(usize, usize, usize)> {
        let link = |from, to: usize| match self.sources[to].joined_by {
            Some((source, column)) if source == from => Some((from, column, to)),
            _ => None,
        };
        done.iter().find_map(|there| link(next, *there).or_else(|| link(*there, next)))
    }

    fn equality(&self, rng: &mut Rng, (from, column, to): (usize, usize, usize)) -> String {
        let mut sides = [(from, column), (to, self.sources[to].table.key)];
        rng.shuffle(&mut sides);
        sides.map(|(source, column)| self.column_of(rng, source, column).sql).join(" = ")
    }

    /// What joins a source to those that are there: `on`, with more than the reference now and then, or `using`.
    fn on(&self, rng: &mut Rng, done: &[usize], next: usize, link: (usize, usize, usize)) -> String {
        let (from, column, to) = link;
        let name = &self.sources[from].table.columns[column].name;
        let has_it = |source: &&usize| self.sources[**source].table.columns.iter().any(|c| c.name == *name);
        let is_unique = done.iter().filter(has_it).count() == 1;
        if is_unique && self.sources[to].table.key_column().name == *name && rng.bool() {
            return format!("using ({})", quoted(name));
        }
        let equality = self.equality(rng, link);
        if rng.u8(0..5) > 0 {
            return format!("on {equality}");
        }
        let more = self.mostly(rng, Side::Of(next));
        if rng.bool() { format!("on {equality} and {more}") } else { format!("on ({more}) and {equality}") }
    }

    /// A column of a source.
    fn column_of(&self, rng: &mut Rng, source: usize, column: usize) -> Expr {
        let Source { table, qualifier, .. } = &self.sources[source];
        let Column { name, kind, ambiguous, .. } = &table.columns[column];
        let holders = self.sources.iter().flat_map(|s| &s.table.columns).filter(|c| c.name == *name).count();
        let is_plain = PLAIN_NAMES.split('|').any(|plain| plain == name);
        let spelled = match rng.u8(0..8) {
            0..4 if is_plain => name.clone(),
            4 if is_plain => name.to_uppercase(),
            _ => quoted(name),
        };
        let sql = if holders == 1 && rng.bool() { spelled } else { format!("{qualifier}.{spelled}") };
        let kind = match kind {
            Kind::SmallInt | Kind::Integer => Int,
            Kind::BigInt => Big,
            Kind::Numeric { .. } => Numeric,
            Kind::Real | Kind::Double => Float,
            Kind::Text | Kind::Varchar(_) => Text,
            Kind::Date => Date,
            Kind::Timestamp => Timestamp,
            Kind::Timestamptz => Timestamptz,
            Kind::Time => Time,
            Kind::Boolean => Bool,
            Kind::Uuid => Uuid,
            Kind::Jsonb => Json,
        };
        Expr { ambiguous: *ambiguous, name: Some(name.clone()), ..expr(sql, kind) }
    }

    fn column(&self, rng: &mut Rng, side: Side) -> Expr {
        let source = match side {
            Side::Of(source) => source,
            _ if self.sources.len() == 1 => 0,
            Side::Own => 0,
            Side::Referenced => rng.usize(1..self.sources.len()),
            Side::Any => rng.usize(0..self.sources.len()),
        };
        let columns = &self.sources[source].table.columns;
        let mut column = rng.usize(0..columns.len());
        if columns[column].kind == Kind::Boolean {
            column = rng.usize(0..columns.len()); // a boolean makes dull groups
        }
        self.column_of(rng, source, column)
    }

    /// A column, something made of one, or of two.
    fn scalar(&self, rng: &mut Rng, side: Side) -> Expr {
        let column = self.column(rng, side);
        match rng.u8(0..10) {
            0..5 => column,
            5..9 => column.derived(rng),
            _ => {
                let other = if matches!(side, Side::Of(_)) { side } else { Side::Own };
                let other = self.column(rng, other);
                column.with(rng, &other)
            }
        }
    }

    /// The first of some tries that is of one of the types, or else an integer.
    fn scalar_of(&self, rng: &mut Rng, side: Side, kinds: &[Type]) -> Expr {
        for _ in 0..12 {
            let scalar = self.scalar(rng, side);
            if kinds.contains(&scalar.kind) {
                return scalar;
            }
        }
        expr(format!("(case when {} then 1 else 2 end)", self.predicate(rng, side, 0)), Int)
    }

    /// A condition that holds for many rows.
    fn mostly(&self, rng: &mut Rng, side: Side) -> String {
        let (predicate, other) = (self.predicate(rng, side, 1), self.predicate(rng, side, 0));
        match rng.u8(0..3) {
            0 => predicate,
            1 => format!("({predicate} or {other})"),
            _ => format!("({predicate}) is not false"),
        }
    }

    fn predicate(&self, rng: &mut Rng, side: Side, depth: u8) -> String {
        let x = self.scalar(rng, side);
        let (sql, kind) = (&x.sql, x.kind);
        let mut constant = || constant(rng, kind);
        let (a, b, c) = (constant(), constant(), constant());
        let op = ["=", "<>", "<", "<=", ">", ">="][rng.usize(0..6)];
        let not = ["", "not "][rng.usize(0..2)];
        match rng.u8(0..if depth > 0 { 14 } else { 10 }) {
            0 => format!("{sql} is {not}null"),
            1 | 2 => format!("{sql} {op} {a}"),
            3 => format!("{sql} {not}in ({a}, {b}, {c})"),
            4 => format!("{sql} {not}between least({a}, {b}) and {c}"),
            5 => format!("coalesce({sql}, {a}) {op} {b}"),
            6 => format!("{sql} is {not}distinct from {a}"),
            7 => {
                let text = self.scalar_of(rng, side, &[Text]);
                match text.kind {
                    Text => format!(
                        "{} {not}like '{}'",
                        text.sql,
                        rng.choice(["a%", "%a%", "_", "%s", ""]).unwrap()
                    ),
                    _ => format!("{} > 1", text.sql),
                }
            }
            8 => format!("case when {sql} is null then {} else {sql} {op} {a} end", not.is_empty()),
            9 => {
                let y = self.scalar_of(rng, side, &[kind]);
                if y.kind == kind { format!("{sql} {op} {}", y.sql) } else { format!("{} > 1", y.sql) }
            }
            10 => format!("not ({})", self.predicate(rng, side, depth - 1)),
            n => {
                let op = if n == 11 { "and" } else { "or" };
                let [x, y] = [0, 1].map(|_| self.predicate(rng, side, depth - 1));
                format!("({x} {op} {y})")
            }
        }
    }

    fn aggregate(&self, rng: &mut Rng) -> Expr {
        let side = Side::any(rng);
        let mut aggregate = match rng.u8(0..12) {
            0 | 1 => expr("count(*)", Big),
            2 => expr(format!("count({})", self.scalar(rng, side).sql), Big),
            3 => expr(format!("count(case when {} then 1 end)", self.predicate(rng, side, 1)), Big),
            4..8 => {
                let number = self.scalar_of(rng, side, &[Int, Big, Numeric]);
                let function = ["sum", "sum", "avg"][rng.usize(0..3)];
                let kind = if function == "sum" && number.kind == Int { Big } else { Numeric };
                let mut argument = number.sql;
                if rng.u8(0..4) == 0 {
                    let otherwise = ["", " else 0"][rng.usize(0..2)];
                    let side = Side::any(rng);
                    let when = self.predicate(rng, side, 0);
                    argument = format!("case when {when} then {argument}{otherwise} end");
                }
                Expr { ambiguous: kind == Numeric, ..expr(format!("{function}({argument})"), kind) }
            }
            _ => {
                let kinds = [Int, Big, Numeric, Float, Text, Date, Timestamp, Timestamptz, Time];
                let value = self.scalar_of(rng, side, &kinds).exact(rng);
                expr(format!("{}({})", ["min", "max"][rng.usize(0..2)], value.sql), value.kind)
            }
        };
        aggregate.name = aggregate.sql.split_once('(').map(|(function, _)| function.to_owned());
        if rng.u8(0..10) < 3 {
            let side = Side::any(rng);
            aggregate.sql += &format!(" filter (where {})", self.predicate(rng, side, 1));
        }
        aggregate
    }

    /// An expression over aggregates.
    fn over_aggregates(&self, rng: &mut Rng) -> String {
        let aggregate = self.aggregate(rng);
        let Expr { sql, kind, .. } = &aggregate;
        match (kind, rng.u8(0..6)) {
            (Big, 0) => format!(
                "100.0 * count(*) filter (where {}) / nullif({sql}, 0)",
                self.predicate(rng, Side::Any, 0)
            ),
            (Big, 1) => format!("{sql} > count(*)"),
            (Int | Big | Numeric, 2) => format!("coalesce({sql}, 0)"),
            (Int | Big | Numeric, 3) => format!("({sql})::numeric + count(*)"),
            (Int | Big, 4) => format!("({sql})::numeric - {}", self.aggregate_of(rng, &[Int, Big, Numeric])),
            (Numeric, _) => format!("round({sql}, 2)"),
            (Text, _) => format!("coalesce({sql}, '') || count(*)::text"),
            (_, 5) => {
                format!("case when {sql} is null then 'none' when count(*) > 2 then 'many' else 'few' end")
            }
            _ => sql.clone(),
        }
    }

    fn aggregate_of(&self, rng: &mut Rng, kinds: &[Type]) -> String {
        let tries = std::iter::repeat_with(|| self.aggregate(rng));
        tries.take(20).find(|a| kinds.contains(&a.kind)).map_or("count(*)".to_owned(), |a| a.sql)
    }
}

impl Source<'_> {
    fn sql(&self, rng: &mut Rng) -> String {
        let table = self.table.sql();
        match (self.has_alias, rng.bool()) {
            (false, _) => table,
            (true, true) => format!("{table} as {}", self.qualifier),
            (true, false) => format!("{table} {}", self.qualifier),
        }
    }
}

impl Expr {
    /// An immutable expression of it that fails for no value.
    fn derived(&self, rng: &mut Rng) -> Self {
        let (text, kind, ambiguous) = rng.choice(derivations(self.kind)).unwrap();
        let sql = match self.kind {
            Timestamptz => text.replace('@', &format!("({} at time zone 'UTC')", self.sql)),
            _ => text.replace('@', &self.sql),
        };
        Self { ambiguous: *ambiguous, ..expr(format!("({sql})"), *kind) }
    }

    /// An expression of it and another.
    fn with(&self, rng: &mut Rng, other: &Self) -> Self {
        let (x, y, kinds) = (&self.sql, &other.sql, [self.kind, other.kind]);
        let all_of = |allowed: &[Type]| kinds.iter().all(|kind| allowed.contains(kind));
        let op = ["+", "-", "*"][rng.usize(0..3)];
        if all_of(&[Int]) {
            expr(format!("({x}::bigint {op} {y})"), Big)
        } else if all_of(&[Int, Big, Numeric]) {
            Self { ambiguous: true, ..expr(format!("({x}::numeric {op} {y})"), Numeric) }
        } else if all_of(&[Text]) {
            expr(format!("({x} || '/' || {y})"), Text)
        } else if kinds[0] == kinds[1] && rng.bool() {
            let ambiguous = all_of(&[Float, Json]);
            Self { ambiguous, ..expr(format!("coalesce({x}, {y})"), self.kind) }
        } else if kinds[0] == kinds[1] {
            expr(format!("({x} < {y})"), Bool)
        } else if all_of(&[Int, Big, Numeric, Float, Text, Bool, Uuid, Json]) {
            expr(format!("({x}::text || {y}::text)"), Text)
        } else {
            expr(format!("(case when {x} is null then 'x' when {y} is null then 'y' end)"), Text)
        }
    }

    /// Itself, or a form of it in which equal values are the same.
    fn exact(self, rng: &mut Rng) -> Self {
        let forms = match self.kind {
            _ if !self.ambiguous => return self,
            Numeric => ["round(@, 2)", "trim_scale(@)", "@::text"],
            Float => ["@::text", "@::numeric", "@::text"],
            _ => ["@::text", "@ ->> 'a'", "@::text"],
        };
        let sql = rng.choice(forms).unwrap().replace('@', &self.sql);
        let is_number = self.kind != Json && !sql.ends_with("text");
        expr(format!("({sql})"), if is_number { Numeric } else { Text })
    }
}

/// What can be made of an expression `@` of a type: the type of that, and whether it is ambiguous.
fn derivations(kind: Type) -> &'static [(&'static str, Type, bool)] {
    match kind {
        Int => &[
            ("@ % 3", Int, false),
            ("(@ / 10)::int", Int, false),
            ("@::text", Text, false),
            ("@::bigint * 3 - 1", Big, false),
            ("coalesce(@, 0)", Int, false),
            ("case when @ > 2 then 'high' when @ is not null then 'low' end", Text, false),
            ("abs(@::bigint)", Big, false),
            ("@ in (1, 2)", Bool, false),
        ],
        Big => &[
            ("@ % 7", Big, false),
            ("@ / 10", Big, false),
            ("@::text", Text, false),
            ("@::numeric * 1.10", Numeric, false),
            ("coalesce(@, 0)", Big, false),
        ],
        Numeric => &[
            ("round(@, 1)", Numeric, false),
            ("trim_scale(@)", Numeric, false),
            ("@::text", Text, false),
            ("@ * 1.10", Numeric, true),
            ("coalesce(@, 0)", Numeric, true),
            ("floor(@)", Numeric, false),
            ("@ > 1", Bool, false),
        ],
        Float => &[
            ("@::text", Text, false),
            ("@::numeric", Numeric, false),
            ("coalesce(@, 0)", Float, true),
            ("@ * 2", Float, true),
            ("@ > 1", Bool, false),
        ],
        Text => &[
            ("lower(@)", Text, false),
            ("upper(@)", Text, false),
            ("left(@, 1)", Text, false),
            ("@ || '-'", Text, false),
            ("length(@)", Int, false),
            ("coalesce(@, 'none')", Text, false),
            ("nullif(@, '')", Text, false),
            ("@ collate \"C\"", Text, false),
        ],
        Date => &[
            ("extract(year from @)", Numeric, false),
            ("extract(isodow from @)", Numeric, false),
            ("@ - 1", Date, false),
            ("@ >= date '2024-02-01'", Bool, false),
            ("case when isfinite(@) then extract(month from @)::int end", Int, false),
        ],
        Timestamp | Timestamptz => &[
            ("extract(year from @)", Numeric, false),
            ("extract(quarter from @)", Numeric, false),
            ("extract(second from @)", Numeric, false),
            ("date_trunc('month', @)", Timestamp, false),
            ("date_trunc('hour', @)", Timestamp, false),
            ("@::date", Date, false),
            ("case when isfinite(@) then extract(year from @)::int end", Int, false),
        ],
        Time => &[("extract(hour from @)", Numeric, false), ("@ < time '12:00'", Bool, false)],
        Bool => &[
            ("not @", Bool, false),
            ("@::int", Int, false),
            ("@::text", Text, false),
            ("case when @ then 1 else 0 end", Int, false),
        ],
        Uuid => &[("@::text", Text, false), ("left(@::text, 4)", Text, false)],
        Json => &[("@ ->> 'a'", Text, false), ("jsonb_typeof(@)", Text, false), ("@::text", Text, false)],
    }
}

/// A constant of a type.
fn constant(rng: &mut Rng, kind: Type) -> &'static str {
    let constants = match kind {
        Int | Big => "0|1|2|7|-5",
        Numeric => "1|2.50|0|-1.0|'NaN'::numeric",
        Float => "0|1.5|'-Infinity'::double precision|'NaN'::double precision",
        Text => "'a'|'B'|''|'Sales'|'O''Brien \\'",
        Date => "date '2024-01-31'|'2024-02-29'::date|'-infinity'::date",
        Timestamp => "timestamp '2024-01-01 00:00'|'2024-02-29 12:00'::timestamp",
        Timestamptz => "'2024-01-01T00:00:00Z'::timestamptz|timestamptz '2024-02-29 00:00+02'",
        Time => "time '12:00'|'24:00'::time",
        Bool => "true|false",
        Uuid => "'00000000-0000-4000-8000-000000000000'::uuid|'a0000000-0000-4000-8000-000000000000'::uuid",
        Json => "'[1, 2]'::jsonb|'{\"a\": 1}'::jsonb",
    };
    pick(rng, constants)
}

/// What is selected, and by what it is grouped.
#[derive(Default)]
struct Draft {
    keys: Vec<Expr>,
    items: Vec<Item>,
}

struct Item {
    sql: String,
    alias: Option<String>,
    /// The index of the key that it is.
    key: Option<usize>,
}

impl Draft {
    fn random(rng: &mut Rng, scope: &Scope<'_>) -> Self {
        let mut draft = Self::default();
        // No alias may be a column's name, which goes before it in `group by`.
        let columns = scope.sources.iter().flat_map(|source| &source.table.columns);
        let mut free =
            Names { columns: columns.map(|column| column.name.clone()).collect(), taken: Vec::new() };
        for key in 0..[0, 1, 1, 2, 2, 3][rng.usize(0..6)] {
            let side = Side::any(rng);
            let expr = scope.scalar(rng, side).exact(rng);
            if rng.u8(0..6) > 0 {
                let alias = free.alias(rng, expr.name.as_deref(), true);
                draft.items.push(Item { sql: expr.sql.clone(), alias, key: Some(key) });
            }
            if expr.name.is_some() && rng.u8(0..6) == 0 {
                draft.items.push(Item {
                    sql: expr.derived(rng).sql,
                    alias: free.alias(rng, None, false),
                    key: None,
                });
            }
            draft.keys.push(expr);
        }
        let is_without = !draft.items.is_empty() && rng.u8(0..30) == 0;
        for _ in 0..if is_without { 0 } else { rng.usize(1..=4) } {
            let (sql, name) = if rng.u8(0..3) > 0 {
                let aggregate = scope.aggregate(rng);
                (aggregate.sql, aggregate.name)
            } else {
                (scope.over_aggregates(rng), None)
            };
            draft.items.push(Item { sql, alias: free.alias(rng, name.as_deref(), false), key: None });
        }
        rng.shuffle(&mut draft.items);
        draft
    }

    fn items(&self, rng: &mut Rng) -> Vec<String> {
        let spelled = |item: &Item| match &item.alias {
            Some(alias) => format!("{}{}{alias}", item.sql, [" as ", " "][usize::from(rng.u8(0..6) == 0)]),
            None => item.sql.clone(),
        };
        self.items.iter().map(spelled).collect()
    }

    /// A key where `group by` or `order by` names it: written out, by its place or its alias.
    fn key(&self, rng: &mut Rng, key: usize) -> String {
        let written = self.keys[key].sql.clone();
        match self.items.iter().position(|item| item.key == Some(key)) {
            Some(place) => match (rng.u8(0..3), &self.items[place].alias) {
                (0, _) => (place + 1).to_string(),
                (1, Some(alias)) => alias.clone(),
                _ => written,
            },
            None => written,
        }
    }

    fn group_by(&self, rng: &mut Rng) -> Vec<String> {
        let mut keys: Vec<String> = (0..self.keys.len()).map(|key| self.key(rng, key)).collect();
        rng.shuffle(&mut keys);
        keys
    }

    fn having(&self, rng: &mut Rng, scope: &Scope<'_>) -> String {
        let aggregate = scope.aggregate(rng);
        match (rng.u8(0..4), rng.choice(&self.keys)) {
            (0, _) => "count(*) > 1".to_owned(),
            (1, Some(key)) => format!("{} is not null or count(*) > 2", key.sql),
            (2, _) => format!("({}) is not null", aggregate.sql),
            _ => format!("({} >= {}) is not false", aggregate.sql, constant(rng, aggregate.kind)),
        }
    }

    /// The `order by`, and whether it is total: it has all keys, and no two groups are equal in them.
    fn order_by(&self, rng: &mut Rng) -> (Vec<String>, bool) {
        let mut order = Vec::new();
        let is_total = rng.u8(0..5) < 2;
        let aggregate = self.items.iter().position(|item| item.key.is_none());
        if let Some(place) = aggregate.filter(|_| rng.u8(0..4) == 0) {
            order.push(if rng.bool() { (place + 1).to_string() } else { "count(*)".to_owned() });
        }
        for key in (0..self.keys.len()).filter(|_| is_total) {
            let by = self.key(rng, key);
            let is_text = self.keys[key].kind == Text && by == self.keys[key].sql;
            order.push(if is_text && rng.bool() { format!("{by} collate \"C\"") } else { by });
        }
        for by in &mut order {
            *by += [" desc", "", "", " asc", " nulls first", " desc nulls last"][rng.usize(0..6)];
        }
        (order, is_total || self.keys.is_empty())
    }
}

/// The names of what is selected.
struct Names {
    columns: Vec<String>,
    taken: Vec<String>,
}

impl Names {
    /// An alias; or none, where what Postgres would call it is free.
    fn alias(&mut self, rng: &mut Rng, name: Option<&str>, is_column: bool) -> Option<String> {
        let is_free = |name: &&str| {
            !self.taken.iter().any(|taken| taken == name)
                && (is_column || !self.columns.iter().any(|c| c == name))
        };
        if let Some(name) = name.filter(is_free).filter(|_| rng.bool()) {
            self.taken.push(name.to_owned());
            return None;
        }
        loop {
            let base =
                rng.choice(["total", "key", "Key One", "Σ", "a \"b\"", "n", "value_", "k", "s"]).unwrap();
            let alias = format!("{base}{}", rng.u8(1..30));
            if !self.taken.contains(&alias) && !self.columns.contains(&alias) {
                self.taken.push(alias.clone());
                let is_plain =
                    alias.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
                return Some(if is_plain { alias } else { quoted(&alias) });
            }
        }
    }
}
