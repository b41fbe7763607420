//! Every construct outside the incremental class: it works all the same, and the message names it and its line.

use tidegate_views::{ViewKind, upkeep};

use super::{PARENTS, World, borrowed, cases};

const OTHERS: &str = "
create table strange (id integer);
create function steady(integer) returns integer language plpgsql stable as 'begin return $1; end';
create function wild(integer) returns integer language plpgsql volatile as 'begin return $1; end';
create function times(bigint, smallint) returns bigint language sql immutable as 'select $1 * $2';
create aggregate product(smallint) (sfunc = times, stype = bigint, initcond = '1');
create aggregate hr.sum(smallint) (sfunc = times, stype = bigint, initcond = '1');
insert into staff (id, name, department_id, second_id, tiny, whole, flag, approx, single, span, tags, moment, day, data)
select i, 'n' || i, nullif(i % 4, 0), nullif(i % 3, 0), i % 3 + 1, i, i % 2 = 0, i, i, i * interval '1 hour', array['a', 'b' || i % 2],
    timestamptz '2020-01-01 00:00+00' + i * interval '1 day', date '2020-01-01' + i, '{}'
from generate_series(1, 12) as i;
";

#[tokio::test]
async fn every_construct_outside_the_class_is_refreshed_and_its_message_names_it_and_its_line() {
    let cases: Vec<(String, String)> = cases(include_str!("outside.sql"));
    let (mut views, mut messages) = (Vec::new(), Vec::new());
    for (name, text) in &cases {
        let (text, message) = text.split_once("\n--> ").unwrap_or_else(|| panic!("{name} has no message"));
        views.push((name.clone(), text.to_owned()));
        messages.push(message);
    }
    let views = borrowed(&views);
    let world = World::new().await;
    world.fixture.execute(PARENTS).await;
    world.fixture.execute(OTHERS).await;
    let mut wrong = Vec::new();
    let explained = world.explained(&views).await;
    for ((name, _), message) in views.iter().zip(messages) {
        let reason = explained[*name].reason.clone().unwrap_or_default();
        if explained[*name].kind != ViewKind::Refreshed || !reason.starts_with(message) {
            wrong.push(format!("{name}: {:?}\n  said   {reason}\n  wanted {message}", explained[*name].kind));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.apply(&views).await;
    world.assert_exact(&views, "making them").await;
    world.fixture.execute("delete from staff where id > 9; update departments set grade = grade + 1").await;
    for (name, _) in &views {
        upkeep::refresh(&world.fixture.sink, name).await.unwrap();
    }
    world.assert_exact(&views, "a refresh").await;
}

#[tokio::test]
async fn a_table_with_parts_is_not_kept_by_changes_to_the_whole() {
    let world = World::new().await;
    world.fixture.execute("create table hr.part () inherits (hr.staff)").await;
    let views = [("v", "select tiny, count(*)\nfrom staff\ngroup by tiny")];
    let explained = world.explained(&views).await;
    let reason = explained["v"].reason.clone().unwrap();
    assert!(reason.starts_with("line 2: 'staff' has partitions or tables that inherit from it"), "{reason}");
}

#[tokio::test]
async fn a_query_of_very_many_words_is_refreshed() {
    let world = World::new().await;
    let long =
        format!("-- long\nselect count(*) filter (where tiny in ({}1)) from staff", "1, ".repeat(1100));
    let views = [("v", long.as_str())];
    world.apply(&views).await;
    let reason = world.explained(&views).await["v"].reason.clone().unwrap();
    assert_eq!(reason, "line 2: the query has more than 2000 words and signs");
    world.assert_exact(&views, "making it").await;
}
