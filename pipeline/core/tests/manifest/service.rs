//! Where HTTP is served, and how often backups are made.

use std::time::Duration;

use tidegate_core::manifest::{BackupSchedule, Codec, Http, HttpTls};

use super::faults::assert_faults;
use super::valid;

/// What HTTP cannot listen on.
pub(super) const NO_LISTEN: [&str; 9] = [
    "8088",
    ":8088",
    "localhost",
    "localhost:http",
    "localhost:65536",
    "http://localhost:8088",
    "::1:8088",
    "[localhost]:8088",
    "*:8088",
];

/// A manifest with these lines at its end, from line 3.
fn with(lines: &str) -> String {
    format!("pipeline: p\ndatasets: {{a: {{key: id, columns: {{id: integer}}}}}}\n{lines}\n")
}

/// What a manifest says of HTTP.
pub(super) fn http(settings: &str) -> Http {
    valid(&with(&format!("http: {settings}"))).http.expect("HTTP is served")
}

#[test]
fn what_is_left_out_of_http_has_the_documented_default() {
    let expected = Http {
        listen: "127.0.0.1:8088".to_owned(),
        tls: None,
        max_body_bytes: 8 << 20,
        max_upload_bytes: 64 << 30,
        max_connections: 1024,
    };
    assert_eq!(http("127.0.0.1:8088"), expected);
    assert_eq!(http("{listen: 127.0.0.1:8088}"), expected);
}

#[test]
fn what_is_said_of_http_is_what_it_means() {
    let tls = HttpTls { cert: "tls/cert.pem".into(), key: "/key.pem".into() };
    let found = http(
        "{listen: 'tide.example.org:0', tls: {cert: tls/cert.pem, key: /key.pem}, max_body_bytes: 1KiB, \
         max_upload_bytes: 2048GiB, max_connections: 65536}",
    );
    let expected = Http {
        listen: "tide.example.org:0".to_owned(),
        tls: Some(tls),
        max_body_bytes: 1024,
        max_upload_bytes: 2 << 40,
        max_connections: 65_536,
    };
    assert_eq!(found, expected);
}

#[test]
fn what_http_cannot_listen_on_is_a_fault() {
    for listen in NO_LISTEN {
        let fault = format!(
            "3:7: HTTP cannot listen on \"{listen}\"; write host and port: \"127.0.0.1:8088\" for this machine alone, \"0.0.0.0:8088\" for others too"
        );
        assert_faults(&with(&format!("http: \"{listen}\"")), &[&fault]);
    }
}

#[test]
fn settings_of_http_are_checked() {
    assert_faults(
        &with(
            "http:\n  lisen: a:1\n  tls: {cert: ''}\n  max_body_bytes: 2GiB\n  max_upload_bytes: 1\n  max_connections: 0",
        ),
        &[
            "3:1: \"listen\" is missing; write host and port: \"127.0.0.1:8088\" for this machine alone, \"0.0.0.0:8088\" for others too",
            "4:3: unknown key \"lisen\"; did you mean \"listen\"?",
            "5:3: \"key\" is missing; name the PEM files of the certificate and of its private key, both",
            "5:15: cert must be a path; name the PEM files of the certificate and of its private key, both",
            "6:19: max_body_bytes must be a size from 1KiB to 64MiB, not \"2GiB\"; write a number of bytes, or one with KiB, MiB or GiB",
            "7:21: max_upload_bytes must be a size of at least 1KiB, not \"1\"; write a number of bytes, or one with KiB, MiB or GiB",
            "8:20: max_connections must be a number from 1 to 65536, not \"0\"; write a whole number",
        ],
    );
    assert_faults(
        &with("http: [a:1]"),
        &[
            "3:7: expected a mapping of http settings, found a list; write \"name: value\", a line each, indented",
        ],
    );
}

#[test]
fn what_is_said_of_backups_is_what_it_means() {
    let backup = |settings: &str| valid(&with(&format!("backup: {{{settings}}}"))).backup;
    let expected = BackupSchedule {
        every: Duration::from_secs(180),
        keep: 20,
        to: "backups".into(),
        codec: Codec::Deflate,
    };
    assert_eq!(backup("every: 3m"), Some(expected));
    for codec in Codec::ALL {
        let expected =
            BackupSchedule { every: Duration::from_secs(1), keep: 100_000, to: "/b".into(), codec };
        assert_eq!(backup(&format!("every: 1s, keep: 100000, to: /b, codec: {codec}")), Some(expected));
    }
}

#[test]
fn settings_of_backups_are_checked() {
    assert_faults(
        &with("backup: {every: 500ms, keep: 0, to: '', codec: zstd}"),
        &[
            "3:17: every must be a duration, not \"500ms\"; write a number with its unit, like 500ms or 2s, at least 1 s and at most 315360000 s",
            "3:30: keep must be a number from 1 to 100000, not \"0\"; write a whole number",
            "3:37: to must be a path; write one relative to the manifest",
            "3:48: \"zstd\" is no codec; known are deflate, snappy, zstandard",
        ],
    );
    assert_faults(
        &with("backup: {keep: 100001, ever: 1h}"),
        &[
            "3:1: \"every\" is missing; say how often: \"backup: {every: 1h}\"",
            "3:16: keep must be a number from 1 to 100000, not \"100001\"; write a whole number",
            "3:24: unknown key \"ever\"; did you mean \"every\"?",
        ],
    );
}
