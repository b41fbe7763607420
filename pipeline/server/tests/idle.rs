//! A pipeline that has nothing to do.

use std::time::Duration;

use crate::company;
use crate::home::Home;
use crate::http::{self, Service};
use crate::server::OwnServer;

/// Measured over so long, after a pause: a session of Postgres counts what it has done up to 10 s later, when it rests.
const MEASURED: Duration = Duration::from_secs(30);
const COUNTED_WITHIN: Duration = Duration::from_secs(45);

#[tokio::test]
async fn an_idle_pipeline_makes_at_most_one_transaction_a_second() {
    // Workers of autovacuum would count too.
    let server = OwnServer::start_with(&[("autovacuum", "off")]).await;
    let home = company::furnished(Home::embedded_on(server.url(), &http::manifest_with("")));
    let service = Service::start(&home).await;
    let transactions = async || {
        let sql =
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()";
        home.count(sql).await
    };
    tokio::time::sleep(COUNTED_WITHIN).await;
    let before = transactions().await;
    tokio::time::sleep(MEASURED).await;
    let made = transactions().await - before;
    assert!(made <= MEASURED.as_secs() + 1, "{made} transactions in {} s", MEASURED.as_secs()); // one is ours
    service.stop().await;
}
