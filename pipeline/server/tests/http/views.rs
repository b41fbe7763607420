//! Metric views over HTTP.

use serde_json::{Value, json};

use super::Service;
use crate::company;
use crate::home::Home;

/// The example, ingested and served.
async fn served() -> (Home, Service) {
    let home = super::company().await;
    company::drop_example(&home);
    home.ingest().await;
    let service = Service::start(&home).await;
    (home, service)
}

async fn rows(service: &Service, query: &str) -> Vec<Value> {
    let answer = service.get(&format!("/v1/views/{query}")).await.with_status(200);
    answer.json()["rows"].as_array().unwrap().clone()
}

#[tokio::test]
async fn views_are_listed_with_columns_and_how_fresh_they_are() {
    let home = super::company().await;
    let every = "-- refresh: 1h\nselect count(*) as n from departments";
    std::fs::write(home.path("sql/views/departments_now.sql"), every).unwrap();
    let service = Service::start(&home).await;
    let views = service.get("/v1/views").await.with_status(200).json();
    let of = |name: &str| {
        let views = views["views"].as_array().unwrap();
        views.iter().find(|view| view["name"] == name).unwrap_or_else(|| panic!("{views:#?}")).clone()
    };
    let by_department = of("hires_by_department");
    assert_eq!(by_department["kind"], "incremental");
    assert_eq!(by_department["refreshed_at"], Value::Null);
    assert_eq!(by_department["columns"][0], json!({"name": "year", "type": "integer"}));
    assert_eq!(of("departments_above_mean")["reads"], json!(["hires_by_department"]));
    let now = of("departments_now");
    assert_eq!((&now["kind"], &now["refresh_seconds"]), (&json!("refreshed"), &json!(3600.0)));
    let at = now["refreshed_at"].as_str().unwrap();
    assert!(at.len() == 20 && at.ends_with('Z') && at.contains('T'), "{at}");
    service.stop().await;
}

#[tokio::test]
async fn rows_are_those_that_the_command_shows() {
    let (home, service) = served().await;
    for view in ["hires_by_quarter", "hires_by_department", "departments_above_mean"] {
        let shown =
            home.run(&format!("view {view} --where year=2021 --format json")).await.succeeded().rows();
        assert!(!shown.is_empty());
        assert_eq!(rows(&service, &format!("{view}?year=2021")).await, shown, "{view}");
    }
    let one = rows(&service, "hires_by_quarter?year=2021&department=Support&job=Nurse%20Practicioner").await;
    assert!(one.iter().all(|row| row["year"].is_i64() && row["department"] == "Support"), "{one:#?}");
    service.stop().await;
}

#[tokio::test]
async fn rows_are_ordered_paged_and_written_as_csv() {
    let (home, service) = served().await;
    let all = rows(&service, "hires_by_department?order=-hired").await;
    assert!(all.len() > 2 && all.is_sorted_by(|a, b| a["hired"].as_i64() >= b["hired"].as_i64()), "{all:#?}");
    let mut path = "/v1/views/hires_by_department?order=-hired&limit=2".to_owned();
    let mut paged = Vec::new();
    loop {
        let answer = service.get(&path).await.with_status(200);
        let page = answer.json();
        paged.extend(page["rows"].as_array().unwrap().iter().cloned());
        let Some(link) = answer.headers.get("link") else {
            assert_eq!(page["next_offset"], Value::Null);
            break;
        };
        assert_eq!(page["next_offset"], paged.len());
        path = link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(paged, all);
    home.query("insert into departments values (999, '=HYPERLINK(\"x\")')").await;
    home.query("insert into hired_employees values (99999, 'n', '2021-01-01', 999, 1)").await;
    let csv = service.get("/v1/views/hires_by_department?id=999&format=csv").await.with_status(200);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(csv.headers["content-disposition"], "attachment; filename=\"hires_by_department.csv\"");
    let line = csv.text();
    assert!(line.ends_with("\n2021,999,\"'=HYPERLINK(\"\"x\"\")\",1\n"), "{line}");
    service.stop().await;
}

#[tokio::test]
async fn a_column_that_is_called_like_a_setting_can_be_filtered_by() {
    let home = super::company().await;
    let odd = "-- refresh: 1h\nselect id as \"order\", department as \"limit\" from departments";
    std::fs::write(home.path("sql/views/odd.sql"), odd).unwrap();
    home.drop("departments.csv", "1,One\n2,Two\n");
    home.ingest().await;
    let service = Service::start(&home).await;
    assert_eq!(rows(&service, "odd?where.order=2").await, [json!({"order": 2, "limit": "Two"})]);
    assert_eq!(rows(&service, "odd?order=-order&limit=1").await, [json!({"order": 2, "limit": "Two"})]);
    assert_eq!(rows(&service, "odd?where.limit=One").await, [json!({"order": 1, "limit": "One"})]);
    service.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_a_view_is_the_clients_mistake() {
    let (home, service) = served().await;
    service.get("/v1/views/hires").await.problem(404, "not-found");
    service.get("/v1/views/departments").await.problem(404, "not-found");
    for query in [
        "year=twenty",
        "year=99999999999",
        "yaer=2021",
        "department=a%00b",
        "order=hired%3Bdrop%20table%20departments",
        "order=-",
        "limit=0",
        "limit=10001",
        "limit=1&limit=2",
        "offset=-1",
        "format=xml",
        "year=%FF",
        "1%3D1%20or%20year=2021",
    ] {
        service.get(&format!("/v1/views/hires_by_department?{query}")).await.problem(400, "bad-request");
    }
    let unfit = service.get("/v1/views/hires_by_department?year=x").await.json();
    assert_eq!(unfit["column"], "year");
    assert_eq!(unfit["detail"], "'x' is no value of column 'year', which is of type int4");
    assert_eq!(rows(&service, "hires_by_department?department=%27%20or%20true--").await, [json!(null); 0]);
    assert!(home.count("select count(*) from departments").await > 0);
    service.stop().await;
}
