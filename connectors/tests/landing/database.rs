//! With the registry and the sink of Postgres.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

use tidegate_connectors::csv::Landing;
use tidegate_connectors::postgres::{Postgres, testing};
use tidegate_core::contract::{Delivery, Polled, Sink, Source};
use tidegate_core::manifest::Manifest;
use uuid::Uuid;

use super::{MANIFEST, age};

/// Polls until nothing is left; every other intake is lost on its way to the sink.
async fn run(landing: &mut Landing<Postgres>, postgres: &Postgres) -> usize {
    let (mut lines, mut drained, mut lose) = (0, false, true);
    loop {
        match landing.poll(drained).await.unwrap() {
            Polled::Idle => return lines,
            Polled::Waiting => drained = true,
            Polled::Intake(intake) => {
                drained = false;
                lines += intake.records.len();
                lose = !lose;
                if !lose {
                    let rows = vec![(intake.dataset, intake.records)];
                    let dead_letters = vec![intake.dead_letters];
                    let delivery = Delivery { rows, dead_letters, consumed: vec![] };
                    postgres.apply(&postgres.read(&delivery)).await.unwrap();
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn files_reach_their_tables_though_every_other_batch_is_lost() {
    let database = testing::database().await;
    let manifest = Arc::new(Manifest::parse(MANIFEST, &|_| None).unwrap());
    let postgres = Postgres::new(&database.url, manifest.clone(), Uuid::new_v4()).unwrap();
    postgres.migrate().await.unwrap();
    crate::sink::fixture::take_leases(&postgres).await;
    postgres.prepare(&[]).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let hired = super::many_lines(3);
    for (name, content) in [("jobs.csv", "1,a\n2,\0\n"), ("hired.csv", &hired)] {
        fs::write(dir.path().join(name), content).unwrap();
        age(&dir.path().join(name), 60);
    }
    let folder = dir.path().to_owned();
    let mut landing = Landing::new(folder.clone(), manifest.clone(), postgres.clone(), HashMap::new());
    let count = hired.lines().count();
    assert!(run(&mut landing, &postgres).await > count + 1);
    assert!(dir.path().join("done/1-jobs.csv").exists() && dir.path().join("done/2-hired.csv").exists());
    assert_eq!(postgres.counts(1).await.unwrap(), [1, 1, 0, 0]);
    assert_eq!(postgres.counts(2).await.unwrap(), [count as u64, 0, 0, 0]);
    // Where the answer was lost, it is given again.
    assert_eq!(postgres.complete(&[2, 1]).await.unwrap(), [1, 2]);

    // Dropped again, even after a restart, it is known.
    fs::write(dir.path().join("hired.csv"), &hired).unwrap();
    age(&dir.path().join("hired.csv"), 60);
    let mut landing = Landing::new(folder, manifest, postgres.clone(), HashMap::new());
    assert_eq!(run(&mut landing, &postgres).await, 0);
    assert!(!dir.path().join("hired.csv").exists());
}
