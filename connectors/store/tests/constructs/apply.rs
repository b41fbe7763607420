//! What a start does to the views that are there.

use tidegate_postgres::schema;
use tidegate_store::{leases, prepare};
use tidegate_testing::store::take_leases;
use tidegate_views::{Action, View, explain, upkeep};

use super::{MANIFEST, World, parsed};
use crate::sink::fixture::Fixture;

const WIDE: (&str, &str) =
    ("wide", "select department_id, tiny, count(*), sum(whole) from staff group by department_id, tiny");
const NARROW: (&str, &str) = ("narrow", "select tiny, count(*) from staff group by tiny");

async fn world(views: &[(&str, &str)]) -> World {
    let world = World::with(views).await;
    let fill = "insert into staff (id, department_id, tiny, whole) select i, i % 3 + 1, i % 2, i from generate_series(1, 9) as i";
    world.fixture.execute(fill).await;
    world
}

async fn steps(world: &World, views: &[(&str, &str)]) -> Vec<(String, Action)> {
    let steps = explain::explain(&world.fixture.sink, &parsed(views)).await.unwrap().1;
    steps.into_iter().map(|step| (step.view, step.action)).collect()
}

async fn stores(world: &World) -> Vec<String> {
    world.fixture.query("select name from tidegate.view_stores order by name").await
}

async fn fault(world: &World, views: &[(&str, &str)]) -> String {
    prepare::prepare(&world.fixture.sink, &parsed(views)).await.unwrap_err().to_string()
}

