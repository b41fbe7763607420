//! What do the metric views cost whoever writes? One command, one private Postgres, one run:
//!
//! ```sh
//! cargo bench --bench views   # --rows 10000000 --ingest 1000000 --rounds 3
//! ```
//!
//! First, one commit that upserts 1,000 rows, each moved to another department, job and quarter, in a table
//! of `--rows`: without any view, with the shipped views, and with the same metrics as native materialized
//! views that are refreshed concurrently behind the commit. It is written by SQL on one connection, and by
//! Tidegate's sink. The first two are taken in turn, over the same changes and behind a checkpoint each; in
//! the end the incremental views must hold what the materialized ones do.
//!
//! Second, `tidegate run --until-idle` from a cold start over `--ingest` lines, without any view and with the
//! shipped ones, in turn, `--rounds` times.

#![allow(clippy::print_stdout)] // what it measures is what it is for

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use tempfile::TempDir;
use tidegate::cli::{Global, settings};
use tidegate_core::contract::{Delivery, Sink};
use tidegate_core::position::Position;
use tidegate_core::record::{Batch, Line};
use tidegate_core::registry::{Arrival, ArrivalRole, Registry};
use tidegate_core::shape::Shape;
use tidegate_postgres::schema;
use tidegate_store::{Holder, Store, leases, prepare};
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use common::{Anything, Bench, REJECTS_PERCENT, Run, median, psql, shipped_views};

/// Rows of a commit.
const COMMIT_ROWS: usize = 1_000;
/// Commits without views and with incremental ones, by each writer.
const COMMITS: usize = 30;
/// Commits that a refresh follows, by each writer.
const REFRESHES: usize = 3;
/// The shipped views that aggregate a table, and the columns that tell their rows apart.
const METRICS: [(&str, &str); 2] =
    [("hires_by_quarter", "year, department, job"), ("hires_by_department", "year, id")];
const DATASET: &str = "hired_employees";
/// Longer than any run.
const LEASE: Duration = Duration::from_secs(7 * 24 * 3600);

const UPSERT: &str = "\
insert into hired_employees (id, name, datetime, department_id, job_id)
select * from unnest($1::integer[], $2::text[], $3::text[]::timestamptz[], $4::integer[], $5::integer[])
on conflict (id) do update set
    name = excluded.name,
    datetime = excluded.datetime,
    department_id = excluded.department_id,
    job_id = excluded.job_id";

