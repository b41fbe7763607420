//! Which first rows name the columns, as DuckDB's sniffer tells, and which do not.

use tidegate_core::manifest::starter::write;

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
fn rising_numbers_beside_an_empty_corner_name_the_columns_perhaps() {
    let cross = [",16.5,17.25,17.75", "71,0,0,17.25", "70,5,13,11"];
    assert!(is_header(&cross) && !is_sure(&cross));
    assert!(!is_header(&[",16.5,17.75,17.25", "71,0,0,17.25", "70,5,13,11"]), "they do not rise");
    assert!(
        !is_header(&[",16.5,17.25,17.75", "71,0,0,17.25", ",5,13,11"]),
        "a later row lacks its first value too"
    );
    assert!(!is_header(&["72,16.5,17.25,17.75", "71,0,0,17.25", "70,5,13,11"]));
}

#[test]
fn a_file_of_one_line_of_names_has_a_header_perhaps() {
    assert!(is_header(&["id,name"]) && !is_sure(&["id,name"]));
    assert!(is_header(&[",friends,advice"]), "the first name may be empty");
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
    assert_eq!((plain.columns.len(), plain.odd.trailing_delimiter), (2, true), "lines without names too");
}

#[test]
fn a_trailing_delimiter_is_a_setting_where_no_header_tells_it() {
    let text = |rows: &[&str]| write(&[sample_of("a.csv", rows, ',', b',')], "p").text;
    let told = text(&["id,name,", "1,a,", "2,b,"]);
    assert!(told.contains("csv: {header: true}\n"), "the empty name tells it:\n{told}");
    let in_lines = text(&["id,name", "1,a,", "2,b,"]);
    assert!(in_lines.contains("csv: {header: true, trailing_delimiter: true}\n"), "{in_lines}");
    let plain = text(&["1,a,", "2,b,"]);
    assert!(plain.contains("csv: {trailing_delimiter: true}\n"), "{plain}");
    assert!(plain.contains("# not sure: all lines end in a delimiter"), "{plain}");
}

#[test]
fn a_header_that_comes_again_is_no_row() {
    let again = sample_of("a.csv", &["id,n", "1,5", "id,n", "2,6"], ',', b',');
    assert_eq!((again.rows, again.repeated_headers, again.columns[0].misfits), (2, 1, 0));
    let rows = sample_of("a.csv", &["Ann,Rome", "Ann,Rome", "Bob,Oslo"], ',', b',');
    assert_eq!((rows.rows, rows.repeated_headers, &rows.header), (3, 0, &None));
}

#[test]
fn many_short_rows_are_padded_and_that_is_said() {
    let starter = write(&[sample_of("a.csv", &["id,a,b", "1,x", "2,x,y", "3,x,z"], ',', b',')], "p");
    assert!(starter.text.contains("short_rows: pad"), "{}", starter.text);
    assert!(starter.remarks[0].doubts.iter().any(|doubt| doubt.contains("short_rows: pad")), "{starter:?}");
}

#[test]
fn names_of_a_header_that_are_no_names_of_columns_are_kept_behind_from() {
    let text = |rows: &[&str]| write(&[sample_of("a.csv", rows, ',', b',')], "p").text;
    let pandas = text(&[",a,b", "0,1,2", "1,3,4"]);
    assert!(pandas.contains("      row: {type: integer, from: \"\"}\n"), "{pandas}");
    assert!(pandas.contains("    key: row\n"), "{pandas}");
    let spaced = text(&["id, name", "1,x", "2,y"]);
    assert!(spaced.contains("      name: text\n"), "blanks around a name do not count: {spaced}");
    let taken = text(&["id,ctid", "1,2", "3,4"]);
    assert!(taken.contains("      ctid_: {type: integer, from: \"ctid\"}\n"), "{taken}");
}

#[test]
fn columns_are_taken_by_their_place_where_names_do_not_tell_them() {
    for rows in [&["mpg,cyl", "Mazda,21.0,6", "Fiat,32.4,4"][..], &["id,v,v", "1,2,3", "2,3,4"]] {
        let starter = write(&[sample_of("a.csv", rows, ',', b',')], "p");
        assert!(starter.text.contains("    csv: {skip_lines: 1}\n"), "{}", starter.text);
        assert!(!starter.text.contains("from:"), "{}", starter.text);
        assert!(starter.remarks[0].evidence[0].contains("taken by their place"), "{starter:?}");
    }
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
