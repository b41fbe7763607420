//! A transform that sends everything two or three times, as Arroyo does when a worker dies.

use tidegate_core::record::Batch;
use tidegate_topics::embedded::EmbeddedOptions;
use tidegate_topics::{Durability, Embedded, Topics};

use crate::company;
use crate::home::Home;

/// All that is in the database, with the transaction that wrote each row and the place where it stands; but for what
/// tells how far the topics were read and who reads them, and what each start writes down anew of the views' making.
async fn everything(home: &Home) -> Vec<String> {
    let tables = home
        .query(
            "select format('%I.%I', schemaname, tablename) from pg_tables \
             where schemaname not in ('pg_catalog', 'information_schema') \
             and not (schemaname = 'tidegate' and tablename in ('offsets', 'leases', 'views', 'view_stores')) \
             order by 1",
        )
        .await;
    for expected in [
        "tidegate.ledger",
        "tidegate.dead_letters",
        "tidegate.sources",
        "public.hired_employees",
        "tidegate.view_hires_by_quarter",
    ] {
        assert!(tables.iter().any(|table| table == expected), "no {expected} in {tables:?}");
    }
    let mut all = company::state(home).await;
    for table in tables {
        all.push(format!("== {table}"));
        all.extend(home.query(&format!("select ctid, xmin, r::text from {table} as r order by ctid")).await);
    }
    all
}

/// The partitions that the sink reads, with the offset at which it goes on.
async fn outputs(home: &Home) -> Vec<(String, u32, u64)> {
    let offsets = "select topic, partition, next from tidegate.offsets where reader = 'sink' order by 1, 2";
    let rows = home.query(offsets).await;
    let parse = |row: &String| {
        let fields: Vec<&str> = row.split('|').collect();
        (fields[0].to_owned(), fields[1].parse().unwrap(), fields[2].parse().unwrap())
    };
    rows.iter().map(parse).collect()
}

/// The batches of a partition, in order.
async fn batches(topics: &Embedded, topic: &str, partition: u32) -> Vec<Batch> {
    let mut next = topics.start(topic, partition).await.unwrap();
    assert_eq!(next, 0, "{topic}: something was dropped, and cannot be sent again");
    let mut batches = Vec::new();
    while let Some(fetched) = topics.read(topic, partition, next).await.unwrap() {
        next = fetched.next;
        batches.push(fetched.batch);
    }
    batches
}

/// Appends all that the sink has read once more, as often as there are ways, each the batches forth or back. Gives how
/// many records were appended.
async fn send_again(home: &Home, ways: &[Way]) -> u64 {
    let topics = Embedded::open(&home.path(".tidegate/topics"), EmbeddedOptions::default()).unwrap();
    let mut appended = 0;
    for (topic, partition, _) in outputs(home).await {
        let mut sent = batches(&topics, &topic, partition).await;
        // Or there would be no order to turn around.
        assert!(sent.len() > 1 || !topic.contains("hired"), "{topic} holds a single batch");
        for way in ways {
            if *way == Way::Back {
                sent.reverse();
            }
            for batch in &sent {
                topics.append(&topic, partition, batch, Durability::Buffered).await.unwrap();
                appended += batch.len() as u64;
            }
        }
    }
    appended
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Forth,
    Back,
}

#[tokio::test]
async fn what_a_transform_sends_two_or_three_times_changes_nothing() {
    let home = company::embedded(company::MANIFEST).await;
    company::drop_example(&home);
    home.ingest().await;
    // Rows that newer lines replace, and waiting lines that are healed: what comes again is older than they are.
    let employees = company::file("hired_employees");
    let newer: Vec<String> =
        employees.lines().step_by(3).map(|line| line.replacen(',', ",New ", 1) + "\n").collect();
    home.drop("hired_employees-newer.csv", newer.concat());
    home.drop("departments-late.csv", "99,Late\n1,Renamed\n");
    home.ingest().await;
    let healed = "select count(*) from tidegate.dead_letters where status = 'healed'";
    assert!(home.count(healed).await > 0, "nothing was healed");
    home.ingest().await; // upkeep that was left over
    let before = everything(&home).await;
    let read: u64 = outputs(&home).await.iter().map(|(_, _, next)| next).sum();

    let appended = send_again(&home, &[Way::Forth, Way::Forth]).await;
    assert_eq!(appended, 2 * read, "all was sent twice more");
    home.ingest().await;
    company::assert_same("all sent three times", &everything(&home).await, &before);

    let again = send_again(&home, &[Way::Back]).await;
    assert_eq!(again, 3 * read, "all that stands there was sent once more");
    home.ingest().await;
    company::assert_same("all sent backwards", &everything(&home).await, &before);

    let delivered: u64 = outputs(&home).await.iter().map(|(_, _, next)| next).sum();
    assert_eq!(delivered, read + appended + again, "the sink has read all of it");
    company::assert_accounted(&home).await;
    home.run("verify --deep").await.succeeded();
}
