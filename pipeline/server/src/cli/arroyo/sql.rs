//! The job, as SQL: from each raw topic to its accepted topic and to `dead-letters`.
//!
//! Arroyo reads all partitions of a topic by itself. Its connector passes on values only and writes no keys. Nothing is
//! lost by that, because positions are in the values.

use tidegate_core::manifest::{Dataset, Manifest};
use tidegate_udf::source::Function;

use crate::Failure;

/// The beginning of the SQL of every job of Tidegate.
pub(super) const MARK: &str = "-- The transform of the Tidegate pipeline ";

/// The address at which Arroyo reaches the Fluvio cluster: `given`, or else the manifest's.
pub(super) fn endpoint<'a>(manifest: &'a Manifest, given: Option<&'a str>) -> Result<&'a str, Failure> {
    if given.is_some_and(|given| given.trim().is_empty()) {
        return Err(Failure::usage("--endpoint is empty; write host:port"));
    }
    let advice = "give it with --endpoint host:port";
    match (given, &manifest.fluvio) {
        (Some(given), _) => Ok(given),
        (None, None) => Err(Failure::usage(format!(
            "the manifest names no Fluvio cluster, and Arroyo reads no embedded topics; set \
             'topics: {{fluvio: {{endpoint: ...}}}}', or {advice}"
        ))),
        (None, Some(fluvio)) if fluvio.tls.is_some() => Err(Failure::usage(format!(
            "Arroyo's connector cannot encrypt, and the manifest's Fluvio cluster asks for it; if there is an \
             address that does not, {advice}"
        ))),
        (None, Some(fluvio)) => fluvio.endpoint.as_deref().ok_or_else(|| {
            Failure::usage(format!(
                "the manifest names a profile of the Fluvio client, which Arroyo does not have; {advice}"
            ))
        }),
    }
}

/// The whole job.
pub(super) fn job(manifest: &Manifest, endpoint: &str) -> String {
    let mut sql = format!(
        "\
{MARK}{pipeline}, for Arroyo. Of each record exactly one of a dataset's two
-- functions gives a value, and neither does of a record that is not Tidegate's. References are not
-- decided here: the sink decides them.
",
        pipeline = manifest.pipeline
    );
    for dataset in &manifest.datasets {
        let name = &dataset.name;
        source(&mut sql, &format!("raw_{name}"), endpoint, &manifest.raw_topic(dataset));
        sink(&mut sql, &format!("accepted_{name}"), endpoint, &manifest.accepted_topic(dataset));
    }
    sink(&mut sql, "dead_letters", endpoint, &manifest.dead_letters_topic());
    for dataset in &manifest.datasets {
        transform(&mut sql, dataset);
    }
    sql
}

/// The table of a raw topic. The earliest offset matters to a new job only, because a job that resumes has its own
/// offsets.
fn source(sql: &mut String, table: &str, endpoint: &str, topic: &str) {
    sql.push_str(&format!(
        "
create table {table} (value text not null) with (
    connector = 'fluvio',
    endpoint = {endpoint},
    topic = {topic},
    type = 'source',
    'source.offset' = 'earliest',
    format = 'raw_string'
);
",
        endpoint = literal(endpoint),
        topic = literal(topic),
    ));
}

fn sink(sql: &mut String, table: &str, endpoint: &str, topic: &str) {
    sql.push_str(&format!(
        "
create table {table} (value text) with (
    connector = 'fluvio',
    endpoint = {endpoint},
    topic = {topic},
    type = 'sink',
    format = 'raw_string'
);
",
        endpoint = literal(endpoint),
        topic = literal(topic),
    ));
}

/// The transform of a dataset. Its view keeps a function from being called twice, once to filter and once for its
/// value.
fn transform(sql: &mut String, dataset: &Dataset) {
    let [accept, reject] = Function::ALL.map(|function| function.of(dataset));
    let name = &dataset.name;
    sql.push_str(&format!(
        "
create view checked_{name} as
select {accept}(value) as accepted, {reject}(value) as rejected from raw_{name};

insert into accepted_{name} select accepted as value from checked_{name} where accepted is not null;

insert into dead_letters select rejected as value from checked_{name} where rejected is not null;
"
    ));
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_core::manifest::{Compression, Engine, FluvioOptions, Tls};

    use super::*;

    fn manifest(fluvio: Option<FluvioOptions>) -> Manifest {
        let text = include_str!("../../../../../examples/company/tidegate.yaml");
        Manifest { fluvio, ..Manifest::parse(text, &|_| None).unwrap() }
    }

    fn fluvio() -> FluvioOptions {
        FluvioOptions {
            endpoint: Some("sc:9003".to_owned()),
            profile: None,
            tls: None,
            partitions: 4,
            replication: 1,
            compression: Compression::None,
            retention: Duration::from_secs(1),
            transform: Engine::Arroyo,
        }
    }

    #[test]
    fn the_endpoint_is_the_manifest_s_unless_another_is_given() {
        assert_eq!(endpoint(&manifest(Some(fluvio())), None).unwrap(), "sc:9003");
        assert_eq!(endpoint(&manifest(Some(fluvio())), Some("other:1")).unwrap(), "other:1");
        assert_eq!(endpoint(&manifest(None), Some("other:1")).unwrap(), "other:1");
        assert!(endpoint(&manifest(Some(fluvio())), Some(" ")).is_err());
    }

    #[test]
    fn an_endpoint_that_arroyo_cannot_use_is_refused_with_advice() {
        let profile = FluvioOptions { endpoint: None, profile: Some("prod".to_owned()), ..fluvio() };
        let path = || "x.pem".into();
        let tls = Tls { domain: "sc".to_owned(), ca: path(), cert: path(), key: path() };
        let encrypted = FluvioOptions { tls: Some(tls), ..fluvio() };
        for (fluvio, what) in
            [(None, "no Fluvio"), (Some(profile), "a profile"), (Some(encrypted), "cannot encrypt")]
        {
            let manifest = manifest(fluvio);
            let failure = endpoint(&manifest, None).unwrap_err();
            assert_eq!(failure.code, 2);
            assert!(
                failure.message.contains(what) && failure.message.contains("--endpoint"),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn a_text_cannot_leave_its_quotes() {
        assert_eq!(literal("a'b"), "'a''b'");
    }
}
