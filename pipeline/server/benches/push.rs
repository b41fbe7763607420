//! How fast is HTTP, and how soon is what it took in visible? One command, one private Postgres, one run each:
//!
//! ```sh
//! cargo bench --bench push                  # rows singly, by 1000, and 2,000 rows/s in batches of 10
//! cargo bench --bench push -- upload 1024   # a file of so many MiB, and /healthz meanwhile
//! ```
//!
//! Rows are employees; 64 connections push them. A row is visible when the view `hires_by_department` counts it: each
//! request of the paced load hires for a department of its own, and a session asks the view for new ones without pause.

#![allow(clippy::print_stdout)] // what it measures is what it is for

#[allow(dead_code)] // the other benches use the rest of it
mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Anything, Bench, shipped_views};

const CONNECTIONS: u64 = 64;
const FOR: Duration = Duration::from_secs(15);
const DEPARTMENTS: u64 = 20_000;
/// The paced load: so many requests a second, each of so many rows.
const PACED_REQUESTS: u64 = 200;
const PACED_ROWS: u64 = 10;

fn main() -> Anything<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let bench = Bench::start()?;
    match arguments.first().map(String::as_str) {
        Some("upload") => upload(&bench, arguments.get(1).map_or(Ok(1024), |mib| mib.parse())?)?,
        _ => rows(&bench)?,
    }
    bench.stop()
}

/// A run that serves HTTP.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(bench: &Bench, database: &str) -> Anything<Self> {
        let home = bench.home("home", &shipped_views()?)?;
        let manifest = std::fs::read_to_string(home.join("tidegate.yaml"))?;
        std::fs::write(home.join("tidegate.yaml"), format!("http: {{listen: 127.0.0.1:0}}\n{manifest}"))?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--data-dir", &format!("data-{database}")])
            .current_dir(&home)
            .env("DATABASE_URL", bench.fresh_database(database)?)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        let mut said = BufReader::new(child.stderr.take().ok_or("no stderr")?).lines();
        let (mut address, mut awaited) = (None, vec!["HTTP asks for no token", " running landing="]);
        while !awaited.is_empty() {
            let line = said.next().ok_or("it did not start")??;
            if let Some((_, at)) = line.split_once("serving HTTP at http://") {
                address = Some(at.trim().to_owned());
            }
            awaited.retain(|awaited| !line.contains(awaited));
        }
        std::thread::spawn(move || said.for_each(drop));
        Ok(Self { child, address: address.ok_or("it did not serve HTTP")? })
    }

    /// The most memory that the process has held, in MiB.
    fn peak_mib(&self) -> Anything<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no VmHWM")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no VmHWM")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection to the service, which is used again and again.
struct Connection {
    stream: BufReader<TcpStream>,
    address: String,
}

impl Connection {
    fn open(address: &str) -> Anything<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), address: address.to_owned() })
    }

    fn post(&mut self, path: &str, body: &str) -> Anything<u16> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.stream.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
        Ok(self.answer()?.0)
    }

    fn get(&mut self, path: &str) -> Anything<(u16, String)> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> Anything<(u16, String)> {
        let (mut status, mut length, mut line) = (0, 0, String::new());
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the server has gone".into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest[..3].parse()?;
            }
            if let Some(rest) = line.strip_prefix("content-length: ") {
                length = rest.parse()?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body)?))
    }
}

fn employees(first: u64, count: u64, department: u64) -> String {
    let rows: Vec<String> = (first..first + count)
        .map(|id| {
            format!(
                "{{\"id\":{id},\"name\":\"Employee {id}\",\"datetime\":\"2021-{:02}-03T04:05:06Z\",\"department_id\":{department},\"job_id\":1}}",
                id % 12 + 1
            )
        })
        .collect();
    format!("{{\"rows\":[{}]}}", rows.join(","))
}

const PATH: &str = "/v1/datasets/hired_employees/rows";

fn parents(address: &str) -> Anything<()> {
    let mut connection = Connection::open(address)?;
    for first in (1..=DEPARTMENTS).step_by(1000) {
        let rows: Vec<String> =
            (first..first + 1000).map(|id| format!("{{\"id\":{id},\"department\":\"D{id}\"}}")).collect();
        let body = format!("{{\"rows\":[{}]}}", rows.join(","));
        connection.post("/v1/datasets/departments/rows?wait=true", &body)?;
    }
    connection.post("/v1/datasets/jobs/rows?wait=true", "{\"rows\":[{\"id\":1,\"job\":\"J\"}]}")?;
    Ok(())
}

