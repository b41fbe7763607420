//! The rows of a view, as they are asked for: filters, order, pages, and what does not fit.

use std::time::Duration;

use tidegate_store::prepare;
use tidegate_views::{OrderBy, ReadError, RowPage, RowQuery, View, explain, read};

use super::fixture::Fixture;

const THINGS: &str = "\
pipeline: p
datasets:
  things:
    key: id
    columns:
      id: integer
      name: {type: text, optional: true}
      amount: \"numeric(30,2)\"
      at: timestamptz
      flag: boolean
      uid: uuid
";

/// Four rows; a view with a name, and columns, that have to be quoted in SQL.
async fn things() -> Fixture {
    let fixture = Fixture::new(THINGS).await;
    fixture
        .execute(
            "insert into things values \
             (1, 'b', 10.50, '2021-01-01', true, '00000000-0000-0000-0000-000000000001'), \
             (2, 'a', -1, '2021-02-01', false, '00000000-0000-0000-0000-000000000002'), \
             (3, null, 10.5, '2021-03-01', true, '00000000-0000-0000-0000-000000000003'), \
             (4, '=1+1', 12345678901234567890.12, '2021-01-01', false, '00000000-0000-0000-0000-000000000004')",
        )
        .await;
    let text = "-- refresh: 1h\nselect *, jsonb_build_object('id', id) as doc, to_json(id) as plain, \
                array[id, 7] as list, id as \"Odd \"\"name\", point(id, 0) as place from things";
    let views = [View::parse("select", text).unwrap()];
    prepare::prepare(&fixture.sink, &views).await.unwrap();
    fixture
}

fn where_(column: &str, value: &str) -> RowQuery {
    RowQuery { filters: vec![(column.to_owned(), value.to_owned())], ..RowQuery::default() }
}

fn by(order: &str) -> RowQuery {
    RowQuery {
        order: order.split(',').map(|column| column.parse().unwrap()).collect(),
        ..RowQuery::default()
    }
}

