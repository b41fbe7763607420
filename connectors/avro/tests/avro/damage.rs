//! Damaged files: whatever is wrong with them is found before anything is applied, and named.

use std::path::Path;

use tidegate_avro::check;
use tidegate_core::manifest::{Codec, Manifest};

use super::database::Database;

const MANIFEST: &str = "
pipeline: damage
datasets:
  rows:
    key: id
    columns: {id: integer, words: {type: text, optional: true}, at: {type: timestamptz, optional: true}}
";

/// A backup with a file of three blocks, and the bytes of that.
async fn backed_up(codec: Codec, folder: &Path) -> (Manifest, std::path::PathBuf, Vec<u8>) {
    let database = Database::new(MANIFEST).await;
    database
        .execute(
            "insert into rows select i, case when i % 3 > 0 then md5(i::text) || repeat('x', 200) end, \
             '2021-01-01'::timestamptz + i * interval '1 s' from generate_series(1, 4000) as i",
        )
        .await;
    let backup = database.back_up(folder, codec).await;
    assert_eq!(backup.datasets[0].blocks.len(), 4, "the header, and three blocks");
    let path = folder.join(&backup.id).join("rows.avro");
    let bytes = std::fs::read(&path).unwrap();
    ((**database.postgres.manifest()).clone(), path, bytes)
}

fn refusal(manifest: &Manifest, path: &Path) -> Option<String> {
    check(manifest, path, &["rows".to_owned()]).err().map(|error| error.to_string())
}

/// Where the blocks of a file begin, and where the file ends.
fn blocks(bytes: &[u8]) -> Vec<usize> {
    let marker = &bytes[bytes.len() - 16..];
    let ends = bytes.windows(16).enumerate().filter(|(_, window)| *window == marker).map(|(at, _)| at + 16);
    ends.collect()
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_found_with_its_block() {
    for codec in Codec::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, path, bytes) = backed_up(codec, folder.path()).await;
        assert_eq!(refusal(&manifest, &path), None);
        let starts = blocks(&bytes);
        assert_eq!(starts.len(), 4);
        let near = starts.iter().flat_map(|start| start.saturating_sub(20)..start + 20);
        for at in near.chain((0..bytes.len()).step_by(bytes.len() / 60)).filter(|at| *at < bytes.len()) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            std::fs::write(&path, damaged).unwrap();
            let said = refusal(&manifest, &path).unwrap_or_else(|| panic!("{codec}: byte {at} passes"));
            // A marker that is wrong in the header is not that of the first block.
            let block = starts.iter().filter(|start| **start <= at).count();
            let place = match block {
                0 => "header".to_owned(),
                block => format!("block {block}, at byte {}", starts[block - 1]),
            };
            assert!(said.contains(&place), "{codec}: byte {at}: {said}");
        }
    }
}

#[tokio::test]
async fn a_file_that_was_cut_anywhere_is_found() {
    for codec in Codec::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (manifest, path, bytes) = backed_up(codec, folder.path()).await;
        let starts = blocks(&bytes);
        let near = starts.iter().flat_map(|start| start.saturating_sub(20)..start + 20);
        let lengths: Vec<usize> = near
            .chain((0..bytes.len()).step_by(bytes.len() / 60))
            .filter(|length| *length < bytes.len())
            .collect();
        let alone = folder.path().join("alone.avro");
        for length in lengths {
            std::fs::write(&path, &bytes[..length]).unwrap();
            std::fs::copy(&path, &alone).unwrap();
            let said = refusal(&manifest, &path).unwrap_or_else(|| panic!("{codec}: {length} bytes pass"));
            assert!(said.contains("header") || said.contains("block "), "{codec}: {length} bytes: {said}");
            // Without the description of the backup, an end behind a block is an end.
            let said = refusal(&manifest, &alone);
            match starts.iter().position(|start| *start == length) {
                Some(_) => assert_eq!(said, None, "{codec}: {length} bytes"),
                None => {
                    let block = starts.iter().filter(|start| **start <= length).count();
                    let place = match block {
                        0 => "header".to_owned(),
                        block => format!("block {block}, at byte {}", starts[block - 1]),
                    };
                    let said = said.unwrap_or_else(|| panic!("{codec}: {length} bytes pass alone"));
                    assert!(said.contains(&place), "{codec}: {length} bytes: {said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_stands_behind_the_end_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, path, bytes) = backed_up(Codec::Snappy, folder.path()).await;
    let starts = blocks(&bytes);
    let alone = folder.path().join("alone.avro");
    for tail in [&[0][..], &bytes[starts[0]..starts[1]], b"Obj\x01"] {
        let longer = [&bytes, tail].concat();
        std::fs::write(&path, &longer).unwrap();
        let said = refusal(&manifest, &path).unwrap();
        assert!(said.contains(&format!("block 4, at byte {}", bytes.len())), "{said}");
    }
    // A block twice is a file that can be read; only the backup knows better.
    std::fs::write(&alone, [&bytes, &bytes[starts[0]..starts[1]]].concat()).unwrap();
    assert_eq!(refusal(&manifest, &alone), None);
}

#[tokio::test]
async fn all_damaged_files_of_a_backup_are_named() {
    let database = Database::new(
        "
pipeline: damage
datasets:
  a: {key: id, columns: {id: integer}}
  b: {key: id, columns: {id: integer}}
",
    )
    .await;
    database.execute("insert into a values (1); insert into b values (1)").await;
    let folder = tempfile::tempdir().unwrap();
    let backup = database.back_up(folder.path(), Codec::Deflate).await;
    let path = folder.path().join(&backup.id);
    for name in ["a.avro", "b.avro"] {
        let bytes = std::fs::read(path.join(name)).unwrap();
        std::fs::write(path.join(name), &bytes[..bytes.len() - 1]).unwrap();
    }
    let said = check(database.postgres.manifest(), &path, &[]).unwrap_err().to_string();
    assert!(said.contains("a.avro") && said.contains("b.avro"), "{said}");
    let said = check(database.postgres.manifest(), &path, &["a".to_owned()]).unwrap_err().to_string();
    assert!(said.contains("a.avro") && !said.contains("b.avro"), "{said}");
}
