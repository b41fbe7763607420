//! One history: sessions whose transactions overlap, statement by statement, and what the views show meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use tidegate_postgres::schema;
use tidegate_postgres::table::quoted;
use tidegate_store::{Store, prepare, upkeep};
use tidegate_testing::postgres;
use tidegate_testing::store::{of_owner, take_leases};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::changes::{Statement, Writer};
use super::database::{connect, copy, describe};
use super::query::Query;
use super::relation::{Made, Relation};
use super::schema::Schema;

/// How many views share a schema and its history.
const VIEWS: usize = 10;
const STEPS: usize = 44;

/// How often what happened, for the reader of the test, and to hold that it does happen.
pub(crate) type Counts = BTreeMap<&'static str, u64>;

pub(crate) struct History {
    rng: Rng,
    schema: Schema,
    relations: Vec<Relation>,
    sink: Store,
    reader: Client,
    sessions: Vec<Session>,
    log: Vec<String>,
    counts: Counts,
}

struct Session {
    client: Client,
    writer: Writer,
    open: Option<Open>,
}

/// An open transaction.
struct Open {
    isolation: &'static str,
    locks_fact: bool,
    has_truncated: bool,
    has_savepoint: bool,
    /// Whether the fact table was truncated behind its snapshot. To it the table is empty then, which is what
    /// Postgres documents (`truncate` is not MVCC-safe), while a view still shows what the snapshot has; what it
    /// writes counts none the less.
    is_stale: bool,
}

/// Runs the history of a seed. What fails is told with all that led to it.
pub(crate) async fn run(seed: u64, made: Made) -> Result<Counts, String> {
    let mut rng = Rng::with_seed(seed);
    let schema = Schema::random(&mut rng);
    let manifest = schema.manifest();
    let mut history = History::new(rng, schema).await;
    let Err(what) = history.run(made).await else { return Ok(history.counts()) };
    let log = history.log.join("\n");
    Err(format!(
        "seed {seed}: {what}\n\n{manifest}\n{log}\n\nit replays alone: TIDEGATE_VIEW_SEED={seed} cargo test -p \
         tidegate-views random_views -- --nocapture"
    ))
}

impl History {
    /// A database with the tables of a schema, and sessions with settings as they may differ.
    async fn new(mut rng: Rng, schema: Schema) -> Self {
        let url = postgres::database().await;
        let reader = connect(&url).await;
        for namespace in schema.namespaces() {
            reader.batch_execute(&format!("create schema if not exists {namespace}")).await.unwrap();
        }
        let owner = Uuid::new_v4();
        let tables = of_owner(&url, &schema.manifest(), owner);
        schema::migrate(&tables).await.unwrap();
        take_leases(&tables).await;
        prepare::prepare(&tables, &[]).await.unwrap();
        let sink = of_owner(&url, &schema.manifest(), owner);
        let (mut sessions, count) = (Vec::new(), rng.usize(2..5));
        for number in 0..count {
            let (client, writer) = (connect(&url).await, Writer::new(number, count));
            let zone = rng.choice(["UTC", "Asia/Kolkata", "America/St_Johns"]).unwrap();
            let style = rng.choice(["ISO, MDY", "German", "SQL, DMY"]).unwrap();
            let settings = format!("set timezone = '{zone}'; set datestyle = '{style}'");
            client.batch_execute(&settings).await.unwrap();
            sessions.push(Session { client, writer, open: None });
        }
        let (relations, log, counts) = (Vec::new(), Vec::new(), Counts::new());
        Self { rng, schema, relations, sink, reader, sessions, log, counts }
    }

    async fn run(&mut self, made: Made) -> Result<(), String> {
        let queries = (0..VIEWS).map(|number| Query::random(&mut self.rng, &self.schema, number)).collect();
        self.write_first_rows().await?;
        self.relations = Relation::make_all(&self.sink, &self.reader, queries, made).await?;
        self.grant().await;
        self.compare().await?;
        for _ in 0..STEPS {
            self.step().await?;
        }
        for number in self.truncating().into_iter().chain(0..self.sessions.len()) {
            self.commit(number).await?;
        }
        self.fold().await?;
        if let Made::Plain = made { self.shuffle().await } else { Ok(()) }
    }

