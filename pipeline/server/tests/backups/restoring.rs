//! Restoring rows: as lines like any others, and newer than what is there.

use super::{assert_sound, back_up, ingested, path_of, rows, run};
use crate::company;
use crate::home::until;

#[tokio::test]
async fn tables_that_were_emptied_come_back() {
    let home = ingested().await;
    let before = rows(&home).await;
    let backup = back_up(&home, "").await;
    let path = path_of(&home, &backup);
    home.query("delete from hired_employees; delete from jobs; delete from departments").await;
    let restored =
        run(&home, &["restore", path.to_str().unwrap(), "--format", "json"]).await.succeeded().rows();
    assert_eq!(rows(&home).await, before);
    let accepted: u64 = restored.iter().map(|row| row["accepted"].as_u64().unwrap()).sum();
    assert_eq!(accepted as usize, before.len());
    assert_eq!(restored.iter().map(|row| row["source"].as_u64().unwrap()).collect::<Vec<_>>(), [4, 5, 6]);
    assert_sound(&home).await;
    let kinds = "select kind, name from tidegate.sources where source > 3 order by source";
    let id = backup["id"].as_str().unwrap();
    assert_eq!(
        home.query(kinds).await,
        [
            format!("restore|{id}/departments.avro"),
            format!("restore|{id}/jobs.avro"),
            format!("restore|{id}/hired_employees.avro"),
        ]
    );
}

#[tokio::test]
async fn what_is_restored_beside_a_running_pipeline_wins() {
    let home = ingested().await;
    let before = rows(&home).await;
    let backup = back_up(&home, "").await;
    home.drop("jobs-new.csv", "1,Another\n2,Yet another\n");
    let mut running = home.spawn("run");
    until("the newer lines are in", async || {
        home.query("select job from jobs where id = 1").await == ["Another"]
    })
    .await;
    let path = path_of(&home, &backup);
    let outcome = run(&home, &["restore", path.to_str().unwrap(), "jobs"]).await.succeeded();
    assert!(outcome.stdout.contains("every one accounted for"), "{}", outcome.stdout);
    assert_eq!(rows(&home).await, before);
    assert!(!running.has_ended());
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.ended().await.succeeded();
    assert_sound(&home).await;
    assert_eq!(
        home.query("select state, asked_by <> '', cardinality(sources) from tidegate.restores").await,
        ["entered|t|1"]
    );
}

#[tokio::test]
async fn the_rules_of_lines_are_those_of_what_is_restored() {
    let home = ingested().await;
    let before = rows(&home).await;
    let path = path_of(&home, &back_up(&home, "").await);
    let path = path.to_str().unwrap();
    // Elsewhere, without what is referenced, and where a name may not be so long.
    let manifest = company::MANIFEST.replace("name: text", "name: 'varchar(12)'");
    let other = company::embedded(&manifest).await;
    let restored =
        run(&other, &["restore", path, "hired_employees", "--format", "json"]).await.succeeded().rows();
    let (long, all) = (
        "select count(*) from hired_employees where length(name) > 12",
        "select count(*) from hired_employees",
    );
    let (long, all) = (home.count(long).await, home.count(all).await);
    assert!(long > 0);
    assert_eq!(
        (restored[0]["rejected"].as_u64(), restored[0]["waiting"].as_u64()),
        (Some(long), Some(all - long))
    );
    run(&other, &["restore", path, "departments", "jobs"]).await.succeeded();
    assert_eq!(other.count("select count(*) from hired_employees").await, all - long);
    company::assert_accounted(&other).await;
    let here = company::embedded(company::MANIFEST).await;
    run(&here, &["restore", path]).await.succeeded();
    assert_eq!(rows(&here).await, before);
    company::assert_accounted(&here).await;
}

#[tokio::test]
async fn a_damaged_backup_is_refused_with_nothing_applied() {
    let home = ingested().await;
    let path = path_of(&home, &back_up(&home, "").await);
    let file = path.join("hired_employees.avro");
    let bytes = std::fs::read(&file).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    for bytes in [&bytes[..bytes.len() - 20], &damaged] {
        std::fs::write(&file, bytes).unwrap();
        let said = run(&home, &["restore", path.to_str().unwrap()]).await.failed_with(1).stderr;
        assert!(said.contains("hired_employees.avro") && said.contains("block 1, at byte "), "{said}");
        let other = company::embedded(company::MANIFEST).await;
        run(&other, &["restore", "--exact", path.to_str().unwrap()])
            .await
            .failed_with(1)
            .saying(&["block 1, at byte "]);
    }
    assert_eq!(home.query("select count(*) from tidegate.sources").await, ["3"]);
    let said = run(&home, &["restore", home.path("landing").to_str().unwrap()]).await.failed_with(1).stderr;
    assert!(said.contains("is no backup"), "{said}");
}

#[tokio::test]
async fn a_file_that_changed_after_it_was_asked_for_is_refused() {
    let home = ingested().await;
    let path = path_of(&home, &back_up(&home, "").await);
    let other = path_of(&home, &back_up(&home, "").await);
    let ask = "insert into tidegate.restores (id, files, asked_by) values (gen_random_uuid(), jsonb_build_array(\
               jsonb_build_object('dataset', 'jobs', 'path', '";
    let file = path.join("jobs.avro");
    home.query(&format!("{ask}{}', 'rows', 1, 'blake3', 'other')), 'somebody')", file.display())).await;
    home.query(&format!(
        "{ask}{}', 'rows', 1, 'blake3', 'x')), 'somebody')",
        other.join("gone.avro").display()
    ))
    .await;
    home.run("run --until-idle").await.succeeded();
    let errors = home.query("select state, error from tidegate.restores order by asked_at").await;
    assert!(errors[0].starts_with("failed|") && errors[0].contains("is not what it was"), "{errors:?}");
    assert!(errors[1].starts_with("failed|") && errors[1].contains("gone.avro"), "{errors:?}");
    assert_eq!(home.query("select count(*) from tidegate.sources").await, ["3"]);
}
