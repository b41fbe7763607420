//! The program does what its readme says.

#![allow(clippy::unwrap_used)] // the whole crate is tests; the lint knows only `#[test]` functions

use std::process::Command;

use tidegate_testing::postgres;

#[tokio::test]
async fn the_example_prints_what_its_readme_says_however_often_it_runs() {
    let url = postgres::database().await;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate-example-embed"));
        command.arg("towns.csv").arg(folder.path()).env("DATABASE_URL", &url);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        let (printed, said) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{said}");
        assert!(include_str!("../README.md").contains(&printed) && printed.lines().count() == 3, "{printed}");
    }
}

#[test]
fn without_arguments_it_says_how_it_is_used() {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-example-embed")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
