//! The manifest changes while lines wait, or are half in: each line is read by the names that its columns had when it
//! came, never by place.

use tidegate_core::failpoint::Failpoint;

use crate::home::{Home, Outcome, Running, until};
use crate::http::{HTTP, Service};

/// Children that wait for a parent; `{columns}` are those besides `id` and `p_id`, and `{csv}` how they are written.
fn manifest(csv: &str, columns: &[&str]) -> String {
    let columns: String = columns.iter().map(|column| format!("      {column}\n")).collect();
    format!(
        "pipeline: c
stable_for: 0s
datasets:
  p: {{key: id, columns: {{id: integer, name: text}}}}
  k:
    key: id
    csv: {{{csv}}}
    columns:
      id: integer
      p_id: {{type: integer, references: p}}
{columns}"
    )
}

const A: &str = "a: {type: text, optional: true}";
const B: &str = "b: {type: text, optional: true}";
const C: &str = "c: {type: text, optional: true}";
const HEADER: &str = "header: true";

fn change(home: &Home, manifest: &str) {
    std::fs::write(home.path("tidegate.yaml"), manifest).unwrap();
}

/// A home in which the lines of `k.csv` wait.
async fn waiting(manifest: &str, lines: &str) -> Home {
    let home = Home::embedded(manifest).await;
    home.drop("k.csv", lines);
    home.ingest().await;
    assert_eq!(statuses(&home).await, ["waiting"]);
    home
}

async fn statuses(home: &Home) -> Vec<String> {
    home.query("select distinct status from tidegate.dead_letters order by 1").await
}

async fn letters(home: &Home, arguments: &[&str]) -> Outcome {
    Running::start(home.command(["dead-letters"].iter().chain(arguments))).ended().await
}

async fn rows(home: &Home, columns: &str) -> Vec<String> {
    home.query(&format!("select concat_ws('|', {columns}) from k order by id")).await
}

/// The audit finds nothing wrong.
async fn is_sound(home: &Home) {
    let report = home.run("verify --deep").await.succeeded();
    assert!(!report.stdout.contains("changed by others"), "{}", report.stdout);
}

/// The parent comes, and with it the run that heals.
async fn heal(home: &Home) {
    home.drop("p.csv", "1,Ann\n");
    home.ingest().await;
}

