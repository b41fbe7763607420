//! A load in many small files, to be disturbed. What it comes to is a function of the files and of the order
//! in which they were dropped, and of nothing else.

use tidegate::generate::Company;

use crate::company::{self, TABLES};
use crate::home::{Home, until};

/// Lines of a small file of employees.
pub(crate) const LINES: usize = 2_000;
/// How many departments come late, so that employees wait for them.
const LATE: usize = 2;

/// The manifest of the company, for small transactions.
pub(crate) fn manifest() -> String {
    company::MANIFEST.replace("stable_for: 10ms", "stable_for: 10ms\nmax_lag_bytes: 64KiB\nlease: 1s")
}

/// The files of a company, and which of them were dropped.
pub(crate) struct Load {
    departments: String,
    late_departments: String,
    jobs: String,
    employees: Vec<String>,
    dropped: Vec<Dropped>,
}

#[derive(Clone, Copy, PartialEq)]
enum Dropped {
    Departments,
    Jobs,
    LateDepartments,
    /// Under names of their own; beyond those that there are the same rows come again.
    Employees(usize),
}

impl Load {
    /// A company with so many files of employees, of so many lines each.
    pub(crate) fn new(files: usize, lines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let generated = Company {
            employees: (files * lines) as u64,
            rejects_percent: 3.0,
            seed: 7,
            ..Company::default()
        };
        generated.write(folder.path()).unwrap();
        let [departments, jobs, employees] =
            TABLES.map(|table| std::fs::read_to_string(folder.path().join(format!("{table}.csv"))).unwrap());
        let departments: Vec<&str> = departments.split_inclusive('\n').collect();
        let (early, late) = departments.split_at(departments.len() - LATE);
        let employees: Vec<&str> = employees.split_inclusive('\n').collect();
        Self {
            departments: early.concat(),
            late_departments: late.concat(),
            jobs,
            employees: employees.chunks(lines).map(|lines| lines.concat()).collect(),
            dropped: Vec::new(),
        }
    }

    /// How many files were dropped.
    pub(crate) fn files(&self) -> usize {
        self.dropped.len()
    }

    /// Drops what employees reference, but for what comes late.
    pub(crate) fn drop_parents(&mut self, home: &Home) {
        self.drop(home, Dropped::Departments);
        self.drop(home, Dropped::Jobs);
    }

    /// Drops the rest of what employees reference. All that was dropped before must be registered, because
    /// referenced datasets are taken first.
    pub(crate) async fn drop_late_parents(&mut self, home: &Home) {
        let dropped = self.files() as u64;
        let registered = "select count(*) from tidegate.sources";
        until("all is registered", async || home.count(registered).await == dropped).await;
        self.drop(home, Dropped::LateDepartments);
    }

    /// Drops the next files of employees.
    pub(crate) fn drop_employees(&mut self, home: &Home, files: usize) {
        for _ in 0..files {
            let is_of_employees = |dropped: &&Dropped| matches!(dropped, Dropped::Employees(_));
            let i = self.dropped.iter().filter(is_of_employees).count();
            self.drop(home, Dropped::Employees(i));
        }
    }

    fn drop(&mut self, home: &Home, what: Dropped) {
        match what {
            Dropped::Departments => home.drop("departments.csv", &self.departments),
            Dropped::Jobs => home.drop("jobs.csv", &self.jobs),
            Dropped::LateDepartments => home.drop("departments-late.csv", &self.late_departments),
            Dropped::Employees(i) => {
                let file = &self.employees[i % self.employees.len()];
                home.drop(&format!("hired_employees-{i:06}.csv"), file);
            }
        }
        self.dropped.push(what);
    }

    /// Another home, into which the same files were dropped in the same order, and nothing disturbed it.
    pub(crate) async fn undisturbed(&mut self) -> Home {
        let home = company::embedded(&manifest()).await;
        for what in std::mem::take(&mut self.dropped) {
            if what == Dropped::LateDepartments {
                home.ingest().await;
            }
            self.drop(&home, what);
        }
        home.ingest().await;
        home
    }

    /// Fails unless all that was dropped came to what it comes to undisturbed, positions included.
    pub(crate) async fn assert_as_if_undisturbed(&mut self, home: &Home) {
        company::assert_accounted(home).await;
        let undisturbed = self.undisturbed().await;
        let sums = "select count(*), count(distinct id), sum(id) from hired_employees";
        assert_eq!(home.query(sums).await, undisturbed.query(sums).await);
        let (here, there) = (state(home).await, state(&undisturbed).await);
        company::assert_same("disturbed and undisturbed", &here, &there);
        assert_eq!(home.names_in("landing"), ["done"]);
        assert_eq!(home.names_in("landing/done"), undisturbed.names_in("landing/done"));
    }
}

/// Everything, positions included.
pub(crate) async fn state(home: &Home) -> Vec<String> {
    let mut state = company::state(home).await;
    for sql in [
        "select source, dataset, name, lines, completed_at is not null from tidegate.sources order by source",
        "select id, _source, _line from departments order by id",
        "select id, _source, _line from jobs order by id",
        "select id, _source, _line from hired_employees order by id",
        "select source, line, dataset, status, text, case status when 'rejected' then reasons end \
         from tidegate.dead_letters where status in ('rejected', 'waiting') order by 1, 2",
        "select source, chunk, accepted, rejected, waiting, discarded from tidegate.ledger order by 1, 2",
    ] {
        state.extend(home.query(sql).await);
    }
    state
}

/// How many lines are accounted for.
pub(crate) async fn accounted(home: &Home) -> u64 {
    let sum = "accepted_count + rejected_count + waiting_count + discarded_count";
    home.count(&format!("select sum({sum}) from tidegate.ledger")).await
}
