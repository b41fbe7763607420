//! Views are exact whatever the isolation level, and no writer waits for another because of one.

use super::World;

const VIEWS: [(&str, &str); 3] = [
    ("counts", "select department_id, count(*), sum(whole), max(whole) from staff group by department_id"),
    ("total", "select count(*), sum(exact) from staff"),
    (
        "named",
        "select department, count(*) from staff join departments on departments.id = department_id group by department",
    ),
];

/// So that `truncate` can follow an insert.
const BEGIN: &str = "begin; set constraints all immediate";

async fn world() -> World {
    let world = World::with(&VIEWS).await;
    let fill = "insert into staff (id, department_id, whole, exact) select i, i % 3 + 1, i, i / 2.0 from generate_series(1, 9) as i";
    world.fixture.execute(fill).await;
    world
}

async fn total(client: &tokio_postgres::Client) -> String {
    client.query_one("select total::text from total", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_transaction_older_than_a_truncate_that_writes_behind_it_is_counted() {
    for level in ["repeatable read", "serializable"] {
        let world = world().await;
        let (old, other) = (world.session().await, world.session().await);
        old.batch_execute(&format!("begin isolation level {level}; select from regions")).await.unwrap();
        other.batch_execute("truncate staff").await.unwrap();
        other.batch_execute("insert into staff (id, department_id, whole) values (50, 1, 7)").await.unwrap();
        old.batch_execute("insert into staff (id, department_id, whole) values (51, 1, 8)").await.unwrap();
        // Truncate is not transactional for who has an older snapshot; the view is as it was for them.
        assert_eq!(total(&old).await, "(10,22.50000000000000000000)".to_owned(), "{level}");
        old.batch_execute("commit").await.unwrap();
        assert_eq!(total(&other).await, "(2,)", "{level}");
        world.assert_exact(&VIEWS, level).await;
        world.fold().await;
        world.assert_exact(&VIEWS, "folding").await;
    }
}

#[tokio::test]
async fn an_old_snapshot_goes_on_reading_its_state_across_folding() {
    let world = world().await;
    let old = world.session().await;
    old.batch_execute("begin isolation level repeatable read; select from regions").await.unwrap();
    let before = total(&old).await;
    world.fixture.execute("update staff set whole = whole + 1, exact = exact + 1").await;
    world.fold().await;
    world.fixture.execute("delete from staff where id < 5").await;
    world.fold().await;
    assert_eq!(total(&old).await, before);
    old.batch_execute("insert into staff (id, department_id, whole, exact) values (70, 2, 1, 0.5); commit")
        .await
        .unwrap();
    world.assert_exact(&VIEWS, "a commit from before the folding").await;
}

#[tokio::test]
async fn a_truncate_counts_when_it_is_committed_and_where_it_stands() {
    let world = world().await;
    let insert =
        |id: i32| format!("insert into staff (id, department_id, whole, exact) values ({id}, 1, {id}, 1.5)");
    for steps in [
        vec![BEGIN.into(), "truncate staff".into(), "rollback".into()],
        vec![
            BEGIN.into(),
            insert(20),
            "truncate staff".into(),
            insert(21),
            "truncate staff".into(),
            insert(22),
            "commit".into(),
        ],
        vec![
            BEGIN.into(),
            insert(30),
            "savepoint a".into(),
            "truncate staff".into(),
            insert(31),
            "rollback to a".into(),
            insert(32),
            "commit".into(),
        ],
        vec![BEGIN.into(), "truncate staff".into(), insert(40), "rollback".into(), insert(41)],
        vec!["truncate departments cascade".into()],
        vec!["insert into departments values (1, 'd', 1, 1, null)".into(), insert(50)],
    ] {
        let session = world.session().await;
        for step in &steps {
            session.batch_execute(step).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
            // Exact for who writes it, too.
            let rows = "select (select count(*) from staff) = (select count from total)";
            assert!(session.query_one(rows, &[]).await.unwrap().get::<_, bool>(0), "{steps:?} at {step}");
        }
        world.assert_exact(&VIEWS, &steps.join("; ")).await;
        world.fold().await;
        world.assert_exact(&VIEWS, &format!("folding behind {}", steps.join("; "))).await;
    }
}

#[tokio::test]
async fn writers_of_one_group_commit_in_either_order_and_never_wait() {
    for level in ["read committed", "repeatable read", "serializable"] {
        for first_begins in [true, false] {
            let world = world().await;
            let (a, b) = (world.session().await, world.session().await);
            for (client, id) in [(&a, 60), (&b, 61)] {
                let sql = format!(
                    "begin isolation level {level}; \
                     insert into staff (id, department_id, whole, exact) values ({id}, 1, {id}, 0.25)"
                );
                client.batch_execute(&sql).await.unwrap();
                if level != "serializable" {
                    // What scans the table makes serializable transactions fail with and without a view.
                    let sql = format!(
                        "update staff set whole = whole + 1 where id = {id} - 59; delete from staff where id = {id} - 55"
                    );
                    client.batch_execute(&sql).await.unwrap();
                }
            }
            let (first, second) = if first_begins { (&a, &b) } else { (&b, &a) };
            first.batch_execute("commit").await.unwrap();
            world.assert_exact(&VIEWS, "the first commit").await;
            second.batch_execute("commit").await.unwrap();
            world.assert_exact(&VIEWS, "the second commit").await;
        }
    }
}

#[tokio::test]
async fn a_writer_does_not_wait_for_the_folding_nor_it_for_him() {
    let world = world().await;
    let writer = world.session().await;
    writer.batch_execute("begin; insert into staff (id, department_id) values (90, 1)").await.unwrap();
    world.fold().await;
    world.assert_exact(&VIEWS, "folding beside a writer").await;
    writer.batch_execute("commit").await.unwrap();
    world.assert_exact(&VIEWS, "his commit").await;
}

#[tokio::test]
async fn references_that_delete_or_empty_rows_are_counted() {
    let world = world().await;
    let session = world.session().await;
    for step in [
        "delete from departments where id = 1",
        "update staff set second_id = 3, manager_id = 2 where id = 4",
        "delete from departments where id = 3",
        "delete from staff where id = 2",
        "begin; update staff set second_id = 77; insert into departments values (77, 'late', 1, 1, null); commit",
    ] {
        session.batch_execute(step).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        world.assert_exact(&VIEWS, step).await;
    }
    let broken = session.batch_execute("begin; update staff set second_id = 78; commit").await;
    assert!(broken.is_err());
    world.assert_exact(&VIEWS, "a deferred constraint that failed").await;
}

#[tokio::test]
async fn rows_that_are_copied_or_merged_are_counted() {
    use futures_util::SinkExt;

    let world = world().await;
    let session = world.session().await;
    let copy = session.copy_in("copy staff (id, department_id, whole, exact) from stdin").await.unwrap();
    tokio::pin!(copy);
    copy.send(bytes::Bytes::from_static(b"100\t1\t5\t1.25\n101\t2\t\\N\t\\N\n")).await.unwrap();
    copy.finish().await.unwrap();
    world.assert_exact(&VIEWS, "a copy").await;
    for step in [
        "insert into staff (id, whole) values (1, 100), (102, 7) on conflict do nothing",
        "insert into staff (id, whole, department_id) values (1, 100, 1), (103, 7, 2) on conflict (id) do update set whole = excluded.whole, department_id = 3",
        "merge into staff using (values (1, 9), (104, 8), (101, 7)) as new (id, whole) on staff.id = new.id when matched and new.whole = 7 then delete when matched then update set whole = new.whole when not matched then insert (id, whole, department_id) values (new.id, new.whole, 2)",
    ] {
        session.batch_execute(step).await.unwrap();
        world.assert_exact(&VIEWS, step).await;
    }
}

#[tokio::test]
async fn a_role_that_may_write_the_table_alone_keeps_the_views_too() {
    let world = world().await;
    let role = format!("writer_{}", uuid::Uuid::new_v4().simple());
    let sql = format!(
        "create role {role}; grant usage on schema hr, public to {role}; grant select, insert, update, delete, truncate on staff to {role}"
    );
    world.fixture.execute(&sql).await;
    let session = world.session().await;
    session.batch_execute(&format!("set role {role}; set search_path = hr")).await.unwrap();
    for step in [
        "insert into staff (id, whole) values (200, 1)",
        "update staff set whole = 2 where id = 200",
        "delete from staff where id = 200",
        "truncate staff",
    ] {
        session.batch_execute(step).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        world.assert_exact(&VIEWS, step).await;
    }
    let store = "select from tidegate.view_counts";
    assert!(session.batch_execute(store).await.is_err(), "it may not read what is stored");
}

#[tokio::test]
async fn a_prepared_transaction_counts_when_it_is_committed() {
    let world = world().await;
    let session = world.session().await;
    let most: i32 = session
        .query_one("select current_setting('max_prepared_transactions')::integer", &[])
        .await
        .unwrap()
        .get(0);
    if most == 0 {
        eprintln!("SKIPPED: the server for tests has max_prepared_transactions = 0");
        return;
    }
    for change in [
        "insert into staff (id, department_id, whole) values (300, 1, 1)",
        "truncate regions cascade; insert into staff (id, whole) values (301, 1)",
        "update staff set whole = 7",
    ] {
        let name = uuid::Uuid::new_v4().simple().to_string();
        session.batch_execute(&format!("begin; {change}; prepare transaction '{name}'")).await.unwrap();
        session.batch_execute(&format!("commit prepared '{name}'")).await.unwrap();
        world.assert_exact(&VIEWS, change).await;
        session.batch_execute(&format!("begin; truncate staff; prepare transaction '{name}'")).await.unwrap();
        session.batch_execute(&format!("rollback prepared '{name}'")).await.unwrap();
        world.assert_exact(&VIEWS, "a rollback").await;
    }
}
