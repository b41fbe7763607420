//! Killed at any durable step: never half a backup, and a restore enters once.

use super::{assert_sound, back_up, ingested, killed_at, path_of, rows, run};
use crate::company;

fn backups(home: &crate::home::Home) -> Vec<String> {
    home.names_in("backups").into_iter().filter(|name| !name.starts_with('.')).collect()
}

#[tokio::test]
async fn half_a_backup_is_never_under_its_name_and_its_leftovers_go() {
    let home = ingested().await;
    for point in ["backup-file-written=abort@1", "backup-file-written=abort@3", "backup-on-disk=abort@1"] {
        let before = backups(&home);
        killed_at(&home, &["backup"], point).await;
        assert_eq!(backups(&home), before, "{point}");
        let leftovers =
            || home.names_in("backups").into_iter().filter(|name| name.ends_with(".partial")).count();
        assert_eq!(leftovers(), 1, "{point}");
        back_up(&home, "").await;
        assert_eq!(leftovers(), 0, "{point}");
    }
    // Under its name it is whole, whether anybody was told or not.
    let before = backups(&home);
    killed_at(&home, &["backup"], "backup-published=abort@1").await;
    let new: Vec<String> = backups(&home).into_iter().filter(|name| !before.contains(name)).collect();
    let path = home.path("backups").join(&new[0]);
    let other = company::embedded(company::MANIFEST).await;
    run(&other, &["restore", "--exact", path.to_str().unwrap()]).await.succeeded();
    other.run("verify").await.succeeded();
}

#[tokio::test]
async fn a_restore_that_is_killed_is_resumed_and_enters_once() {
    let source = ingested().await;
    let before = rows(&source).await;
    let path = path_of(&source, &back_up(&source, "").await);
    for point in [
        "restore-converted=abort@1",
        "restore-converted=abort@3",
        "upload-spooled=abort@1",
        "upload-spooled=abort@2",
        "source-registered=abort@2",
        "source-journaled=abort@1",
        "restore-entered=abort@1",
        "restore-entered=abort@3",
        "intake-appended=abort@1",
        "batch-committed=abort@1",
        "source-completed=abort@1",
    ] {
        let home = company::embedded(company::MANIFEST).await;
        home.ingest().await;
        killed_at(&home, &["restore", path.to_str().unwrap()], point).await;
        home.run("run --until-idle").await.succeeded();
        assert_eq!(rows(&home).await, before, "{point}");
        let sources = "select dataset, kind from tidegate.sources order by source";
        assert_eq!(
            home.query(sources).await,
            ["departments|restore", "jobs|restore", "hired_employees|restore"],
            "{point}"
        );
        assert_eq!(
            home.query("select state, cardinality(sources) from tidegate.restores").await,
            ["entered|3"],
            "{point}"
        );
        assert_sound(&home).await;
        assert_eq!(home.names_in(".tidegate/spool"), Vec::<String>::new(), "{point}");
    }
}

#[tokio::test]
async fn an_exact_restore_that_is_killed_has_done_nothing_or_all() {
    let source = ingested().await;
    let path = path_of(&source, &back_up(&source, "").await);
    let path = path.to_str().unwrap();
    let home = company::embedded(company::MANIFEST).await;
    for point in ["restore-filled=abort@1", "tables-prepared=abort@1"] {
        killed_at(&home, &["restore", "--exact", path], point).await;
        assert_eq!(home.count("select count(*) from tidegate.sources").await, 0, "{point}");
    }
    killed_at(&home, &["restore", "--exact", path], "restore-committed=abort@1").await;
    assert_eq!(rows(&home).await, rows(&source).await);
    home.run("verify").await.succeeded();
}