/// Rows strewn over the table, none twice, each as it is to become. No quarter has 100 days.
const CHANGES: &str = "\
select
    id,
    name,
    to_char((datetime + interval '100 days') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    department_id % (select count(*)::integer from departments) + 1,
    job_id % (select count(*)::integer from jobs) + 1
from hired_employees
order by hashint4(id), id
limit $1";

#[derive(Parser)]
struct Arguments {
    /// Rows of the table that the commits change
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// Lines to ingest in bulk
    #[arg(long, default_value_t = 1_000_000)]
    ingest: u64,
    /// How often they are ingested
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What cargo tells every bench
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Anything<()> {
    let arguments = Arguments::parse();
    let bench = Bench::start()?;
    let views = Views { none: tempfile::tempdir()?, shipped: shipped_views()? };
    compare_commits(&bench, &views, arguments.rows)?;
    compare_ingests(&bench, &views, arguments.ingest, arguments.rounds)?;
    bench.stop()
}

/// The two folders of views.
struct Views {
    none: TempDir,
    shipped: PathBuf,
}

fn compare_commits(bench: &Bench, views: &Views, rows: u64) -> Anything<()> {
    let plain = bench.home("plain", views.none.path())?;
    let incremental = bench.home("incremental", &views.shipped)?;
    fill(bench, &plain, rows)?;
    bench.runtime.block_on(async {
        let mut plain = Database::open(&bench.server.database_url("plain"), &plain).await?;
        eprintln!("making the views");
        let mut incremental = Database::open(&bench.server.database_url("incremental"), &incremental).await?;
        let mut changes = Changes::draw(&plain.client).await?;
        let mut costs = Vec::new();
        for writer in Writer::ALL {
            eprintln!("{COMMITS} commits, {}", writer.name());
            costs.push(Costs::measure(&mut plain, &mut incremental, writer, &mut changes).await?);
        }
        eprintln!("making the materialized views");
        plain.materialize(&views.shipped).await?;
        for (metric, _) in METRICS {
            if plain.digest(metric).await? != incremental.digest(metric).await? {
                return Err(format!("{metric} is not what its query gives").into());
            }
        }
        for (writer, costs) in Writer::ALL.into_iter().zip(&mut costs) {
            eprintln!("{REFRESHES} commits with a refresh, {}", writer.name());
            for _ in 0..REFRESHES {
                costs.refreshed.push(plain.commit_and_refresh(writer, changes.next()?).await?);
            }
        }
        print_costs(rows, costs);
        Ok(())
    })
}

/// Makes the databases `plain` and `incremental`, alike to the page, with tables but no view yet.
fn fill(bench: &Bench, home: &Path, rows: u64) -> Anything<()> {
    eprintln!("filling {rows} rows");
    let files = bench.generate("filling", rows, 0.0)?;
    let url = bench.fresh_database("plain")?;
    bench.runtime.block_on(Database::open(&url, home))?;
    let copy = |table: &str, columns: &str| {
        format!("\\copy {table} ({columns}) from '{}' csv", files.join(format!("{table}.csv")).display())
    };
    psql(
        &url,
        &[
            "set session_replication_role = replica", // the foreign keys hold, and checking is slow
            &copy("departments", "id, department"),
            &copy("jobs", "id, job"),
            &copy(DATASET, "id, name, datetime, department_id, job_id"),
            "vacuum (freeze, analyze)",
        ],
    )?;
    std::fs::remove_dir_all(files)?;
    psql(&bench.server.url(), &["create database incremental template plain strategy file_copy"])
}

/// Who writes.
#[derive(Clone, Copy)]
enum Writer {
    Sql,
    Sink,
}

impl Writer {
    const ALL: [Self; 2] = [Self::Sql, Self::Sink];

    fn name(self) -> &'static str {
        match self {
            Self::Sql => "SQL on one connection",
            Self::Sink => "Tidegate's sink",
        }
    }
}

/// What one writer's commits took, in milliseconds.
#[derive(Default)]
struct Costs {
    plain: Vec<f64>,
    incremental: Vec<f64>,
    /// The upkeep of the views that is due behind all of the commits.
    folding: f64,
    refreshed: Vec<f64>,
}

impl Costs {
    async fn measure(
        plain: &mut Database,
        incremental: &mut Database,
        writer: Writer,
        changes: &mut Changes,
    ) -> Anything<Self> {
        let mut costs = Self::default();
        for _ in 0..COMMITS {
            let rows = changes.next()?;
            costs.plain.push(plain.commit(writer, rows).await?);
            costs.incremental.push(incremental.commit(writer, rows).await?);
        }
        let begun = Instant::now();
        incremental.sink.tidy().await?;
        costs.folding = milliseconds(begun);
        Ok(costs)
    }
}

fn print_costs(rows: u64, costs: Vec<Costs>) {
    println!(
        "\none commit of {COMMIT_ROWS} upserts at {rows} rows, in milliseconds; medians of {COMMITS}, with a refresh \
         of {REFRESHES}"
    );
    println!(
        "| writer | without views | incremental | folding, a commit | refreshed | \
         incremental ÷ without (at most 1.3) | refreshed ÷ incremental (at least 100) |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (writer, Costs { plain, incremental, folding, refreshed }) in Writer::ALL.into_iter().zip(costs) {
        let (plain, incremental, refreshed) = (median(plain), median(incremental), median(refreshed));
        println!(
            "| {} | {plain:.1} | {incremental:.1} | {:.1} | {refreshed:.0} | {:.2} | {:.0} |",
            writer.name(),
            folding / COMMITS as f64,
            incremental / plain,
            refreshed / incremental,
        );
    }
}

/// A row as it is to become.
struct Change {
    id: i32,
    name: String,
    datetime: String,
    department_id: i32,
    job_id: i32,
}

/// Changes that have not been made yet.
struct Changes {
    all: Vec<Change>,
    made: usize,
}

impl Changes {
    /// As many as all commits need.
    async fn draw(client: &Client) -> Anything<Self> {
        let wanted = Writer::ALL.len() * (COMMITS + REFRESHES) * COMMIT_ROWS;
        let rows = client.query(CHANGES, &[&(wanted as i64)]).await?;
        if rows.len() < wanted {
            return Err(format!("the commits need at least {wanted} rows").into());
        }
        let all = rows.iter().map(|row| Change {
            id: row.get(0),
            name: row.get(1),
            datetime: row.get(2),
            department_id: row.get(3),
            job_id: row.get(4),
        });
        Ok(Self { all: all.collect(), made: 0 })
    }

    /// Those of the next commit.
    fn next(&mut self) -> Anything<&[Change]> {
        let next = self.all.get(self.made..self.made + COMMIT_ROWS).ok_or("no changes are left")?;
        self.made += COMMIT_ROWS;
        Ok(next)
    }
}

/// A database of the pipeline, and both writers.
struct Database {
    client: Client,
    upsert: Statement,
    sink: Store,
    /// The source of the sink's lines, and how many it has given.
    source: u64,
    lines: u64,
}

impl Database {
    /// Prepares a database for the manifest and the views of a home.
    async fn open(url: &str, home: &Path) -> Anything<Self> {
        let global = Global {
            config: home.join("tidegate.yaml"),
            database_url: Some(url.to_owned()),
            data_dir: None,
            landing: None,
            verbose: 0,
        };
        let settings = settings::load(&global).map_err(|failure| failure.message)?;
        let views = settings.load_views().map_err(|failure| failure.message)?;
        let sink = settings.database(Uuid::new_v4()).map_err(|failure| failure.message)?;
        schema::migrate(&sink).await?;
        let me = Holder { host: "bench".into(), pid: std::process::id(), started: 0.0 };
        leases::acquire(&sink, &me, LEASE, true).await?;
        prepare::prepare(&sink, &views).await?;
        let (name, content, role) = ("bench", &[0; 32], ArrivalRole::Delivery);
        let shape = &Shape::of(sink.manifest(), &sink.manifest().datasets[0]);
        let file = Arrival {
            dataset: DATASET,
            name,
            fingerprint: content,
            content,
            bytes: 0,
            role,
            shape,
            keys: None,
        };
        let source = sink.register(file).await?.source;
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        let upsert = client.prepare(UPSERT).await?;
        Ok(Self { client, upsert, sink, source, lines: 0 })
    }

    /// Commits the changes, behind a checkpoint. Gives the milliseconds.
    async fn commit(&mut self, writer: Writer, changes: &[Change]) -> Anything<f64> {
        self.client.batch_execute("checkpoint").await?;
        match writer {
            Writer::Sql => self.commit_by_sql(changes).await,
            Writer::Sink => self.commit_by_sink(changes).await,
        }
    }

    async fn commit_by_sql(&mut self, changes: &[Change]) -> Anything<f64> {
        let ids: Vec<i32> = changes.iter().map(|change| change.id).collect();
        let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
        let datetimes: Vec<&str> = changes.iter().map(|change| change.datetime.as_str()).collect();
        let departments: Vec<i32> = changes.iter().map(|change| change.department_id).collect();
        let jobs: Vec<i32> = changes.iter().map(|change| change.job_id).collect();
        let begun = Instant::now();
        let tx = self.client.transaction().await?;
        let written = tx.execute(&self.upsert, &[&ids, &names, &datetimes, &departments, &jobs]).await?;
        tx.commit().await?;
        let took = milliseconds(begun);
        if written == changes.len() as u64 { Ok(took) } else { Err("not every row was written".into()) }
    }

    async fn commit_by_sink(&mut self, changes: &[Change]) -> Anything<f64> {
        let (dataset, _) = self.sink.manifest().dataset(DATASET).ok_or("no such dataset")?;
        let mut records = Batch::default();
        for Change { id, name, datetime, department_id, job_id } in changes {
            self.lines += 1;
            let position = Position::new(self.source, self.lines);
            let text = format!("{id},{name},{datetime},{department_id},{job_id}");
            let line = Line { fingerprint: 0, position, text: text.as_bytes() };
            records.push_with(b"", |out| line.write(out));
        }
        let delivery = Delivery { rows: vec![(dataset, records)], ..Delivery::default() };
        let begun = Instant::now();
        let applied = self.sink.apply(&self.sink.read(&delivery)).await?;
        let took = milliseconds(begun);
        let accepted = applied.tallies[dataset].accepted;
        if accepted == changes.len() as u64 { Ok(took) } else { Err("not every row was accepted".into()) }
    }

    /// Makes the metrics as native materialized views.
    async fn materialize(&self, views: &Path) -> Anything<()> {
        for (metric, key) in METRICS {
            let query = std::fs::read_to_string(views.join(format!("{metric}.sql")))?;
            self.client
                .batch_execute(&format!(
                    "create materialized view {metric} as\n{query}\n;\ncreate unique index on {metric} ({key})"
                ))
                .await?;
        }
        Ok(())
    }

    async fn commit_and_refresh(&mut self, writer: Writer, changes: &[Change]) -> Anything<f64> {
        let committed = self.commit(writer, changes).await?;
        let begun = Instant::now();
        for (metric, _) in METRICS {
            let refresh = format!("refresh materialized view concurrently {metric}");
            self.client.batch_execute(&refresh).await?;
        }
        Ok(committed + milliseconds(begun))
    }

    /// Tells whether the rows of two relations are the same.
    async fn digest(&self, relation: &str) -> Anything<String> {
        let sql = format!("select md5(string_agg(r::text, e'\\n' order by r::text)) from {relation} as r");
        Ok(self.client.query_one(&sql, &[]).await?.get(0))
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn compare_ingests(bench: &Bench, views: &Views, lines: u64, rounds: usize) -> Anything<()> {
    let files = bench.generate("ingest", lines, REJECTS_PERCENT)?;
    let (mut plain, mut incremental) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("ingesting {lines} lines, round {round} of {rounds}");
        plain.push(bench.tidegate(&files, views.none.path())?);
        incremental.push(bench.tidegate(&files, &views.shipped)?);
    }
    let (plain, incremental) = (Run::summary(&plain), Run::summary(&incremental));
    println!("\nbulk ingest of {lines} lines; median of {rounds} rounds, taken in turn");
    println!("| views | thousand lines per second | CPU s | peak MiB |");
    println!("| --- | --- | --- | --- |");
    for (views, run) in [("none", &plain), ("incremental", &incremental)] {
        let rate = lines as f64 / run.seconds / 1000.0;
        println!("| {views} | {rate:.0} | {:.2} | {:.0} |", run.cpu_seconds, run.peak_mib);
    }
    println!("\nrate with views ÷ without (at least 0.85): {:.2}", plain.seconds / incremental.seconds);
    Ok(())
}