    /// Moves rows within their tables, and lets Postgres read them in other ways. No query may give anything else.
    async fn shuffle(&mut self) -> Result<(), String> {
        for round in 0..3 {
            for table in &self.schema.tables {
                let key = quoted(&table.key_column().name);
                let sql = format!(
                    "update {} set _line = {round} where md5({key}::text || {round}) < '8'; set enable_hashagg = {}; \
                     set enable_hashjoin = {}",
                    table.sql(),
                    round == 1,
                    round == 2
                );
                self.reader.batch_execute(&sql).await.map_err(|error| describe(&error))?;
            }
            for relation in &mut self.relations {
                if relation.follow(&self.reader).await? {
                    return Err(format!("it is chance what this gives:\n{}", relation.select()));
                }
            }
        }
        Ok(())
    }

    /// The views begin with rows that are there already.
    async fn write_first_rows(&mut self) -> Result<(), String> {
        for statement in Writer::parents(&mut self.rng, &self.schema) {
            self.execute(0, &statement).await?;
        }
        for number in 0..self.sessions.len() {
            for _ in 0..3 {
                let statement = self.sessions[number].writer.insert(&mut self.rng, &self.schema);
                self.execute(number, &statement).await?;
            }
        }
        self.log.push("-- the views are made".to_owned());
        Ok(())
    }

    /// Lets one session go on as a role that may write the tables and knows nothing of Tidegate's schema.
    async fn grant(&self) {
        let role = "do $$ begin create role tidegate_test_writer; \
                    exception when duplicate_object or unique_violation then null; end $$";
        self.reader.batch_execute(role).await.unwrap();
        for namespace in self.schema.namespaces() {
            let grants = format!(
                "grant usage on schema {namespace} to tidegate_test_writer; \
                 grant all on all tables in schema {namespace} to tidegate_test_writer"
            );
            self.reader.batch_execute(&grants).await.unwrap();
        }
        self.sessions[1].client.batch_execute("set role tidegate_test_writer").await.unwrap();
    }

    async fn step(&mut self) -> Result<(), String> {
        let truncating = self.truncating();
        let number = match truncating {
            Some(number) if self.rng.u8(0..4) > 0 => number,
            _ => self.rng.usize(0..self.sessions.len()),
        };
        let is_blocked = truncating.is_some_and(|truncating| truncating != number);
        let dice = self.rng.u8(0..24);
        let Some(open) = &mut self.sessions[number].open else {
            return match dice {
                _ if is_blocked => self.begin(number, true).await,
                0 => self.fold().await,
                1..6 => {
                    self.change(number).await?;
                    self.commit(number).await
                }
                _ => {
                    let has_snapshot = self.rng.bool();
                    self.begin(number, has_snapshot).await
                }
            };
        };
        match dice {
            _ if is_blocked => Ok(()),
            0 if !open.has_truncated => self.fold().await,
            1 => {
                open.has_savepoint = true;
                self.execute(number, &Statement::new("savepoint", "savepoint s")).await
            }
            2 | 3 if open.has_savepoint => {
                self.execute(number, &Statement::new("rollback to a savepoint", "rollback to savepoint s"))
                    .await
            }
            4 | 5 if !open.is_stale => self.compare_inside(number).await,
            6 => {
                self.sessions[number].open = None;
                self.execute(number, &Statement::new("rollback", "rollback")).await
            }
            7..11 => self.commit(number).await,
            11 | 12 => self.truncate(number).await,
            _ => self.change(number).await,
        }
    }

    /// The session that has truncated the fact table and not ended; until then nobody else can use that.
    fn truncating(&self) -> Option<usize> {
        self.sessions.iter().position(|s| s.open.as_ref().is_some_and(|open| open.has_truncated))
    }

    async fn begin(&mut self, number: usize, has_snapshot: bool) -> Result<(), String> {
        let isolation =
            ["read committed", "repeatable read", "repeatable read", "serializable"][self.rng.usize(0..4)];
        let begin = Statement::new(isolation, format!("begin isolation level {isolation}"));
        self.execute(number, &begin).await?;
        // Another's truncation that is not committed yet will be behind the snapshot, too.
        let is_stale = isolation != "read committed" && self.truncating().is_some();
        self.sessions[number].open =
            Some(Open { isolation, is_stale, locks_fact: false, has_truncated: false, has_savepoint: false });
        if has_snapshot {
            let select = Statement { locks_fact: false, ..Statement::new("snapshot", "select 1") };
            self.execute(number, &select).await?;
        }
        Ok(())
    }

