//! With the registry and the sink of Postgres.

use std::collections::HashMap;
use std::fs;

use tidegate_core::contract::{Delivery, PollAnswer, Sink, Source};
use tidegate_files::Landing;
use tidegate_postgres::schema;
use tidegate_store::{Store, prepare, receipts, registry};
use tidegate_testing::postgres;
use tidegate_testing::store::{open, take_leases};

use super::{MANIFEST, age};

/// Polls until nothing is left; every other batch is lost on its way to the sink.
async fn run(landing: &mut Landing<Store>, postgres: &Store) -> usize {
    let (mut lines, mut drained, mut lose) = (0, false, true);
    loop {
        match landing.poll(drained).await.unwrap() {
            PollAnswer::Idle => return lines,
            PollAnswer::Waiting => drained = true,
            PollAnswer::SourceBatch(batch) => {
                drained = false;
                lines += batch.records.len();
                lose = !lose;
                if !lose {
                    let rows = vec![(batch.dataset, batch.records)];
                    let dead_letters = vec![batch.dead_letters];
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
    let postgres = open(&postgres::database().await, MANIFEST);
    let manifest = postgres.manifest().clone();
    schema::migrate(&postgres).await.unwrap();
    take_leases(&postgres).await;
    prepare::prepare(&postgres, &[]).await.unwrap();
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
    let fates = async |source| receipts::of_sources(&postgres, &[source]).await.unwrap()[0].fates;
    assert_eq!(fates(1).await, [1, 1, 0, 0]);
    assert_eq!(fates(2).await, [count as u64, 0, 0, 0]);
    // Where the answer was lost, it is given again.
    assert_eq!(registry::complete(&postgres, &[2, 1]).await.unwrap(), [1, 2]);

    // Dropped again, even after a restart, it is known.
    fs::write(dir.path().join("hired.csv"), &hired).unwrap();
    age(&dir.path().join("hired.csv"), 60);
    let mut landing = Landing::new(folder, manifest, postgres.clone(), HashMap::new());
    assert_eq!(run(&mut landing, &postgres).await, 0);
    assert!(!dir.path().join("hired.csv").exists());
}