fn rows(bench: &Bench) -> Anything<()> {
    println!("| load | rows/s | answer median ms | answer p99 ms | visible median ms | visible p99 ms |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for (what, rows) in [("singly, 64 connections", 1), ("by 1000, 64 connections", 1000)] {
        let served = Served::start(bench, &format!("rows{rows}"))?;
        parents(&served.address)?;
        let (rate, answers) = as_fast_as_it_goes(&served, rows)?;
        println!(
            "| {what} | {rate:.0} | {} | {} | | |",
            percentile(&answers, 50.0),
            percentile(&answers, 99.0)
        );
    }
    let served = Served::start(bench, "paced")?;
    parents(&served.address)?;
    let (answers, visible) = paced(bench, &served)?;
    let rate = PACED_REQUESTS * PACED_ROWS;
    println!(
        "| {rate} rows/s in batches of {PACED_ROWS} | {rate} | {} | {} | {} | {} |",
        percentile(&answers, 50.0),
        percentile(&answers, 99.0),
        percentile(&visible, 50.0),
        percentile(&visible, 99.0)
    );
    let soon = visible.iter().filter(|ms| **ms <= 100.0).count() as f64 / visible.len() as f64;
    println!("\nvisible within 100 ms: {:.2} % of {} requests", soon * 100.0, visible.len());
    if soon < 0.99 { Err("99 % are to be visible within 100 ms".into()) } else { Ok(()) }
}

/// Rows of `rows` a request until they are in the table. Gives rows/s, and how long answers took, in ms.
fn as_fast_as_it_goes(served: &Served, rows: u64) -> Anything<(f64, Vec<f64>)> {
    let (next, answers) = (AtomicU64::new(1), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(&served.address).expect("the server listens");
                let mut own = Vec::new();
                while begun.elapsed() < FOR {
                    let id = next.fetch_add(rows, Ordering::Relaxed);
                    let body = employees(id, rows, id % DEPARTMENTS + 1);
                    let sent = Instant::now();
                    // 503 says that more is in flight than fits: the same again.
                    while connection.post(PATH, &body).expect("the server answers") != 202 {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    own.push(sent.elapsed().as_secs_f64() * 1000.0);
                }
                answers.lock().expect("nobody panics").extend(own);
            });
        }
    });
    // All of it is to be in: the last row is sent behind the others.
    let mut connection = Connection::open(&served.address)?;
    let last = employees(1_000_000_000, 1, 1);
    connection.post(&format!("{PATH}?wait=true&timeout_seconds=60"), &last)?;
    let seconds = begun.elapsed().as_secs_f64();
    let answers = answers.into_inner()?;
    Ok((answers.len() as f64 * rows as f64 / seconds, answers))
}

/// So many requests a second. Gives how long answers took, and how long it took until the view had them, in ms.
fn paced(bench: &Bench, served: &Served) -> Anything<(Vec<f64>, Vec<f64>)> {
    let begun = Instant::now();
    let sent: Arc<Mutex<HashMap<i32, Instant>>> = Arc::default();
    let done = Arc::new(AtomicBool::new(false));
    let url = bench.server.database_url("paced");
    let watching = bench.runtime.spawn(watch(url, sent.clone(), done.clone()));
    let (next, answers) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = Connection::open(&served.address).expect("the server listens");
                loop {
                    let request = next.fetch_add(1, Ordering::Relaxed);
                    let due = Duration::from_secs_f64(request as f64 / PACED_REQUESTS as f64);
                    if due > FOR || request >= DEPARTMENTS {
                        break;
                    }
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                    let department = request + 1;
                    let body = employees(request * PACED_ROWS + 1, PACED_ROWS, department);
                    // From when it was due: who comes too late to send it makes it no faster.
                    let at = begun + due;
                    sent.lock().expect("nobody panics").insert(department as i32, at);
                    connection.post(PATH, &body).expect("the server answers");
                    answers.lock().expect("nobody panics").push(at.elapsed().as_secs_f64() * 1000.0);
                }
            });
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    done.store(true, Ordering::Relaxed);
    let visible = bench.runtime.block_on(watching)??;
    Ok((answers.into_inner()?, visible))
}

type Sent = Arc<Mutex<HashMap<i32, Instant>>>;

