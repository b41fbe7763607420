//! At every durable step the process ends, or the step fails as if its effect had not become known; the
//! next run completes what is left, and all is as if nothing had happened.
//!
//! The segments of a log are too large for the files of a test: their failpoints have tests in `topics`.

use nix::sys::signal::Signal;
use tidegate::generate::Company;
use tidegate_core::failpoint::Failpoint;

use crate::company::{self, TABLES};
use crate::home::{Home, Outcome, Running};
use crate::load;

/// Of the log alone, which begins and removes segments of 64 MiB; and of what is asked for besides: recoveries, uploads,
/// moves of dead letters, backups, restores. They have tests of their own.
const NOT_OF_A_RUN: [Failpoint; 18] = [
    Failpoint::SegmentBegun,
    Failpoint::SegmentTrimmed,
    Failpoint::SourcesRestored,
    Failpoint::UploadSpooled,
    Failpoint::ReloadShared,
    Failpoint::BackupFileWritten,
    Failpoint::BackupOnDisk,
    Failpoint::BackupPublished,
    Failpoint::BackupHidden,
    Failpoint::RestoreConverted,
    Failpoint::RestoreEntered,
    Failpoint::RestoreFilled,
    Failpoint::RestoreCommitted,
    Failpoint::MoveAsked,
    Failpoint::MovesListed,
    Failpoint::MovesClaimed,
    Failpoint::LettersDiscarded,
    Failpoint::MovesMade,
];
const EMPLOYEES: u64 = 900;
/// So many changes of a view make it be folded, in a load that takes longer than upkeep pauses.
const EMPLOYEES_TO_FOLD: u64 = 300_000;
/// As many rows in its store as employees.
const VIEW: &str = "select id, count(*) as n from hired_employees group by id\n";

/// Files of which a third was ingested and waits, so that healing comes too, and the rest lies ready.
async fn begun(point: Failpoint) -> Home {
    let home = company::embedded(company::MANIFEST).await;
    std::fs::write(home.path("sql/views/employees.sql"), VIEW).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let employees = if point == Failpoint::ViewFolded { EMPLOYEES_TO_FOLD } else { EMPLOYEES };
    let generated = Company { employees, rejects_percent: 3.0, seed: 3, ..Company::default() };
    generated.write(folder.path()).unwrap();
    let [departments, jobs, employees] =
        TABLES.map(|table| std::fs::read_to_string(folder.path().join(format!("{table}.csv"))).unwrap());
    let lines: Vec<&str> = employees.split_inclusive('\n').collect();
    let (early, late) = lines.split_at(lines.len() / 3);
    home.drop("hired_employees-1.csv", early.concat());
    home.ingest().await;
    if point == Failpoint::IdentityWritten {
        std::fs::remove_dir_all(home.path(".tidegate")).unwrap(); // it is written only where it changes
    }
    home.drop("departments.csv", departments);
    home.drop("jobs.csv", jobs);
    home.drop(
        "hired_employees-2.csv",
        [late.concat().as_bytes(), b"7,no text \xff,2021-01-01T00:00:00Z,1,1\n"].concat(),
    );
    home
}

async fn run(home: &Home, point: Failpoint, action: &str) -> Outcome {
    let mut command = home.command(["run", "--until-idle"]);
    command.env("TIDEGATE_FAILPOINT", format!("{}={action}@1", point.as_str()));
    Running::start(command).ended().await
}

async fn assert_as_if_undisturbed(home: &Home, point: Failpoint) {
    home.ingest().await;
    company::assert_accounted(home).await;
    let undisturbed = begun(point).await;
    undisturbed.ingest().await;
    let states = (load::state(home).await, load::state(&undisturbed).await);
    company::assert_same(point.as_str(), &states.0, &states.1);
    let count = "select count(*) from hired_employees";
    assert_eq!(home.query("select count(*) from employees where n = 1").await, home.query(count).await);
    assert_eq!(home.names_in("landing"), ["done"]);
}