#[tokio::test]
async fn views_share_a_store_until_its_owner_goes() {
    let both = [NARROW, WIDE];
    let world = world(&both).await;
    assert_eq!(stores(&world).await, ["view_wide"]);
    world.assert_exact(&both, "rows").await;
    assert_eq!(
        steps(&world, &[NARROW]).await,
        [("narrow".into(), Action::Rebuild), ("wide".into(), Action::Drop)]
    );
    world.apply(&[NARROW]).await;
    assert_eq!(stores(&world).await, ["view_narrow"]);
    assert_eq!(world.fixture.query("select to_regclass('tidegate.view_wide')::text").await, ["null"]);
    world.fixture.execute("delete from staff where id < 4").await;
    world.assert_exact(&[NARROW], "the other went").await;
    world.apply(&both).await;
    world.fixture.execute("update staff set tiny = 7 where id = 5").await;
    world.assert_exact(&both, "it came back").await;
    world.apply(&[]).await;
    assert_eq!(stores(&world).await, Vec::<String>::new());
    let triggers = "select tgname from pg_trigger where tgrelid = 'staff'::regclass and not tgisinternal";
    assert_eq!(world.fixture.query(triggers).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_view_with_fewer_conditions_reads_no_store_of_another() {
    let views = [
        ("wide", "select tiny, department_id, count(*) from staff where whole > 0 and id < 6 group by 1, 2"),
        ("narrow", "select tiny, count(*) from staff where whole > 0 and whole > 0 group by tiny"),
    ];
    let world = world(&views).await;
    world.assert_exact(&views, "filling").await;
    assert_eq!(stores(&world).await, ["view_narrow", "view_wide"]);
}

#[tokio::test]
async fn what_only_reading_needs_is_exchanged_and_the_store_stays() {
    let world = world(&[WIDE]).await;
    world.fixture.execute("create table mark as select max(_change) as change from tidegate.view_wide").await;
    let (name, query) = WIDE;
    for (text, action) in [
        (format!("-- A comment.\n{query} -- another"), Action::Keep),
        (format!("{query} order by tiny"), Action::Replace),
        (format!("{query} having count(*) > 1 and sum(whole) > 3"), Action::Replace),
        (format!("{query}\nhaving count(*) > 1\norder by 3 desc, 1, 2"), Action::Replace),
        (query.to_owned(), Action::Replace),
    ] {
        let views = [(name, text.as_str())];
        assert_eq!(steps(&world, &views).await, [(name.to_owned(), action)], "{text}");
        world.apply(&views).await;
        world.assert_exact(&views, &text).await;
        assert_eq!(steps(&world, &views).await, [(name.to_owned(), Action::Keep)], "{text} a second time");
    }
    let same = "select max(_change) = (select change from mark) from tidegate.view_wide";
    assert_eq!(world.fixture.query(same).await, ["true"], "the store was filled anew");
}

#[tokio::test]
async fn triggers_that_were_disabled_or_dropped_are_noticed_and_the_store_is_filled_anew() {
    for harm in [
        "alter table staff disable trigger tidegate_insert",
        "alter table staff disable trigger all",
        "drop trigger tidegate_update on staff",
        "drop function tidegate.change_people cascade",
        "drop table tidegate.view_wide cascade",
    ] {
        let world = world(&[WIDE]).await;
        world.fixture.execute(harm).await;
        // Without the table of changes this fails, and nothing is written.
        let write = "insert into staff (id, tiny) values (100, 1); update staff set tiny = 5";
        let written = world.session().await.batch_execute(write).await;
        assert_eq!(written.is_err(), harm.starts_with("drop table"), "{harm}");
        assert!(!steps(&world, &[WIDE]).await.contains(&("wide".into(), Action::Keep)), "{harm}");
        world.apply(&[WIDE]).await;
        world.assert_exact(&[WIDE], harm).await;
        world
            .fixture
            .execute("insert into staff (id, tiny) values (101, 1); update staff set tiny = 6")
            .await;
        world.assert_exact(&[WIDE], &format!("a write behind {harm}")).await;
    }
}

#[tokio::test]
async fn a_fault_names_view_and_line_and_leaves_everything_as_it_was() {
    let world = world(&[WIDE]).await;
    for (text, message) in [
        (
            "-- about\nselect tiny,\n    count(nothing)\nfrom staff group by 1",
            "view 'bad', line 3: column \"nothing\" does not exist",
        ),
        (
            "select tiny, count(*) from nowhere group by 1",
            "view 'bad', line 1: relation \"nowhere\" does not exist",
        ),
        (
            "select tiny\n, whole, count(*) from staff group by 1",
            "view 'bad', line 2: column \"staff.whole\" must appear",
        ),
        (
            "select count(*), count(*) from staff",
            "view 'bad', line 1: column \"count\" specified more than once",
        ),
        ("select tiny,\n  count(* from staff", "view 'bad', line 2: syntax error at or near \"from\""),
    ] {
        let changed = ("wide", "select tiny, sum(big) from staff group by tiny");
        let error = fault(&world, &[("bad", text), changed, NARROW]).await;
        assert!(error.contains(message), "{error}\nlacks {message}");
        assert_eq!(stores(&world).await, ["view_wide"]);
        world.assert_exact(&[WIDE], text).await;
    }
    world.fixture.execute("delete from staff where id = 3").await;
    world.assert_exact(&[WIDE], "a write behind the faults").await;
}

#[tokio::test]
async fn a_view_named_as_a_table_is_refused() {
    let world = world(&[WIDE]).await;
    let error = fault(&world, &[("departments", "select tiny, count(*) from staff group by tiny")]).await;
    assert!(error.contains("view 'departments' cannot be made: there is a table departments"), "{error}");
    let error =
        fault(&world, &[("departments", "select grade, count(*) from departments group by grade")]).await;
    assert!(error.contains("view 'departments' reads 'departments'; break the circle"), "{error}");
    world.assert_exact(&[WIDE], "the refusals").await;
}

#[tokio::test]
async fn a_row_for_which_an_expression_fails_is_refused_when_filling_and_when_writing() {
    let ratio = ("ratio", "select department_id, sum(100 / tiny) from staff group by department_id");
    let world = world(&[WIDE]).await;
    let error = fault(&world, &[WIDE, ratio]).await;
    assert!(
        error.contains("the store view_ratio cannot be filled") && error.contains("division by zero"),
        "{error}"
    );
    world.assert_exact(&[WIDE], "the refusal").await;
    world.fixture.execute("update staff set tiny = 1 where tiny = 0").await;
    world.apply(&[WIDE, ratio]).await;
    world.assert_exact(&[WIDE, ratio], "filling").await;
    let session = world.session().await;
    let error = session.batch_execute("insert into staff (id, tiny) values (100, 0)").await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "division by zero");
    assert!(error.where_().unwrap().contains("PL/pgSQL function tidegate.change_people()"), "{error:?}");
    world.assert_exact(&[WIDE, ratio], "a write that failed").await;
}

#[tokio::test]
async fn a_view_that_changes_its_kind_or_columns_is_made_anew() {
    let world = world(&[WIDE]).await;
    for text in [
        "select tiny, string_agg(id::text, ',' order by id) from staff group by tiny",
        "select tiny, count(*), sum(big) from staff group by tiny",
        "-- refresh: 1h\nselect tiny, count(*) from staff group by tiny",
        "select tiny::text as tiny, max(id) from staff group by tiny",
    ] {
        let views = [("wide", text)];
        world.apply(&views).await;
        world.assert_exact(&views, text).await;
    }
    assert!(View::parse("wide", "select 1; select 2").is_err());
}

#[tokio::test]
async fn a_store_whose_description_cannot_be_read_is_made_anew() {
    let world = world(&[WIDE]).await;
    world.fixture.execute("update tidegate.view_stores set spec = '{\"later\": true}'").await;
    assert_eq!(steps(&world, &[WIDE]).await, [("wide".into(), Action::Rebuild)]);
    world.apply(&[WIDE]).await;
    world.fixture.execute("delete from staff where id < 4").await;
    world.assert_exact(&[WIDE], "it was made anew").await;
    assert_eq!(stores(&world).await, ["view_wide_2"]);
    // The last view of the table goes along with it: nobody is to write to a store that is gone.
    world.fixture.execute("update tidegate.view_stores set spec = '{\"later\": true}'").await;
    world.apply(&[]).await;
    world.fixture.execute("delete from staff where id < 7").await;
}

#[tokio::test]
async fn views_follow_a_table_that_takes_the_place_of_another() {
    let views = [
        (
            "joined",
            "select region, count(*) from departments as d join regions r on r.id = d.region_id group by 1",
        ),
        ("layered", "select upper(region) as region, count from joined"),
        ("refreshed", "select string_agg(region, ',' order by id) as regions from regions"),
    ];
    let world = world(&views).await;
    world
        .fixture
        .execute(
            "begin; alter table regions rename to regions_old; create table regions (like regions_old including all); \
             insert into regions select id, region || '!', _source, _line from regions_old; \
             alter table departments drop constraint departments_region_id_fkey; \
             alter table departments add foreign key (region_id) references regions; commit",
        )
        .await;
    let planned = steps(&world, &views).await;
    assert_eq!(
        planned,
        [
            ("joined".into(), Action::Replace),
            ("layered".into(), Action::Keep),
            ("refreshed".into(), Action::Rebuild)
        ]
    );
    world.apply(&views).await;
    world.assert_exact(&views, "the exchange").await;
    assert!(steps(&world, &views).await.iter().all(|(_, action)| *action == Action::Keep));
    world.fixture.execute("drop table regions_old").await;
}

#[tokio::test]
async fn a_layered_view_of_all_columns_has_those_that_come() {
    let views =
        [WIDE, ("layered", "select d.*, count from departments d join wide on wide.department_id = d.id")];
    let world = world(&views).await;
    world.fixture.execute("alter table departments add column note text default 'new'").await;
    world.apply(&views).await;
    world.assert_columns(&views).await;
    world.assert_exact(&views, "a new column").await;
}

#[tokio::test]
async fn a_changed_collation_is_applied() {
    let world = world(&[("v", "select name, count(*) from staff group by name")]).await;
    let views = [("v", "select name collate \"C\" as name, count(*) from staff group by 1")];
    world.apply(&views).await;
    world.assert_exact(&views, "it").await;
    assert_eq!(steps(&world, &views).await, [("v".into(), Action::Keep)]);
}

#[tokio::test]
async fn a_view_that_somebody_else_has_made_is_left_alone() {
    let world = world(&[WIDE]).await;
    world
        .fixture
        .execute("create view own as select tiny, count(*) from staff where id > 1 group by tiny")
        .await;
    let error = fault(&world, &[WIDE, ("own", NARROW.1)]).await;
    assert!(error.contains("view 'own' cannot be made: there is a view own, which no file"), "{error}");
}

#[tokio::test]
async fn a_view_that_was_renamed_is_said_to_be_in_the_way_and_dropped_along_when_asked_to() {
    let world = world(&[WIDE]).await;
    world.fixture.execute("alter view wide rename to kept").await;
    world.apply(&[WIDE]).await;
    let changed = [("wide", "select tiny, sum(big) from staff group by tiny")];
    let error = fault(&world, &changed).await;
    for part in ["the store view_wide has to be dropped", "view kept depends on", "view apply --cascade"] {
        assert!(error.contains(part), "{error}");
    }
    world.assert_exact(&[WIDE], "the refusal").await;
    prepare::apply_views(&world.fixture.sink, &parsed(&changed), true).await.unwrap();
    world.assert_exact(&changed, "the cascade").await;
}

#[tokio::test]
async fn a_refreshed_view_whose_rows_do_not_fit_its_index_is_refreshed_without() {
    let views = [("refreshed", "select distinct name, tiny from staff")];
    let world = world(&views).await;
    assert!(upkeep::refresh(&world.fixture.sink, "refreshed").await.unwrap().concurrently);
    let long = "update staff set name = (select string_agg(md5(i::text), '') from generate_series(1, 400) as i) where id = 3";
    world.fixture.execute(long).await;
    assert!(!upkeep::refresh(&world.fixture.sink, "refreshed").await.unwrap().concurrently);
    world.assert_exact(&views, "a long text").await;
}

#[tokio::test]
async fn a_refreshed_view_is_refreshed_whatever_its_index_and_its_rows() {
    let views = [("refreshed", "select tiny, unnest(tags) as tag from staff group by 1, 2")];
    let world = world(&views).await;
    let same = "update staff set tiny = 1, tags = array[null, 'x', 'x'] where id = 3";
    world.fixture.execute(same).await;
    upkeep::refresh(&world.fixture.sink, "refreshed").await.unwrap();
    world.assert_exact(&views, "rows of the same values").await;
    let views = [("refreshed", "select distinct name, tiny from staff")];
    world.apply(&views).await;
    world.fixture.execute("refresh materialized view refreshed with no data").await;
    upkeep::refresh(&world.fixture.sink, "refreshed").await.unwrap();
    world.assert_exact(&views, "it was empty").await;
}

#[tokio::test]
async fn a_refreshed_view_with_types_of_other_modifiers_is_kept() {
    let views = [(
        "refreshed",
        "select string_agg(tiny::text, ''), case when true then code else name end as what from staff group by 2",
    )];
    let world = world(&views).await;
    assert_eq!(steps(&world, &views).await, [("refreshed".into(), Action::Keep)]);
}

#[tokio::test]
async fn views_move_to_the_schema_that_the_manifest_says() {
    let views =
        [WIDE, ("layered", "select tiny from wide"), ("refreshed", "select distinct tiny from staff")];
    let world = world(&views).await;
    world.fixture.execute("create schema app").await;
    leases::release(&world.fixture.sink).await.unwrap();
    let manifest = MANIFEST
        .replace("pipeline: constructs", "pipeline: constructs\nschema: app")
        .replace("  regions:\n", "  regions:\n    table: public.regions\n")
        .replace("  departments:\n", "  departments:\n    table: public.departments\n");
    let world = World { fixture: Fixture::unprepared(&world.url, &manifest).await, url: world.url };
    schema::migrate(&world.fixture.sink).await.unwrap();
    take_leases(&world.fixture.sink).await;
    world.apply(&views).await;
    let there = "select relnamespace::regnamespace || '.' || relname from pg_class \
                 where relname in ('wide', 'layered', 'refreshed') order by relname";
    assert_eq!(world.fixture.query(there).await, ["app.layered", "app.refreshed", "app.wide"]);
    assert!(steps(&world, &views).await.iter().all(|(_, action)| *action == Action::Keep));
    world.fixture.execute("set search_path = app, public, hr; delete from staff where id = 3").await;
    world.assert_exact(&views[..2], "the move").await;
}
