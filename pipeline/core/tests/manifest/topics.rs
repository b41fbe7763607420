//! Where the topics are.

use std::time::Duration;

use tidegate_core::manifest::{Compression, Engine, FluvioOptions, Tls};

use super::faults::assert_faults;
use super::valid;

/// A manifest whose `topics` are these.
fn with_topics(topics: &str) -> String {
    format!("pipeline: p\ndatasets: {{a: {{key: id, columns: {{id: integer}}}}}}\ntopics: {topics}\n")
}

/// What a manifest says of Fluvio, where `settings` are all it says.
fn fluvio(settings: &str) -> FluvioOptions {
    valid(&with_topics(&format!("{{fluvio: {{{settings}}}}}"))).fluvio.expect("a cluster is named")
}

#[test]
fn topics_are_embedded_unless_a_cluster_is_named() {
    let manifest = valid(&with_topics("embedded"));
    assert_eq!((&manifest.fluvio, manifest.partitions()), (&None, 1));
}

#[test]
fn what_is_left_out_of_fluvio_has_the_documented_default() {
    let expected = FluvioOptions {
        endpoint: None,
        profile: None,
        tls: None,
        partitions: 1,
        replication: 1,
        compression: Compression::None,
        retention: Duration::from_secs(7 * 24 * 3600),
        transform: Engine::Tidegate,
    };
    assert_eq!(fluvio(""), expected);
    let local = FluvioOptions { profile: Some("local".to_owned()), ..expected };
    assert_eq!(fluvio("profile: local"), local);
}

#[test]
fn what_is_said_of_fluvio_is_what_it_means() {
    let found = fluvio(
        "endpoint: 'sc:9003', tls: {domain: d, ca: c/ca.pem, cert: /cert.pem, key: key.pem}, \
         partitions: 1024, replication: 3, compression: zstd, retention: 36h",
    );
    let tls = Tls {
        domain: "d".to_owned(),
        ca: "c/ca.pem".into(),
        cert: "/cert.pem".into(),
        key: "key.pem".into(),
    };
    assert_eq!((found.endpoint.as_deref(), &found.profile, found.tls), (Some("sc:9003"), &None, Some(tls)));
    assert_eq!((found.partitions, found.replication, found.compression), (1024, 3, Compression::Zstd));
    assert_eq!(found.retention, Duration::from_secs(36 * 3600));
    for engine in Engine::ALL {
        assert_eq!(fluvio(&format!("transform: {}", engine.as_str())).transform, engine);
    }
    for compression in Compression::ALL {
        assert_eq!(fluvio(&format!("compression: {compression}")).compression, compression);
    }
    let text = with_topics("{fluvio: {partitions: 4}}");
    assert_eq!(valid(&text).partitions(), 4);
}

#[test]
fn topics_that_are_neither_are_faults() {
    for (topics, fault) in [
        ("kafka", "3:9: topics cannot be \"kafka\"; write \"embedded\", or \"fluvio\" with its settings"),
        ("fluvio", "3:9: topics cannot be \"fluvio\"; write \"topics: {fluvio: {endpoint: \"host:port\"}}\""),
        (
            "[fluvio]",
            "3:9: expected a mapping of kinds of topics, found a list; write \"name: value\", a line each, indented",
        ),
        (
            "{}",
            "3:9: \"fluvio\" is missing; write \"fluvio: {endpoint: \"host:port\"}\", or \"topics: embedded\"",
        ),
    ] {
        assert_faults(&with_topics(topics), &[fault]);
    }
    assert_faults(
        &with_topics("{fluvia: {}}"),
        &[
            "3:9: \"fluvio\" is missing; write \"fluvio: {endpoint: \"host:port\"}\", or \"topics: embedded\"",
            "3:10: unknown key \"fluvia\"; did you mean \"fluvio\"?",
        ],
    );
}

#[test]
fn settings_of_fluvio_are_checked() {
    assert_faults(
        &with_topics(
            "\n  fluvio:\n    endpont: x\n    partitions: 0\n    replication: 33\n    compression: lz5\n    retention: 9s\n    tls: {domain: d, ca: ''}\n    profile: ''\n",
        ),
        &[
            "5:5: unknown key \"endpont\"; did you mean \"endpoint\"?",
            "6:17: partitions must be a number from 1 to 1024, not \"0\"; write a whole number",
            "7:18: replication must be a number from 1 to 32, not \"33\"; write a whole number",
            "8:18: \"lz5\" is no compression; did you mean \"lz4\"?",
            "9:16: retention must be a duration, not \"9s\"; write a number with its unit, like 500ms or 2s, at least 10 s and at most 315360000 s",
            "10:5: tls is for an endpoint, and there is none; name the endpoint as well; a profile says itself how to encrypt",
            "10:10: \"cert\" is missing; give all of domain, ca, cert and key",
            "10:10: \"key\" is missing; give all of domain, ca, cert and key",
            "10:26: ca must not be empty; give all of domain, ca, cert and key",
            "11:14: profile must be the name of a profile; name one that \"fluvio profile list\" shows, or remove the key",
        ],
    );
    for endpoint in ["localhost", ":9003", "'localhost:'", "'localhost:0'", "http://localhost:9003"] {
        let shown = endpoint.trim_matches('\'');
        let fault = format!(
            "3:29: \"{shown}\" is no endpoint; write the host and port of the cluster's controller, like \"127.0.0.1:9003\""
        );
        assert_faults(&with_topics(&format!("{{fluvio: {{endpoint: {endpoint}}}}}")), &[&fault]);
    }
}

#[test]
fn a_cluster_is_named_once() {
    assert_faults(
        &with_topics("{fluvio: {endpoint: 'a:1', profile: b}}"),
        &["3:36: endpoint and profile both name a cluster; remove one of them"],
    );
}

#[test]
fn records_fit_what_a_cluster_takes() {
    assert_faults(
        &format!("{}max_record_bytes: 5MiB\n", with_topics("{fluvio: {}}")),
        &[
            "4:19: max_record_bytes must be at most 4MiB where topics are Fluvio's; lower it, or write \"topics: embedded\"",
        ],
    );
    valid(&format!("{}max_record_bytes: 4MiB\n", with_topics("{fluvio: {}}")));
}
