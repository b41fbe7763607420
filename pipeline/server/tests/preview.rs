//! `tidegate preview` says what would become of a file, and touches neither the database nor the folder.

use crate::home::Home;

const MANIFEST: &str = "
pipeline: people
datasets:
  people:
    key: id
    csv: {header: true}
    columns:
      id: integer
      name: {type: text, optional: true}
      born: {type: date, optional: true}
      boss: {type: integer, optional: true, references: people}
";

async fn home() -> Home {
    Home::new(MANIFEST).await
}

#[tokio::test]
async fn a_file_without_faults_is_shown_as_it_would_be_stored() {
    let home = home().await;
    home.drop("people.csv", "ID,Name,born,boss\n1,Ann,2021-07-27,\n2,,,1\n");
    let said = home.run("preview landing/people.csv").await.succeeded().stdout;
    for text in
        ["people.csv as 'people'", "encoding: utf-8", "field 2, 'Name'", "∅", "2 lines: 2 would be accepted"]
    {
        assert!(said.contains(text), "'{text}' is not in:\n{said}");
    }
    assert!(said.contains("is not checked"), "references are said not to be checked:\n{said}");
    assert_eq!(home.names_in("landing"), ["people.csv"], "nothing is moved");
    let csv = home.run("preview landing/people.csv --format csv").await.succeeded().stdout;
    assert_eq!(csv, "line,id,name,born,boss\n1,1,Ann,2021-07-27,\n2,2,,,1\n");
}

#[tokio::test]
async fn rejects_are_counted_by_reason_with_an_example_and_fail_the_command() {
    let home = home().await;
    home.drop("x.txt", "id,name,born,boss\n1,Ann,27/07/2021,\n2,Bob,28/07/2021,\n3,Cy,,\n");
    home.run("preview landing/x.txt").await.failed_with(2).saying(&["belongs to no dataset", "--dataset"]);
    let outcome = home.run("preview landing/x.txt --dataset people --format json").await.failed_with(1);
    let said = outcome.json();
    assert_eq!((&said["accepted"], &said["rejected"]), (&1.into(), &2.into()), "{said}");
    let reason = &said["reasons"][0];
    assert_eq!(
        (&reason["column"], &reason["code"], &reason["lines"]),
        (&"born".into(), &"invalid_date".into(), &2.into())
    );
    assert_eq!((&reason["example"]["line"], &reason["example"]["physical_line"]), (&1.into(), &2.into()));
    assert!(
        reason["example"]["message"].as_str().unwrap().contains("%d/%m/%Y"),
        "the setting is named: {reason}"
    );
    assert_eq!(said["rows"][0]["values"]["name"], "Cy");
}

#[tokio::test]
async fn a_file_that_would_be_refused_says_why() {
    let home = home().await;
    home.drop("people.csv", "id;name;born;boss\n1;Ann;;\n");
    home.run("preview landing/people.csv").await.failed_with(1).saying(&["would be refused", "delimiter"]);
    home.run("preview landing/none.csv --dataset people").await.failed_with(1).saying(&["none.csv"]);
    home.run("preview landing/people.csv --dataset peple")
        .await
        .failed_with(2)
        .saying(&["did you mean 'people'?"]);
}

#[tokio::test]
async fn a_part_of_a_large_file_is_read_unless_all_is_asked_for() {
    let home = home().await;
    let rows: String = (1..400_000).map(|id| format!("{id},Ann Lee,2021-07-27,\n")).collect();
    home.drop("people.csv", format!("id,name,born,boss\n{rows}"));
    let some = home.run("preview landing/people.csv --rows 1 --format json").await.succeeded().json();
    assert_eq!((&some["whole"], some["rows"].as_array().unwrap().len()), (&false.into(), 1));
    let all = home.run("preview landing/people.csv --all --format json").await.succeeded().json();
    assert_eq!((&all["whole"], &all["lines"]), (&true.into(), &399_999.into()));
}