/// A test for each point that a run of the command passes.
macro_rules! for_each_point {
    ($check:path) => {
        for_each_point! { $check:
            identity_written: IdentityWritten,
            database_migrated: DatabaseMigrated,
            leases_taken: LeasesTaken,
            tables_prepared: TablesPrepared,
            journal_written: JournalWritten,
            source_registered: SourceRegistered,
            source_journaled: SourceJournaled,
            batch_half_written: BatchHalfWritten,
            raw_appended: RawAppended,
            intake_appended: IntakeAppended,
            source_finished: SourceFinished,
            accepted_appended: AcceptedAppended,
            outputs_appended: OutputsAppended,
            offsets_stored: OffsetsStored,
            rows_written: RowsWritten,
            letters_written: LettersWritten,
            ledger_written: LedgerWritten,
            batch_committed: BatchCommitted,
            commit_published: CommitPublished,
            waiting_healed: WaitingHealed,
            view_folded: ViewFolded,
            source_completed: SourceCompleted,
            file_put_away: FilePutAway,
        }
    };
    ($check:path: $($name:ident: $point:ident,)+) => {
        tidegate_testing::rows! { $check: $($name: (Failpoint::$point)),+ }

        #[test]
        fn every_point_of_a_run_has_its_test() {
            let its = [$(Failpoint::$point),+];
            let of_a_run = Failpoint::ALL.iter().copied().filter(|point| !NOT_OF_A_RUN.contains(point));
            assert_eq!(of_a_run.collect::<Vec<_>>(), its);
        }
    };
}

mod a_run_that_ends_at_a_durable_step {
    use super::*;

    for_each_point!(is_completed_by_the_next);

    async fn is_completed_by_the_next(point: Failpoint) {
        let home = begun(point).await;
        let outcome = run(&home, point, "abort").await;
        assert_eq!(outcome.signal, Some(Signal::SIGABRT as i32), "it is not passed: {outcome:?}");
        assert_as_if_undisturbed(&home, point).await;
    }
}

mod a_durable_step_that_fails {
    use super::*;

    for_each_point!(is_tried_again_or_completed_by_the_next_run);

    async fn is_tried_again_or_completed_by_the_next_run(point: Failpoint) {
        let home = begun(point).await;
        let outcome = run(&home, point, "error").await;
        let armed = format!("the failpoint '{}' is armed", point.as_str());
        assert!(outcome.stderr.contains(&armed), "it is not passed: {outcome:?}");
        assert!([Some(0), Some(1)].contains(&outcome.code), "{outcome:?}");
        assert_as_if_undisturbed(&home, point).await;
    }
}

#[tokio::test]
async fn an_unknown_failpoint_is_refused() {
    let home = company::embedded(company::MANIFEST).await;
    let mut command = home.command(["check"]);
    command.env("TIDEGATE_FAILPOINT", "no-such-step=abort@1");
    Running::start(command).ended().await.failed_with(2).saying(&["no-such-step"]);
}

#[tokio::test]
async fn a_source_whose_file_went_away_is_complete_when_its_lines_are_in() {
    let home = company::embedded(company::MANIFEST).await;
    home.drop("departments.csv", "1,One\n2,Two\n");
    let mut command = home.command(["run", "--until-idle"]);
    // All is committed, and its end is not noted as such.
    command.env("TIDEGATE_FAILPOINT", format!("{}=abort@1", Failpoint::CommitPublished.as_str()));
    assert_eq!(Running::start(command).ended().await.signal, Some(Signal::SIGABRT as i32));
    home.query("update tidegate.sources set lines = 2").await; // or it is not known that there are no more
    std::fs::remove_file(home.path("landing/departments.csv")).unwrap();
    home.ingest().await;
    assert_eq!(home.query("select completed_at is not null from tidegate.sources").await, ["t"]);
    assert_eq!(home.query("select count(*) from departments").await, ["2"]);
}