/// Asks the view for departments that it did not have before, until nobody sends any more.
async fn watch(url: String, sent: Sent, done: Arc<AtomicBool>) -> Result<Vec<f64>, String> {
    let failed = |error: tokio_postgres::Error| format!("{error:?}");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map_err(failed)?;
    tokio::spawn(connection);
    let sql = "select id from hires_by_department where id > $1 and id <= $2";
    let statement = client.prepare(sql).await.map_err(failed)?;
    let mut visible = Vec::new();
    let (mut from, mut seen) = (0, std::collections::BTreeSet::new());
    while !done.load(Ordering::Relaxed) {
        let rows = client.query(&statement, &[&from, &(from + 500)]).await.map_err(failed)?;
        let now = Instant::now();
        for id in rows.iter().map(|row| row.get::<_, i32>(0)) {
            if seen.insert(id) {
                let at = sent.lock().map_err(|error| error.to_string())?.remove(&id);
                visible.extend(at.map(|at| (now - at).as_secs_f64() * 1000.0));
            }
        }
        while seen.remove(&(from + 1)) {
            from += 1;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let missing = sent.lock().map_err(|error| error.to_string())?.len();
    if missing > 0 {
        return Err(format!("{missing} requests never became visible"));
    }
    Ok(visible)
}

/// A file of so many MiB in one request.
fn upload(bench: &Bench, mib: u64) -> Anything<()> {
    const LINE: u64 = 64;
    let served = Served::start(bench, "upload")?;
    parents(&served.address)?;
    let lines = mib * 1024 * 1024 / LINE;
    let length = lines * LINE;
    let (uploaded, slow) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (address, begun) = (&served.address, Instant::now());
    let source = std::thread::scope(|scope| -> Anything<u64> {
        let _asking = StopAsking(&uploaded);
        scope.spawn(|| {
            let mut connection = Connection::open(address).expect("the server listens");
            while !uploaded.load(Ordering::Relaxed) {
                let at = Instant::now();
                connection.get("/healthz").expect("the server answers");
                slow.lock().expect("nobody panics").push(at.elapsed().as_secs_f64() * 1000.0);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut connection = Connection::open(address)?;
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\nidempotency-key: large\r\ncontent-length: {length}\r\n\r\n"
        );
        connection.stream.get_mut().write_all(head.as_bytes())?;
        let mut block = Vec::new();
        for id in 1..=lines {
            let start = block.len();
            write!(block, "{id},Employee {id},2021-02-03T04:05:06Z,1,1")?;
            let written = (block.len() - start) as u64;
            // Every line is as long as the others.
            let name_end = block.len() - ",2021-02-03T04:05:06Z,1,1".len();
            let fill = (LINE - 1).checked_sub(written).ok_or("a line is too long")? as usize;
            block.splice(name_end..name_end, std::iter::repeat_n(b'x', fill));
            block.push(b'\n');
            if block.len() > 1 << 20 {
                connection.stream.get_mut().write_all(&block)?;
                block.clear();
            }
        }
        connection.stream.get_mut().write_all(&block)?;
        let (status, body) = connection.answer()?;
        println!("{mib} MiB, {lines} lines: answered {status} after {:.1} s", begun.elapsed().as_secs_f64());
        let receipt: serde_json::Value = serde_json::from_str(&body)?;
        let source = receipt["source"].as_u64().ok_or("no source")?;
        let mut asking = Connection::open(address)?;
        loop {
            let (_, body) = asking.get(&format!("/v1/receipts/{source}"))?;
            let receipt: serde_json::Value = serde_json::from_str(&body)?;
            if receipt["complete"] == true {
                println!("{receipt}");
                break;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(source)
    })?;
    let slow = slow.into_inner()?;
    let (peak_mib, p99) = (served.peak_mib()?, percentile(&slow, 99.0));
    println!(
        "source {source} complete after {:.1} s; peak memory {:.0} MiB; /healthz, asked {} times: median {} ms, p99 {} ms",
        begun.elapsed().as_secs_f64(),
        peak_mib,
        slow.len(),
        percentile(&slow, 50.0),
        p99
    );
    match peak_mib <= 256.0 && p99.parse::<f64>()? <= 50.0 {
        true => Ok(()),
        false => Err("256 MiB and 50 ms are the limits".into()),
    }
}

/// Ends the questions, however the upload ends.
struct StopAsking<'a>(&'a AtomicBool);

impl Drop for StopAsking<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn percentile(values: &[f64], percent: f64) -> String {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * percent / 100.0) as usize).min(values.len().saturating_sub(1));
    values.get(at).map_or_else(String::new, |value| format!("{value:.1}"))
}