/// The first column of each row.
fn ids(page: &RowPage) -> String {
    page.rows.rows.iter().map(|row| row[0].as_deref().unwrap()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn a_filter_is_read_as_its_columns_type() {
    let fixture = things().await;
    for (column, value, expected) in [
        ("id", "2", "2"),
        ("id", " 02 ", "2"),
        ("name", "=1+1", "4"),
        ("name", "' or true --", ""),
        ("name", "", ""),
        ("amount", "10.5", "1 3"),
        ("amount", "1.05e1", "1 3"),
        ("at", "2021-01-01T01:00:00+01:00", "1 4"),
        ("flag", "true", "1 3"),
        ("uid", "00000000-0000-0000-0000-00000000000", ""),
        ("doc", "{\"id\": 3}", "3"),
        ("list", "{4,7}", "4"),
        ("Odd \"name", "3", "3"),
    ] {
        match read::rows(&fixture.sink, "select", &where_(column, value)).await {
            Ok(page) => assert_eq!(ids(&page), expected, "{column} = {value}"),
            Err(ReadError::Unfit { message, .. }) => {
                let expected = format!("'{value}' is no value of column '{column}', which is of type ");
                assert!(column == "uid" && message.starts_with(&expected), "{column} = {value}: {message}");
            }
            Err(error) => panic!("{column} = {value}: {error:?}"),
        }
    }
    let both = RowQuery {
        filters: vec![
            ("flag".into(), "true".into()),
            ("amount".into(), "10.5".into()),
            ("id".into(), "3".into()),
        ],
        ..RowQuery::default()
    };
    assert_eq!(ids(&read::rows(&fixture.sink, "select", &both).await.unwrap()), "3");
}

#[tokio::test]
async fn what_does_not_fit_a_view_is_told_apart_from_what_fails() {
    let fixture = things().await;
    let unfit = async |asked: &RowQuery| match read::rows(&fixture.sink, "select", asked).await {
        Err(ReadError::Unfit { column, message }) => format!("{column}: {message}"),
        other => panic!("{asked:?}: {other:?}"),
    };
    for (asked, expected) in [
        (where_("id", "two"), "id: 'two' is no value of column 'id', which is of type int4"),
        (where_("id", "99999999999"), "id: '99999999999' is no value of column 'id', which is of type int4"),
        (where_("name", "a\0b"), "name: 'a\\0b' is no value of column 'name', which is of type text"),
        (where_("at", "now then"), "at: 'now then' is no value of column 'at', which is of type timestamptz"),
        (where_("plain", "1"), "plain: column 'plain' is of type json, whose values are not compared"),
        (by("place"), "place: column 'place' is of type point, whose values are not compared"),
        (
            by("-nam"),
            "nam: view 'select' has no column 'nam'; it has: id, name, amount, at, flag, uid, _source, _line, doc, plain, list, Odd \"name, place",
        ),
    ] {
        assert_eq!(unfit(&asked).await, expected);
    }
    assert!(unfit(&where_("id; drop table things", "1")).await.contains("has no column"));
    match read::rows(&fixture.sink, "selec", &RowQuery::default()).await {
        Err(ReadError::NoView(error)) => assert!(error.to_string().contains("'selec'"), "{error}"),
        other => panic!("{other:?}"),
    }
    // Who only reads has connections on which nothing takes long, and nothing is written.
    let url = format!(
        "{}{}options=-c%20lock_timeout%3D50",
        fixture.url,
        if fixture.url.contains('?') { '&' } else { '?' }
    );
    let readers = fixture.sink.readers(&url).unwrap();
    fixture.execute("begin; drop materialized view \"select\"").await;
    match read::rows(&readers, "select", &RowQuery::default()).await {
        Err(ReadError::Postgres(error)) => assert!(error.to_string().contains("55P03"), "{error}"),
        other => panic!("{other:?}"),
    }
    fixture.execute("rollback").await;
    let session = readers.connection().await.unwrap();
    let timeout: String = session.query_one("show statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(timeout, "30s");
    let error = session.batch_execute("delete from tidegate.views").await.unwrap_err();
    assert_eq!(error.code().unwrap().code(), "25006");
    assert_eq!(ids(&read::rows(&fixture.sink, "select", &by("id")).await.unwrap()), "1 2 3 4");
}

#[tokio::test]
async fn rows_come_in_the_order_asked_for_and_ties_by_the_other_columns() {
    let fixture = things().await;
    for (order, expected) in [
        ("-id", "4 3 2 1"),
        ("amount", "2 1 3 4"),
        ("-amount,-id", "4 3 1 2"),
        ("flag", "2 4 1 3"),
        ("at,-name", "1 4 2 3"),
    ] {
        let page = read::rows(&fixture.sink, "select", &by(order)).await.unwrap();
        assert_eq!((ids(&page).as_str(), page.more), (expected, false), "{order}");
    }
    let order: OrderBy = "-a-b".parse().unwrap();
    assert_eq!(order, OrderBy { column: "a-b".into(), descending: true });
}

#[tokio::test]
async fn pages_hold_every_row_once_and_say_whether_there_are_more() {
    let fixture = things().await;
    let mut found = Vec::new();
    let mut asked = RowQuery { limit: Some(1), ..by("flag") };
    loop {
        let page = read::rows(&fixture.sink, "select", &asked).await.unwrap();
        found.push(ids(&page));
        asked.offset += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!(found, ["2", "4", "1", "3"]);
    let beyond = RowQuery { limit: Some(10), offset: u64::MAX, ..RowQuery::default() };
    assert_eq!(read::rows(&fixture.sink, "select", &beyond).await.unwrap().rows.rows.len(), 0);
}

#[tokio::test]
async fn views_are_listed_with_their_columns_and_schedule() {
    let fixture = things().await;
    let [view] = &explain::in_database(&fixture.sink).await.unwrap()[..] else { panic!("one view") };
    assert_eq!((view.name.as_str(), view.kind.as_str()), ("select", "refreshed"));
    assert_eq!(view.refresh, Some(Duration::from_secs(3600)));
    assert!(view.refreshed_at.is_some());
    let column = |i: usize| (view.columns[i].0.as_str(), view.columns[i].1.as_str());
    assert_eq!(column(2), ("amount", "numeric(30,2)"));
    assert_eq!(column(3), ("at", "timestamp with time zone"));
}
