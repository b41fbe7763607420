//! Another implementation: `fastavro` reads what we write, with equal rows, and what it writes is restored.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{assert_sound, back_up, ingested, path_of, rows, run};
use crate::company;
use crate::home::{Home, skipped};

/// Runs a script with `fastavro`, if this machine has it; says loudly if it has not.
fn python(test: &str, script: &str, arguments: &[&Path]) -> Option<String> {
    let python = std::env::var("TIDEGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python).args(["-c", "import fastavro, cramjam, backports.zstd"]).output();
    if !has_it.is_ok_and(|output| output.status.success()) {
        let what = "has no fastavro with cramjam and backports.zstd; .ci/run installs them, or set TIDEGATE_TEST_PYTHON";
        skipped(test, &format!("'{python}' {what}"));
        return None;
    }
    let output = Command::new(&python).arg("-c").arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

const READ: &str = r#"
import sys, json, datetime, decimal, uuid, fastavro
def plain(value):
    if isinstance(value, datetime.datetime):
        shown = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
        return shown + ("+00" if value.tzinfo else "")
    if isinstance(value, (datetime.date, datetime.time, decimal.Decimal, uuid.UUID)):
        return str(value)
    return value
with open(sys.argv[1], "rb") as file:
    for row in fastavro.reader(file):
        print(json.dumps({name: plain(value) for name, value in row.items()}, sort_keys=True))
"#;

const TYPES: &str = "
pipeline: others
datasets:
  things:
    key: id
    columns:
      id: bigint
      small: {type: smallint, optional: true}
      exact: {type: 'numeric(10,3)', optional: true}
      twice: {type: double, optional: true}
      yes: {type: boolean, optional: true}
      words: {type: text, optional: true}
      day: {type: date, optional: true}
      clock: {type: time, optional: true}
      local: {type: timestamp, optional: true}
      moment: {type: timestamptz, optional: true}
      known: {type: uuid, optional: true}
      document: {type: jsonb, optional: true}
      'in Größe': {type: integer, optional: true}
";

#[tokio::test]
async fn fastavro_reads_equal_rows() {
    let home = Home::embedded(TYPES).await;
    home.drop(
        "things.csv",
        "1,-32768,1234567.891,0.1,t,\"a \"\"b\"\"\nc\",1969-12-31,23:59:59.999999,2021-07-27T16:02:08.5,0001-01-01T00:00:00Z,\
         00000000-0000-0000-0000-000000000001,\"{\"\"a\"\": [1, null]}\",7\n\
         2,,,,,,,,,,,,\n\
         -9223372036854775808,32767,-0.001,-1e300,f,日本,9999-12-31,00:00:00,9999-12-31T23:59:59.999999,2021-07-27T16:02:08.000001Z,,\"1\",-1\n",
    );
    home.ingest().await;
    // As the script shows them.
    let expected = home
        .query(
            "select jsonb_build_object('id', id, 'small', small, 'exact', exact::text, 'twice', twice, 'yes', yes, \
             'words', words, 'day', day::text, 'clock', clock::text, \
             'local', to_char(local, 'YYYY-MM-DD HH24:MI:SS.US'), \
             'moment', to_char(moment at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00', \
             'known', known, 'document', document::text, 'in_Gr__e', \"in Größe\", '_source', _source, '_line', _line) \
             from things order by id",
        )
        .await;
    let expected: Vec<Value> = expected.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    for codec in ["deflate", "snappy", "zstandard"] {
        let path = path_of(&home, &back_up(&home, &format!("--codec {codec}")).await);
        let Some(read) = python("fastavro_reads_equal_rows", READ, &[&path.join("things.avro")]) else {
            return;
        };
        let mut read: Vec<Value> = read.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
        read.sort_by_key(|row| row["id"].as_i64());
        assert_eq!(read, expected, "{codec}");
    }
}

const WRITE: &str = r#"
import sys, datetime, fastavro
folder = sys.argv[1]
utc = datetime.timezone.utc
def write(name, codec, schema, rows):
    with open(f"{folder}/{name}", "wb") as file:
        fastavro.writer(file, fastavro.parse_schema(schema), rows, codec=codec, sync_interval=300)
write("departments.avro", "null", {"type": "record", "name": "Department", "fields": [
    {"name": "department", "type": ["null", "string"]},
    {"name": "id", "type": "long"},
]}, [{"id": i, "department": f"Department {i}"} for i in range(1, 101)])
write("positions.avro", "snappy", {"type": "record", "name": "jobs", "namespace": "org.example", "fields": [
    {"name": "title", "aliases": ["job"], "type": "string"},
    {"name": "id", "type": "int", "default": 0},
]}, [{"id": i, "title": f"Job \"{i}\", \n"} for i in range(1, 101)])
employee = {"type": "record", "name": "hired_employees", "fields": [
    {"name": "id", "type": ["null", "int"], "default": None},
    {"name": "job_id", "type": "long"},
    {"name": "department_id", "type": ["int", "null"]},
    {"name": "datetime", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "name", "type": "string"},
]}
hired = datetime.datetime(2021, 7, 27, 16, 2, 8, 123000, tzinfo=utc)
rows = [{"id": i, "job_id": i % 100 + 1, "department_id": i % 100 + 1, "datetime": hired, "name": f"Name {i}"} for i in range(1, 2001)]
rows[0]["department_id"] = None
rows[1]["department_id"] = 7777
for codec in ["deflate", "zstandard"]:
    write(f"hired-{codec}.avro", codec, employee, rows)
write("wrong.avro", "deflate", {"type": "record", "name": "jobs", "fields": [
    {"name": "id", "type": "string"}, {"name": "titel", "type": "string"}]}, [])
"#;

#[tokio::test]
async fn what_fastavro_writes_is_restored() {
    let home = company::embedded(company::MANIFEST).await;
    let folder = home.path("given");
    std::fs::create_dir(&folder).unwrap();
    if python("what_fastavro_writes_is_restored", WRITE, &[&folder]).is_none() {
        return;
    }
    run(&home, &["restore", "given/departments.avro"]).await.succeeded();
    run(&home, &["restore", "given/positions.avro"]).await.succeeded();
    assert_eq!(home.query("select department from departments where id = 7").await, ["Department 7"]);
    assert_eq!(home.query("select job from jobs where id = 7").await, ["Job \"7\", \n"]);
    for codec in ["deflate", "zstandard"] {
        let file = format!("given/hired-{codec}.avro");
        let restored = run(&home, &["restore", &file, "--format", "json"]).await.succeeded().rows();
        let counts =
            ["rows", "accepted", "rejected", "waiting"].map(|name| restored[0][name].as_u64().unwrap());
        assert_eq!(counts, [2000, 1998, 1, 1], "{codec}");
    }
    let row = "select name, datetime, job_id, department_id, _source from hired_employees where id = 42";
    assert_eq!(home.query(row).await, ["Name 42|2021-07-27 16:02:08.123+00|43|43|4"]);
    let said = run(&home, &["restore", "given/wrong.avro"]).await.failed_with(1).stderr;
    for difference in
        ["'id' is integer, its field is of type string", "'job' is missing", "'titel' is no column"]
    {
        assert!(said.contains(difference), "{difference} is not in: {said}");
    }
    assert_sound(&home).await;
}

#[tokio::test]
async fn the_challenge_by_way_of_fastavro() {
    // Each table is backed up, read and written again by the other, and restored from that.
    let home = ingested().await;
    let before = rows(&home).await;
    let path = path_of(&home, &back_up(&home, "").await);
    let copy = home.path("copied");
    std::fs::create_dir(&copy).unwrap();
    let script = r#"
import sys, fastavro
for table in ["departments", "jobs", "hired_employees"]:
    with open(f"{sys.argv[1]}/{table}.avro", "rb") as file:
        reader = fastavro.reader(file)
        rows, schema = list(reader), reader.writer_schema
    with open(f"{sys.argv[2]}/{table}.avro", "wb") as file:
        fastavro.writer(file, schema, rows, codec="zstandard")
"#;
    if python("the_challenge_by_way_of_fastavro", script, &[&path, &copy]).is_none() {
        return;
    }
    home.query("delete from hired_employees; delete from jobs; delete from departments").await;
    for table in company::TABLES {
        run(&home, &["restore", &format!("copied/{table}.avro")]).await.succeeded();
    }
    assert_eq!(rows(&home).await, before);
    assert_sound(&home).await;
}
