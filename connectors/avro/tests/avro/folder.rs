//! The folder of backups: what is under a name is whole, private, and only as old as is asked for.

use std::os::unix::fs::PermissionsExt;

use tidegate_avro::{BackupOptions, Folder};
use tidegate_core::manifest::Codec;

use super::database::Database;

const MANIFEST: &str = "
pipeline: folder
datasets:
  a: {key: id, columns: {id: integer}}
  b: {key: id, columns: {id: integer, a: {type: integer, references: a}}}
";

#[tokio::test]
async fn backups_are_private_have_names_of_their_own_and_leftovers_go() {
    let database = Database::new(MANIFEST).await;
    database.execute("insert into a values (1); insert into b values (1, 1)").await;
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("deep/backups");
    let first = database.back_up(&path, Codec::Deflate).await;
    let leftover = path.join(".backup-killed.partial");
    std::fs::create_dir(&leftover).unwrap();
    std::fs::write(leftover.join("a.avro"), "half").unwrap();
    let mut ids = vec![first.id.clone()];
    for _ in 0..11 {
        ids.push(database.back_up(&path, Codec::Snappy).await.id);
    }
    assert!(!leftover.exists());
    let folder = Folder::new(&path);
    ids.reverse();
    assert_eq!(folder.names().unwrap(), ids, "the newest first");
    for (path, mode) in [
        (path.clone(), 0o700),
        (path.join(&first.id), 0o700),
        (path.join(&first.id).join("_tidegate"), 0o700),
        (path.join(&first.id).join("a.avro"), 0o600),
        (path.join(&first.id).join("manifest.json"), 0o600),
        (path.join(&first.id).join("_tidegate/sources.avro"), 0o600),
    ] {
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode,
            "{}",
            path.display()
        );
    }
    assert_eq!(folder.prune(3).unwrap(), ids[3..]);
    assert_eq!(folder.names().unwrap(), ids[..3]);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 4, "and the lock");
    // Backups of some datasets do not push out those of everything.
    let some = BackupOptions { datasets: vec!["b".to_owned()], ..BackupOptions::default() };
    for _ in 0..4 {
        tidegate_avro::backup(&database.postgres, &folder, &some).await.unwrap();
    }
    assert_eq!(folder.prune(3).unwrap().len(), 1);
    let names = folder.names().unwrap();
    assert!(names.len() == 6 && ids[..3].iter().all(|id| names.contains(id)), "{names:?}");
}

#[tokio::test]
async fn files_of_a_backup_are_found_by_names_alone() {
    let database = Database::new(MANIFEST).await;
    let place = tempfile::tempdir().unwrap();
    let backup = database.back_up(place.path(), Codec::Deflate).await;
    let folder = Folder::new(place.path());
    assert_eq!(folder.open(&backup.id, "a").unwrap().1.rows, 0);
    for (id, dataset) in [
        ("..", "a"),
        ("", "a"),
        ("20000101T000000Z", "a"),
        (&backup.id, "../a"),
        (&backup.id, "_tidegate/sources"),
        (&backup.id, "sources"),
        (&format!("{}/../{}", backup.id, backup.id), "a"),
    ] {
        let error = folder.open(id, dataset).err().unwrap();
        assert!(matches!(error, tidegate_avro::AvroError::Unknown(_)), "{id} {dataset}: {error}");
    }
    // Whatever its description says.
    let path = place.path().join(&backup.id).join("manifest.json");
    for file in ["../../etc/passwd", "/etc/passwd", "a/b/c"] {
        let mut changed = backup.clone();
        changed.datasets[0].file = file.to_owned();
        std::fs::write(&path, serde_json::to_vec(&changed).unwrap()).unwrap();
        assert!(matches!(folder.open(&backup.id, "a"), Err(tidegate_avro::AvroError::Refused(_))), "{file}");
    }
    let later = serde_json::json!({"format": 2});
    std::fs::write(&path, later.to_string()).unwrap();
    let said = folder.backup(&backup.id).unwrap_err().to_string();
    assert!(said.contains("later version"), "{said}");
}

#[tokio::test]
async fn some_datasets_alone_are_no_backup_of_everything() {
    let database = Database::new(MANIFEST).await;
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let options = BackupOptions { datasets: vec!["b".to_owned()], ..BackupOptions::default() };
    let backup = tidegate_avro::backup(&database.postgres, &folder, &options).await.unwrap();
    assert_eq!(backup.datasets.len(), 1);
    let path = place.path().join(&backup.id);
    let said = database.fill(&path).await.unwrap_err().to_string();
    assert!(said.contains("some datasets alone"), "{said}");
    let options = BackupOptions { datasets: vec!["c".to_owned()], ..BackupOptions::default() };
    let said = tidegate_avro::backup(&database.postgres, &folder, &options).await.unwrap_err().to_string();
    assert!(said.contains("the datasets are: a, b"), "{said}");
    assert_eq!(folder.names().unwrap(), [backup.id]);
}

#[tokio::test]
async fn two_at_once_do_not_write_to_one_folder() {
    let database = Database::new(MANIFEST).await;
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let lock = std::fs::File::create(place.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    let error =
        tidegate_avro::backup(&database.postgres, &folder, &BackupOptions::default()).await.unwrap_err();
    assert!(matches!(error, tidegate_avro::AvroError::Busy(_)), "{error}");
    drop(lock);
    tidegate_avro::backup(&database.postgres, &folder, &BackupOptions::default()).await.unwrap();
}