#[tokio::test]
async fn a_waiting_line_heals_by_the_names_of_its_columns_after_they_changed_places() {
    let home = waiting(&manifest(HEADER, &[A, B]), "id,p_id,a,b\n10,1,aaa,bbb\n").await;
    change(&home, &manifest(HEADER, &[B, A]));
    heal(&home).await;
    assert_eq!(rows(&home, "id, p_id, a, b").await, ["10|1|aaa|bbb"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_waiting_line_heals_after_an_optional_column_came_and_gets_its_default() {
    let home = waiting(&manifest(HEADER, &[A, B]), "id,p_id,a,b\n10,1,aaa,bbb\n11,1,ccc,\n").await;
    change(&home, &manifest(HEADER, &[C, A, B]));
    home.query("alter table k add c text").await;
    heal(&home).await;
    assert_eq!(
        rows(&home, "id, p_id, a, coalesce(b, '-'), coalesce(c, '-')").await,
        ["10|1|aaa|bbb|-", "11|1|ccc|-|-"]
    );
    is_sound(&home).await;
    let home = waiting(&manifest("header: false", &[A, B]), "10,1,aaa,bbb\n").await;
    change(&home, &manifest("header: false", &[C, A, B]));
    home.query("alter table k add c text default 'filled in'").await;
    heal(&home).await;
    assert_eq!(rows(&home, "id, p_id, a, b, c").await, ["10|1|aaa|bbb|filled in"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_renamed_column_is_another_one_and_what_the_old_one_held_is_left_out_and_said() {
    let fax = "fax: {type: text, optional: true}";
    let home = waiting(&manifest(HEADER, &[fax]), "id,p_id,fax\n10,1,111\n").await;
    change(&home, &manifest(HEADER, &["mobile: {type: text, optional: true}"]));
    home.query("alter table k add mobile text").await;
    home.drop("p.csv", "1,Ann\n");
    home.ingest().await.saying(&["values of columns that the manifest does not have any more were left out"]);
    assert_eq!(rows(&home, "id, p_id, coalesce(fax, '-'), coalesce(mobile, '-')").await, ["10|1|-|-"]);
    let shown = letters(&home, &["show", "1:1"]).await.succeeded().stdout;
    assert!(shown.contains("fax") && shown.contains("111"), "{shown}");
    let story = home.run("trace 1:1").await.succeeded().stdout;
    assert!(story.contains("left out: fax"), "{story}");
    is_sound(&home).await;
}

#[tokio::test]
async fn a_required_column_that_came_is_a_missing_value_until_the_line_is_edited() {
    let home = waiting(&manifest(HEADER, &[A]), "id,p_id,a\n10,1,aaa\n").await;
    change(&home, &manifest(HEADER, &["a: {type: text, optional: true}", "n: integer"]));
    home.query("alter table k add n integer not null").await;
    heal(&home).await;
    let found = &home.dead_letters().await[0];
    assert_eq!((&found["code"], &found["column"]), (&"missing_value".into(), &"n".into()), "{found}");
    is_sound(&home).await;
    // An edited line is in the columns of today.
    letters(&home, &["replay", "1:1", "--line", "10,1,new,7"]).await.succeeded();
    assert_eq!(rows(&home, "id, p_id, a, n").await, ["10|1|new|7"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn lines_of_several_shapes_and_dialects_heal_together() {
    let comma = manifest("header: false", &[A, B]);
    let home = waiting(&comma, "10,1,\"a;,\"\"x\",bbb\n").await;
    change(&home, &manifest("header: false, delimiter: ';', null: NA", &[B, A]));
    home.drop("k2.csv", "11;1;NA;aaa\n12;1;\"NA\";a,b\n");
    home.ingest().await;
    change(&home, &manifest("header: true, delimiter: '|', quote: \"'\", null: '-'", &[C, B, A]));
    home.query("alter table k add c text").await;
    home.drop("k3.csv", "a|id|p_id|b|c\n-|13|1|NA|'-'\n");
    heal(&home).await;
    let expected = ["10|1|a;,\"x|bbb|null", "11|1|aaa|null|null", "12|1|a,b|NA|null", "13|1|null|NA|-"];
    let columns = "id, p_id, coalesce(a, 'null'), coalesce(b, 'null'), coalesce(c, 'null')";
    assert_eq!(rows(&home, columns).await, expected);
    assert_eq!(statuses(&home).await, ["healed"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn lines_of_their_own_dataset_heal_after_its_columns_changed_places() {
    let before = "pipeline: c
stable_for: 0s
datasets:
  k:
    key: id
    columns: {id: integer, boss: {type: integer, references: k, optional: true}, a: {type: text, optional: true}}
";
    let home = Home::embedded(before).await;
    home.drop("k.csv", "10,11,a10\n11,12,a11\n");
    home.ingest().await;
    change(&home, &before.replace(
        "columns: {id: integer, boss: {type: integer, references: k, optional: true}, a: {type: text, optional: true}}",
        "columns: {a: {type: text, optional: true}, n: {type: integer, optional: true}, boss: {type: integer, references: k, optional: true}, id: integer}",
    ));
    home.query("alter table k add n integer").await;
    home.drop("k2.csv", "a12,5,,12\n");
    home.ingest().await;
    assert_eq!(rows(&home, "id, boss, a, n").await, ["10|11|a10", "11|12|a11", "12|a12|5"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_bulk_replay_and_an_export_after_a_change_go_by_names() {
    let strict = "a: {type: text, optional: true, min_length: 3}";
    let home = Home::embedded(&manifest("header: false", &[strict, B])).await;
    home.drop("p.csv", "1,Ann\n");
    home.drop("k.csv", "10,1,aa,b10\n11,1,aaa,b11\n12,1,a,b12\n13,1,x\n");
    home.ingest().await;
    change(&home, &manifest("header: false, delimiter: ';'", &[B, C, A]));
    home.query("alter table k add c text").await;
    let csv = letters(&home, &["export", "--format", "csv"]).await.succeeded().stdout;
    assert!(
        csv.lines().all(|line| line.contains(",\"id,p_id,a,b\",\",\"") || line.starts_with("source")),
        "{csv}"
    );
    let line = letters(&home, &["export", "--limit", "1"]).await.succeeded().json();
    assert_eq!((&line["text"], &line["text_delimiter"]), (&"10,1,aa,b10".into(), &",".into()));
    assert_eq!(line["text_columns"], serde_json::json!(["id", "p_id", "a", "b"]));
    letters(&home, &["replay", "--all"]).await.succeeded();
    assert_eq!(rows(&home, "id, p_id, a, b").await, ["10|1|aa|b10", "11|1|aaa|b11", "12|1|a|b12"]);
    let left = home.run("dead-letters list --status rejected --format json").await.succeeded().rows();
    let left = &left[0];
    assert_eq!((&left["line"], &left["code"]), (&4.into(), &"wrong_column_count".into()), "{left}");
    is_sound(&home).await;
}

#[tokio::test]
async fn a_line_that_was_edited_before_a_change_keeps_the_columns_that_it_was_edited_in() {
    let home = Home::embedded(&manifest("header: false", &[A, B])).await;
    home.drop("k.csv", "x,1,aaa,bbb\n");
    home.ingest().await;
    // It lacks its parent still.
    letters(&home, &["replay", "1:1", "--line", "10,1,ccc,ddd"]).await.succeeded();
    assert_eq!(statuses(&home).await, ["waiting"]);
    change(&home, &manifest("header: false", &[B, A]));
    heal(&home).await;
    assert_eq!(rows(&home, "id, p_id, a, b").await, ["10|1|ccc|ddd"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_column_that_changed_its_type_or_is_dropped_is_no_false_alarm() {
    let number = "a: {type: integer, optional: true}";
    let home = Home::embedded(&manifest("header: false", &[number, B])).await;
    home.drop("p.csv", "1,Ann\n");
    home.drop("k.csv", "10,1,5,b10\n11,1,x,b11\n12,2,7,b12\n");
    home.ingest().await;
    // What an integer was not is a text, and the other column is gone.
    change(&home, &manifest("header: false", &[A]));
    home.query("alter table k alter a type text").await;
    is_sound(&home).await;
    home.drop("p2.csv", "2,Bea\n");
    home.ingest().await;
    letters(&home, &["replay", "--all"]).await.succeeded();
    assert_eq!(rows(&home, "id, p_id, a, b").await, ["10|1|5|b10", "11|1|x", "12|2|7"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_reference_that_is_none_any_more_keeps_no_line_waiting() {
    let home = waiting(&manifest(HEADER, &[A]), "id,p_id,a\n10,1,aaa\n").await;
    change(&home, &manifest(HEADER, &[A]).replace("{type: integer, references: p}", "integer"));
    home.query("alter table k drop constraint k_p_id_fkey").await;
    home.ingest().await;
    assert_eq!(
        (rows(&home, "id, p_id, a").await, statuses(&home).await),
        (vec!["10|1|aaa".to_owned()], vec!["healed".to_owned()])
    );
    is_sound(&home).await;
}

#[tokio::test]
async fn all_files_of_done_are_sound_after_columns_came_went_and_changed_places() {
    for csv in ["header: false", HEADER] {
        let home = Home::embedded(&manifest(csv, &[A, B])).await;
        home.drop("p.csv", "1,Ann\n");
        let header = if csv == HEADER { "id,p_id,a,b\n" } else { "" };
        let lines: String = (1..=2000).map(|id| format!("{id},1,a{id},b{id}\n")).collect();
        home.drop("k.csv", format!("{header}{lines}x,1,a,b\n"));
        home.ingest().await;
        home.query(
            "alter table k add c text; alter table k rename a to d; alter table k add e text default 'e'",
        )
        .await;
        let d = "d: {type: text, optional: true}";
        let e = "e: {type: text, optional: true}";
        for columns in [vec![C, d, B, e], vec![B, d], vec![d], vec![e, d, C, B]] {
            change(&home, &manifest(csv, &columns));
            is_sound(&home).await;
        }
    }
}

/// Leaves source 2 as a process that was killed does: the ledger lacks lines, and it is not complete.
async fn leave_half_in(home: &Home) {
    home.query(
        "delete from tidegate.ledger where source = 2; delete from k where id > 1000; \
         update tidegate.sources set completed_at = null where source = 2",
    )
    .await;
}

#[tokio::test]
async fn a_file_that_is_half_in_when_its_columns_change_goes_on_by_its_own() {
    for csv in ["header: false", HEADER] {
        let home = Home::embedded(&manifest(csv, &[A, B])).await;
        home.drop("p.csv", "1,Ann\n");
        let header = if csv == HEADER { "id,p_id,a,b\n" } else { "" };
        let lines: String = (1..=3000).map(|id| format!("{id},1,a{id},b{id}\n")).collect();
        home.drop("k.csv", format!("{header}{lines}"));
        home.ingest().await;
        leave_half_in(&home).await;
        let done = home.path("landing/done/2-k.csv");
        std::fs::rename(done, home.path("landing/k.csv")).unwrap();
        std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
        change(&home, &manifest(csv, &[C, B, A]));
        home.query("alter table k add c text").await;
        home.ingest().await;
        let wrong = "select count(*) from k where a <> 'a' || id or b <> 'b' || id or c is not null";
        assert_eq!(home.query(wrong).await, ["0"], "{csv}");
        assert_eq!(home.query("select count(*) from k").await, ["3000"], "{csv}");
        is_sound(&home).await;
    }
}

#[tokio::test]
async fn a_file_that_is_half_in_when_a_column_goes_says_what_is_left_out_and_one_that_is_gone_is_missed() {
    let home = Home::embedded(&manifest("header: false", &[A, B])).await;
    home.drop("p.csv", "1,Ann\n");
    home.drop("k.csv", (1..=3000).map(|id| format!("{id},1,a{id},b{id}\n")).collect::<String>());
    home.ingest().await;
    leave_half_in(&home).await;
    let (done, landing) = (home.path("landing/done/2-k.csv"), home.path("landing/k.csv"));
    std::fs::rename(&done, home.path("aside")).unwrap();
    std::fs::remove_dir_all(home.path(".tidegate")).unwrap();
    change(&home, &manifest("header: false", &[A]));
    home.run("run --until-idle").await.failed_with(1).saying(&["source 2 'k.csv'", "their file is gone"]);
    std::fs::rename(home.path("aside"), landing).unwrap();
    home.ingest().await.saying(&[
        "values of columns that the manifest does not have any more are left out",
        "columns=\"b\"",
    ]);
    assert_eq!(home.query("select count(*), count(b) from k").await, ["3000|1000"]);
}

#[tokio::test]
async fn what_was_pushed_before_a_change_goes_on_by_its_own_columns() {
    let csv = |id: u32| format!("{id},1,a{id},b{id}\n");
    let json =
        |id: u32| serde_json::json!({"id": id, "p_id": 1, "a": format!("a{id}"), "b": format!("b{id}")});
    let bodies = [
        ("text/csv", (1..=500).map(csv).collect::<String>()),
        (
            "application/json",
            serde_json::json!({"rows": (1..=500).map(json).collect::<Vec<_>>()}).to_string(),
        ),
    ];
    let points = [
        Failpoint::SourceRegistered,
        Failpoint::SourceJournaled,
        Failpoint::RawAppended,
        Failpoint::AcceptedAppended,
        Failpoint::RowsWritten,
    ];
    for (point, (kind, body)) in points.iter().flat_map(|point| bodies.iter().map(move |body| (point, body)))
    {
        let home = Home::embedded(&format!("{HTTP}{}", manifest("header: false", &[A, B]))).await;
        home.drop("p.csv", "1,Ann\n");
        home.ingest().await;
        let mut service = Service::doomed(&home, *point).await;
        let _ = service.try_post("/v1/datasets/k/rows", kind, &[], body.clone()).await;
        until("it has ended", async || service.running.has_ended()).await;
        change(&home, &format!("{HTTP}{}", manifest("header: false", &[C, B, A])));
        home.query("alter table k add c text").await;
        let service = Service::start(&home).await;
        until("all is in", async || home.count("select count(*) from k").await == 500).await;
        service.stop().await;
        let wrong = "select count(*) from k where a <> 'a' || id or b <> 'b' || id or c is not null";
        assert_eq!(home.query(wrong).await, ["0"], "{kind} {point:?}");
        is_sound(&home).await;
    }
}

#[tokio::test]
async fn a_header_without_an_optional_column_is_refused_with_the_setting_that_allows_it() {
    let phones = |more: &str| {
        format!(
            "pipeline: c
stable_for: 0s
datasets:
  t:
    key: id
    csv: {{header: true{more}}}
    columns: {{id: integer, phone: {{type: text, optional: true}}, price: {{type: integer, optional: true}}}}
"
        )
    };
    let home = Home::embedded(&phones("")).await;
    home.drop("t1.csv", "id,phone,price\n1,555,10\n");
    home.ingest().await;
    home.drop("t2.csv", "id,price\n1,12\n");
    home.run("run --until-idle").await.failed_with(4).saying(&["t2.csv", "'phone'", "columns_absent: null"]);
    let held = "select concat_ws('|', id, coalesce(phone, 'null'), price) from t order by id";
    assert_eq!(home.query(held).await, ["1|555|10"]);
    // Allowed, the column becomes null in the row that is there.
    std::fs::write(home.path("tidegate.yaml"), phones(", columns_absent: null")).unwrap();
    home.ingest().await;
    assert_eq!(home.query(held).await, ["1|null|12"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn a_row_that_is_inserted_gets_the_tables_default_where_its_file_has_no_such_column() {
    let manifest = "pipeline: c
stable_for: 0s
datasets:
  p: {key: id, columns: {id: integer}}
  t:
    key: id
    csv: {header: true, columns_absent: null}
    columns:
      id: integer
      name: {type: text, optional: true}
      country: {type: text, optional: true}
      p_id: {type: integer, optional: true, references: p}
";
    let home = Home::embedded(manifest).await;
    home.query(
        "create table p (id int primary key, _source bigint not null default -1, _line bigint not null default -1); \
         create table t (id int primary key, name text, country text default 'CO', p_id int references p, \
         _source bigint not null default -1, _line bigint not null default -1)",
    )
    .await;
    home.drop("t1.csv", "id,name,country\n1,Ann,\n2,Bo,AR\n");
    home.drop("t2.csv", "id,name\n2,Bob\n3,Cy\nx,Dan\n");
    home.drop("t3.csv", "p_id,id\n9,4\n");
    home.ingest().await;
    let held = "select concat_ws('|', id, coalesce(name, '-'), coalesce(country, '-')) from t order by id";
    assert_eq!(home.query(held).await, ["1|Ann|-", "2|Bob|-", "3|Cy|CO"]);
    // So it does when it heals, or is replayed; unless the value was given with the edit.
    home.drop("p.csv", "9\n");
    home.ingest().await;
    letters(&home, &["replay", "2:3", "--line", "5,Dan,PE,"]).await.succeeded();
    assert_eq!(home.query(held).await, ["1|Ann|-", "2|Bob|-", "3|Cy|CO", "4|-|CO", "5|Dan|PE"]);
    is_sound(&home).await;
}

#[tokio::test]
async fn what_entered_before_there_were_shapes_gets_that_of_the_manifest_of_the_next_start() {
    let home = waiting(&manifest(HEADER, &[A, B]), "id,p_id,a,b\n10,1,aaa,bbb\n").await;
    home.query("update tidegate.sources set shape = null; update tidegate.dead_letters set shape = null")
        .await;
    home.ingest().await;
    change(&home, &manifest(HEADER, &[B, A]));
    heal(&home).await;
    assert_eq!(rows(&home, "id, p_id, a, b").await, ["10|1|aaa|bbb"]);
    assert_eq!(home.query("select count(*) from tidegate.sources where shape is null").await, ["0"]);
    is_sound(&home).await;
}
