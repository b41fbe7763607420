//! The description of the API against the server: schemathesis asks for what it describes, and for what it does not.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use super::Service;
use crate::company;
use crate::home::skipped;

const TOOL: &str = "schemathesis";
/// How many requests of each kind, for each operation.
const EXAMPLES_MAX: &str = "25";
const WITHIN: Duration = Duration::from_secs(300);

/// The tool, as `.ci/run` installs it or as it is on the path. If there is none, says that the test is skipped.
fn tool(test: &str) -> Option<PathBuf> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ci-tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from(installed)]);
    let found = folders.map(|folder| folder.join(TOOL)).find(|tool| tool.is_file());
    if found.is_none() {
        skipped(test, &format!("there is no {TOOL}; '.ci/run' installs what .ci/requirements.txt names"));
    }
    found
}

#[tokio::test]
async fn the_server_does_what_its_description_says_and_nothing_else() {
    let Some(tool) = tool("the_server_does_what_its_description_says_and_nothing_else") else { return };
    let home = super::company().await;
    company::drop_example(&home);
    home.ingest().await;
    let token = home.run("token create tester --role operate").await.succeeded().stdout;
    let service = Service::start(&home).await.with_token(Some(token.trim()));
    let mut command = Command::new(tool);
    command
        .args(["--config-file", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/schemathesis.toml")])
        .arg("run")
        .arg(format!("{}/openapi.json", service.address))
        .args(["--checks", "all", "--mode", "all", "--max-examples", EXAMPLES_MAX])
        // The same requests each time, from one thread.
        .args(["--seed", "1", "--workers", "1", "--generation-deterministic"])
        .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
        .args(["--no-color", "--continue-on-failure"])
        .current_dir(home.path(""))
        .kill_on_drop(true);
    let ended = tokio::time::timeout(WITHIN, command.output()).await.expect("it ends in time").unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("Tested:"), "{said}");
    // Whatever was asked, each line is in one place.
    let in_flight = "select count(*) from tidegate.sources where completed_at is null";
    crate::home::until("all is accounted for", async || home.count(in_flight).await == 0).await;
    service.stop().await;
    home.run("verify").await.succeeded();
}
