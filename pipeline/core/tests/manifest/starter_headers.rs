//! Which first rows name the columns, as DuckDB's sniffer tells, and which do not.

use super::starter::sample_of;

fn is_header(rows: &[&str]) -> bool {
    sample_of("a.csv", rows, ',', b',').header.is_some()
}

fn is_sure(rows: &[&str]) -> bool {
    sample_of("a.csv", rows, ',', b',').sure_of_header
}

#[test]
fn names_above_numbers_and_times_are_a_header() {
    for rows in [
        ["id,x", "1,NA", "2,5"],
        ["Name,Weight (kg)", "A,1", "B,2"],
        ["Año,Größe [cm]", "2020,1", "2021,2"],
        ["a,d", "1,27/07/2021", "2,28/07/2021"],
        ["a,b", "x,true", "y,false"],
        ["1st,2nd", "2021-01-01,7", "2021-01-02,8"],
        ["when,what", "10:30,a", "11:45,b"],
        ["k,doc", "a,{}", "b,[]"],
    ] {
        assert!(is_header(&rows) && is_sure(&rows), "{rows:?}");
    }
}

#[test]
fn a_first_name_may_be_empty_as_r_and_pandas_leave_it() {
    let pandas = sample_of("a.csv", &[",a,b", "0,1,2", "1,3,4"], ',', b',');
    assert_eq!(pandas.columns[0].name, "row");
    assert_eq!(pandas.columns[0].renamed.as_deref(), Some(""));
    assert!(is_header(&[",mpg,cyl", "Mazda,21.0,6", "Fiat,32.4,4"]));
    let short = sample_of("a.csv", &["mpg,cyl", "Mazda,21.0,6", "Fiat,32.4,4"], ',', b',');
    assert!(short.odd.short_header && short.columns.len() == 3, "{short:?}");
    assert!(is_header(&[",0,1,2", "0,5.1,3.5,1.4", "1,4.9,3.0,1.4"]), "columns without names are counted");
}

#[test]
fn names_above_texts_are_a_header_where_they_look_like_names_and_unlike_the_texts() {
    for rows in [
        ["carrier,name", "9E,Endeavor", "AA,American"],
        ["name,city", "Ann,Rome", "Bob,Oslo"],
        ["first_name,last_name", "Ann,Lee", "Bob,Ray"],
        ["user,contact", "ann,ann@a.org", "bob,bob@b.org"],
        ["CODE,LABEL", "a1,some", "b2,other"],
    ] {
        assert!(is_header(&rows), "{rows:?}");
    }
}

#[test]
fn a_first_row_like_the_others_is_a_row_and_that_is_said_to_be_unsure() {
    for rows in [
        ["Ann,Rome", "Bob,Oslo", "Cy,Bern"],
        ["red,apple", "blue,berry", "red,cherry"],
        ["Marketing Assistant,Paris", "Software Engineer,Rome", "Clerk,Oslo"],
    ] {
        assert!(!is_header(&rows), "{rows:?}");
    }
    assert!(!is_sure(&["Ann,Rome", "Bob,Oslo", "Cy,Bern"]));
    assert!(!is_header(&["name,city", "name,city", "Ann,Rome"]), "what comes again names nothing");
}

#[test]
fn numbers_in_the_first_row_are_values_unless_they_count() {
    assert!(!is_header(&["1,Supply Chain", "2,Maintenance", "3,Staff"]));
    assert!(!is_header(&["2021-01-01,5", "2021-01-02,6"]));
    let years = ["country,2019,2020,2021", "A,1,2,3", "B,4,5,6"];
    assert!(is_header(&years) && !is_sure(&years));
    assert!(!is_header(&["A,7,9,4", "B,1,2,3", "C,4,5,6"]));
}

#[test]
fn a_file_of_one_line_of_names_has_a_header_perhaps() {
    assert!(is_header(&["id,name"]) && !is_sure(&["id,name"]));
    assert!(!is_header(&["1,Ann"]));
}

#[test]
fn a_trailing_delimiter_is_no_column() {
    for rows in [["id,name,", "1,a,", "2,b,"].as_slice(), &["id,name", "1,a,", "2,b,"]] {
        let sample = sample_of("a.csv", rows, ',', b',');
        let names: Vec<&str> = sample.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, sample.odd.trailing_delimiter), (vec!["id", "name"], true), "{rows:?}");
    }
    let plain = sample_of("a.csv", &["1,a,", "2,b,"], ',', b',');
    assert_eq!(
        (plain.columns.len(), plain.odd.trailing_delimiter),
        (3, false),
        "lines without names keep it"
    );
}

#[test]
fn names_that_no_table_can_have_are_changed_and_that_is_kept() {
    let long = "n".repeat(80);
    let sample = sample_of("a.csv", &[&format!("id,id,ctid,{long}"), "1,2,3,4", "5,6,7,8"], ',', b',');
    let names: Vec<&str> = sample.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "id_2", "ctid_", &long[..63]]);
    assert_eq!(sample.columns[0].renamed, None);
    assert_eq!(sample.columns[3].renamed, Some(long));
}
