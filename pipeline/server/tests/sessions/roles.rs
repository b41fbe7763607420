//! Roles: who prepares a database owns what is in it; who goes on with it may do with less.

use super::{Role, database};
use crate::company;
use crate::home::Home;

/// A role that may write and read everything that the owner has made, and make nothing.
async fn writer(home: &Home) -> Role {
    let role = Role::new(home).await;
    let database = database(home).await;
    home.query("revoke create on schema public from public").await;
    home.query(&format!("revoke create on database \"{database}\" from public")).await;
    for what in [
        "usage on schema public, tidegate",
        "insert, update on departments, jobs, hired_employees",
        "select on all tables in schema public",
        "select, insert, update, delete on all tables in schema tidegate",
        "usage on all sequences in schema tidegate",
    ] {
        role.grant(home, what).await;
    }
    role
}

const REFRESHED: &str = "-- refresh: 1s\nselect distinct job from jobs";

/// A company with a view that is refreshed, prepared by a role that owns it; then a run of one that only writes.
async fn prepared_by_another() -> (Home, Role) {
    let home = company::embedded(company::MANIFEST).await;
    let direct = home.url.clone();
    std::fs::write(home.path("sql/views/names_of_jobs.sql"), REFRESHED).unwrap();
    let owner = Role::owner(&home).await;
    let home = home.by_way_of(owner.url);
    company::drop_example(&home);
    home.ingest().await;
    let writer = writer(&home).await;
    assert_ne!(direct, writer.url);
    (home.by_way_of(writer.url.clone()), writer)
}

#[tokio::test]
async fn after_the_first_start_nothing_needs_ownership_or_create() {
    let (home, _) = prepared_by_another().await;
    home.run("check").await.succeeded();
    // Waits, then heals; meets rows that are there; and enough of it that the views are folded.
    home.drop(
        "hired_employees_2.csv",
        "90000,Ada,2021-05-01T00:00:00Z,77001,1\n1,Eve,2021-05-01T00:00:00Z,1,1\n",
    );
    let mut many: String = String::new();
    for id in 0..30_000 {
        many.push_str(&format!("{},N,{}-02-01T00:00:00Z,1,1\n", 100_000 + id, 1000 + id % 8000));
    }
    home.drop("hired_employees_3.csv", many);
    home.ingest().await;
    home.drop("departments_2.csv", "77001,New\n");
    home.ingest().await;
    assert_eq!(
        home.query("select name from hired_employees where id in (1, 90000) order by id").await,
        ["Eve", "Ada"]
    );
    company::assert_views_hold(&home).await;
    home.run("verify --deep").await.succeeded();
    home.run("backup").await.succeeded();
    home.drop("jobs_2.csv", "9001,A new one\n");
    home.ingest().await;
    home.run("view refresh names_of_jobs").await.succeeded();
    assert_eq!(home.count("select count(*) from names_of_jobs where job = 'A new one'").await, 1);
}

#[tokio::test]
async fn a_role_that_lacks_a_right_is_told_by_check_before_a_run_fails_for_it() {
    let (home, writer) = prepared_by_another().await;
    home.query(&format!("revoke update on jobs from {}", writer.name)).await;
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    assert!(
        told.contains(&format!("grant select, insert, update on public.jobs to {}", writer.name)),
        "{told}"
    );
    home.query(&format!("revoke usage on schema tidegate from {}", writer.name)).await;
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    assert!(told.contains(&format!("grant usage on schema tidegate to {}", writer.name)), "{told}");
}

#[tokio::test]
async fn a_role_that_makes_views_and_tables_beside_those_of_another_is_told_what_it_needs() {
    let home = company::embedded(company::MANIFEST).await;
    let role = Role::owner(&home).await;
    let bookkeeping = "_source bigint not null default -1, _line bigint not null default -1";
    home.query(&format!(
        "create table departments (id integer primary key, department text not null, {bookkeeping}); \
         create table jobs (id integer primary key, job text not null, {bookkeeping}); \
         grant select, insert, update on departments, jobs to {}",
        role.name
    ))
    .await;
    let by_department = "select department, count(*) as n from departments group by 1";
    std::fs::write(home.path("sql/views/by_department.sql"), by_department).unwrap();
    let home = home.by_way_of(role.url.clone());
    for what in
        ["references on public.departments", "references on public.jobs", "trigger on public.departments"]
    {
        let told = home.run("check --format csv").await.failed_with(1).stdout;
        let grant = format!("grant {what} to {}", role.name);
        assert!(told.contains(&grant), "'{grant}' is not in:\n{told}");
        role.grant(&home, what.replace("public.", "").as_str()).await;
    }
    home.run("check").await.succeeded();
    company::drop_example(&home);
    home.ingest().await;
    home.run("view verify").await.succeeded();
}

#[tokio::test]
async fn triggers_fire_whatever_the_role_says() {
    let home = company::embedded(company::MANIFEST).await;
    let role = Role::owner(&home).await;
    role.set(&home, "session_replication_role = replica").await;
    let home = home.by_way_of(role.url.clone());
    let mut run = home.spawn("run --until-idle");
    run.says("permission denied to set parameter").await;
    run.ended().await.failed_with(1);
    role.grant(&home, "set on parameter session_replication_role").await;
    company::drop_example(&home);
    home.ingest().await;
    // What is there already is written so that triggers must follow.
    home.drop("hired_employees_2.csv", "1,Eve,2021-05-01T00:00:00Z,1,1\n2,Ada,2021-05-01T00:00:00Z,1,1\n");
    home.ingest().await;
    company::assert_views_hold(&home).await;
    home.query(&format!("drop owned by {}", role.name)).await;
}

#[tokio::test]
async fn a_role_that_cannot_make_the_schema_is_told_by_check() {
    let home = company::embedded(company::MANIFEST).await;
    let database = database(&home).await;
    home.query(&format!("revoke create on database \"{database}\" from public")).await;
    let role = Role::new(&home).await;
    role.grant(&home, "usage, create on schema public").await;
    let home = home.by_way_of(role.url.clone());
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    let grant = format!("grant create on database {database} to {}", role.name);
    assert!(told.contains(&grant), "{told}");
    // What is told is enough, and no more is needed.
    role.grant(&home, &format!("create on database \"{database}\"")).await;
    home.run("check").await.succeeded();
    company::drop_example(&home);
    home.ingest().await;
}

#[tokio::test]
async fn what_check_asks_for_the_first_start_no_later_one_needs() {
    let home = company::embedded(company::MANIFEST).await;
    let database = database(&home).await;
    home.query(&format!("revoke create on database \"{database}\" from public")).await;
    let role = Role::new(&home).await;
    role.grant(&home, "usage, create on schema public").await;
    home.query(&format!("create schema tidegate authorization {}", role.name)).await;
    let home = home.by_way_of(role.url.clone());
    let told = home.run("check --format csv").await.failed_with(1).stdout;
    assert!(told.contains(&format!("grant create on database {database} to {}", role.name)), "{told}");
    role.grant(&home, &format!("create on database \"{database}\"")).await;
    home.run("check").await.succeeded();
    company::drop_example(&home);
    home.ingest().await;
    home.query(&format!("revoke create on database \"{database}\" from {}", role.name)).await;
    home.query(&format!("revoke create on schema public from {}", role.name)).await;
    home.drop("jobs_2.csv", "9001,another\n");
    home.run("check").await.succeeded();
    home.ingest().await;
    assert_eq!(home.count("select count(*) from jobs where id = 9001").await, 1);
}