    async fn change(&mut self, number: usize) -> Result<(), String> {
        let statements = self.sessions[number].writer.change(&mut self.rng, &self.schema);
        if self.sessions[number].open.is_none() && statements.len() > 1 {
            self.begin(number, false).await?;
        }
        if self.sessions[number].open.as_ref().is_some_and(|open| open.is_stale) {
            self.count("change behind a truncate");
        }
        let needs_open = self.sessions[number].open.is_some();
        for statement in statements {
            if needs_open && self.sessions[number].open.is_none() {
                break; // rolled back
            }
            self.execute(number, &statement).await?;
        }
        Ok(())
    }

    /// Truncates the fact table where no other session would have to wait for that, nor it for them.
    async fn truncate(&mut self, number: usize) -> Result<(), String> {
        let mut others = self.sessions.iter().enumerate().filter(|(other, _)| *other != number);
        if others.any(|(_, session)| session.open.as_ref().is_some_and(|open| open.locks_fact)) {
            return self.change(number).await;
        }
        let truncate = Statement::new("truncate", format!("truncate {}", self.schema.tables[0].sql()));
        self.execute(number, &truncate).await?;
        for (other, session) in self.sessions.iter_mut().enumerate() {
            let Some(open) = &mut session.open else { continue };
            open.has_truncated |= other == number;
            open.is_stale |= other != number && open.isolation != "read committed";
        }
        Ok(())
    }

    async fn commit(&mut self, number: usize) -> Result<(), String> {
        if self.sessions[number].open.is_some() {
            self.execute(number, &Statement::new("commit", "commit")).await?;
            self.sessions[number].open = None;
        }
        self.compare().await
    }

    async fn fold(&mut self) -> Result<(), String> {
        self.log.push("-- fold".to_owned());
        self.count("fold");
        let fold = tokio::time::timeout(Duration::from_secs(60), upkeep::fold_all(&self.sink));
        fold.await.map_err(|_| "folding waits for a session")?.map_err(|error| error.to_string())?;
        self.compare().await
    }

    /// Runs a statement of a session. What Postgres cannot serialize is rolled back; nothing else may fail.
    async fn execute(&mut self, number: usize, statement: &Statement) -> Result<(), String> {
        let Statement { kind, sql, rows, .. } = statement;
        self.log.push(format!("/* {number} */ {sql};"));
        self.count(kind);
        let Session { client, open, .. } = &mut self.sessions[number];
        if let Some(open) = open {
            open.locks_fact |= statement.locks_fact;
        }
        let result = match rows {
            None => client.batch_execute(sql).await,
            Some(rows) => {
                self.log.push(format!("{rows}\\."));
                copy(client, sql, rows).await
            }
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) => self.failed(number, &error).await,
        }
    }

    async fn failed(&mut self, number: usize, error: &Error) -> Result<(), String> {
        let Session { client, open, .. } = &mut self.sessions[number];
        let may_fail = open.take().is_some_and(|open| open.isolation != "read committed");
        if error.code() != Some(&SqlState::T_R_SERIALIZATION_FAILURE) || !may_fail {
            return Err(format!("session {number}: {}", describe(error)));
        }
        client.batch_execute("rollback").await.map_err(|error| describe(&error))?;
        self.log.push(format!("/* {number} */ rollback; -- {}", describe(error)));
        self.count("serialization failure");
        Ok(())
    }

    /// Compares all views, after a commit, in one snapshot.
    async fn compare(&mut self) -> Result<(), String> {
        self.reader.batch_execute("begin isolation level repeatable read read only").await.unwrap();
        for relation in &mut self.relations {
            relation.follow(&self.reader).await?;
        }
        self.reader.batch_execute("commit").await.unwrap();
        self.count("comparison");
        Ok(())
    }

    /// Compares some views as a session sees them, with what it has not committed.
    async fn compare_inside(&mut self, number: usize) -> Result<(), String> {
        self.count("comparison inside a transaction");
        let Session { client, open, .. } = &mut self.sessions[number];
        if let Some(open) = open {
            open.locks_fact = true;
        }
        for _ in 0..3 {
            let relation = self.rng.choice(&self.relations).unwrap();
            self.log.push(format!("/* {number} */ select * from {};", relation.name()));
            match relation.compare(client).await {
                Ok(compared) => compared.map_err(|what| format!("in session {number}: {what}"))?,
                Err(error) => return self.failed(number, &error).await,
            };
        }
        Ok(())
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn counts(mut self) -> Counts {
        *self.counts.entry("case").or_default() += self.relations.len() as u64;
        let changed = self.relations.iter().filter(|relation| relation.has_changed()).count();
        *self.counts.entry("view whose result changed").or_default() += changed as u64;
        self.counts
    }
}
