//! A key is written only if nothing speaks against it, and references only where values agree.

use tidegate_core::manifest::Manifest;
use tidegate_core::manifest::starter::{Sample, Starter, write};

use super::starter::sample_of;

fn table(file_name: &str, rows: &[&str]) -> Sample {
    sample_of(file_name, rows, ',', b',')
}

fn key_of(starter: &Starter) -> Option<&str> {
    starter.text.lines().find_map(|line| line.strip_prefix("    key: "))
}

fn key(file_name: &str, rows: &[&str]) -> Option<String> {
    key_of(&write(&[table(file_name, rows)], "p")).map(str::to_owned)
}

#[test]
fn a_column_whose_values_come_twice_is_no_key() {
    assert_eq!(key("a.csv", &["rownames,id,v", "1,a,1", "2,a,2", "3,b,3"]).as_deref(), Some("rownames"));
    assert_eq!(key("a.csv", &["id,v", "1,5", "1,6"]), None);
    assert_eq!(key("a.csv", &["id,v", "1,5", ",6"]), None);
}

#[test]
fn the_first_column_or_one_called_like_a_key_is_chosen() {
    assert_eq!(
        key("airlines.csv", &["carrier,name", "9E,Endeavor", "AA,American"]).as_deref(),
        Some("carrier")
    );
    assert_eq!(key("a.csv", &["order_id,customer,amount", "1,c1,5", "2,c1,7"]).as_deref(), Some("order_id"));
    assert_eq!(key("a.csv", &["name,ID", "x,1", "y,2"]).as_deref(), Some("ID"));
    assert_eq!(
        key("orders.csv", &["at,orderId", "2021-01-01,1", "2021-01-02,2"]).as_deref(),
        Some("orderId")
    );
}

#[test]
fn what_is_distinct_by_chance_is_no_key() {
    assert_eq!(key("a.csv", &["price,what", "1.5,a", "2.5,a"]), None);
    assert_eq!(key("a.csv", &["amount,what", "1,a", "2,a"]), None);
    assert_eq!(key("a.csv", &["what,amount", "a,1", "a,2"]), None);
    assert_eq!(key("a.csv", &["day,customer_id", "2021-01-01,1", "2021-01-01,2"]), None);
}

#[test]
fn what_is_written_in_two_ways_is_one_value() {
    let upper = "3F2504E0-4F89-11D3-9A0C-0305E82C3301";
    let rows = ["id,n".to_owned(), format!("{upper},a"), format!("{},a", upper.to_lowercase())];
    assert_eq!(key("a.csv", &rows.each_ref().map(String::as_str)), None);
    assert_eq!(key("a.csv", &["at,n", "2020-01-01 10:00,a", "2020-01-01T10:00:00,a"]), None);
    assert_eq!(key("a.csv", &["at,n", "2020-01-01T10:00:00Z,a", "2020-01-01 12:00:00+02:00,a"]), None);
    assert_eq!(key("a.csv", &["id,n", "1,a", "+1,a"]), None);
    assert_eq!(key("a.csv", &["code,n", "01,a", "001,a"]).as_deref(), Some("code"));
}

#[test]
fn files_of_which_nothing_stands_in_the_manifest_are_told() {
    let again = table("a.csv", &["id,v", "1,5"]);
    let starter = write(&[again.clone(), again, table("empty.csv", &[])], "p");
    let left_out: Vec<&str> = starter.left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((starter.remarks.len(), left_out), (1, vec!["a.csv", "empty.csv"]));
    let header_alone = write(&[table("a.csv", &["id,name"])], "p");
    assert!(!header_alone.text.contains("come twice"), "{}", header_alone.text);
}

#[test]
fn columns_that_are_distinct_together_by_chance_are_said_and_no_key_is_written() {
    let starter = write(&[table("a.csv", &["order_id,line_no,sku", "1,1,a", "1,2,b", "2,1,c"])], "p");
    assert_eq!(key_of(&starter), None);
    assert!(starter.text.contains("    # key: [order_id, line_no]\n"), "{}", starter.text);
    assert!(
        starter.remarks[0].doubts[0].contains("'order_id' and 'line_no' are distinct together"),
        "{starter:?}"
    );
    let faults = Manifest::parse(&starter.text, &|_| None).unwrap_err();
    assert!(faults.to_string().contains("\"key\" is missing"), "{faults}");
}

/// Rows of orders, each of which has so many lines.
fn order_lines(orders: u32, lines: u32) -> Vec<String> {
    let mut rows = vec!["order_id,line_no,sku,amount".to_owned()];
    for order in 1..=orders {
        rows.extend((1..=lines).map(|line| format!("{order},{line},s{},{}", (order * line) % 7, order % 5)));
    }
    rows
}

#[test]
fn columns_that_are_distinct_together_in_many_rows_are_the_key() {
    let rows = order_lines(40, 5);
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let starter = write(&[table("order_lines.csv", &rows)], "p");
    assert_eq!(key_of(&starter), Some("[order_id, line_no]"), "{}", starter.text);
    assert!(starter.text.contains("# found: no column is the key by itself; 'order_id' and 'line_no'"));
}

#[test]
fn rows_that_come_twice_have_no_key() {
    let starter = write(&[table("a.csv", &["level,msg", "info,x", "info,x", "warn,y"])], "p");
    assert_eq!(key_of(&starter), None);
    assert!(starter.text.contains("    # key: none\n"), "{}", starter.text);
    assert!(
        starter.remarks[0].doubts.iter().any(|doubt| doubt.contains("the same in all columns")),
        "{starter:?}"
    );
}

#[test]
fn several_columns_reference_a_key_of_several() {
    let rows = order_lines(40, 5);
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let write_with = |shipments: &[&str]| {
        write(&[table("shipments.csv", shipments), table("order_lines.csv", &rows)], "p").text
    };
    let text = write_with(&["id,order_id,line_no", "1,1,1", "2,1,2", "3,40,5"]);
    assert!(text.contains("    references: [{columns: [order_id, line_no], to: order_lines}]\n"), "{text}");
    let lacking = write_with(&["id,order_id,line_no", "1,1,1", "2,1,2", "3,41,5"]);
    assert!(
        lacking.contains("    # references: [{columns: [order_id, line_no], to: order_lines}] # 1 values"),
        "{lacking}"
    );
    assert!(lacking.contains("# not sure: 'order_id' and 'line_no' seem to reference"), "{lacking}");
}

#[test]
fn a_column_may_reference_another_one_than_the_key() {
    let countries = table("countries.csv", &["id,code,name", "1,CO,Colombia", "2,DE,Germany"]);
    let people = table("people.csv", &["id,country_code", "1,CO", "2,CO", "3,DE"]);
    let text = write(&[people, countries], "p").text;
    assert!(text.contains("country_code: {type: text, references: \"countries.code\"}"), "{text}");
}

#[test]
fn references_are_found_by_names_and_by_values() {
    let flights = table("flights.csv", &["flight_id,carrier,planeId", "1,AA,7", "2,9E,8", "3,AA,7"]);
    let airlines = table("airlines.csv", &["carrier,name", "9E,Endeavor", "AA,American"]);
    let planes = table("planes.csv", &["id,seats", "7,100", "8,200"]);
    let text = write(&[flights, airlines, planes], "p").text;
    assert!(text.contains("carrier: {type: text, references: airlines}"), "{text}");
    assert!(text.contains("planeId: {type: integer, references: planes}"), "{text}");
    let other = table("other.csv", &["other_id,carrier", "1,ZZ"]);
    let airlines = table("airlines.csv", &["carrier,name", "9E,Endeavor", "AA,American"]);
    let text = write(&[other, airlines], "p").text;
    assert!(!text.contains("references:"), "{text}");
}

#[test]
fn a_name_from_a_file_cannot_break_out_of_the_manifest() {
    let sample = table("a\u{1b}[2J.csv", &["id,\u{1b}[31m\u{202e}x\n# y,${HOME}", "1,2,3", "4,5,6"]);
    let starter = write(&[sample], "p");
    assert!(!starter.text.contains(['\u{1b}', '\u{202e}']), "{:?}", starter.text);
    let manifest = Manifest::parse(&starter.text, &|_| None).unwrap();
    assert_eq!(manifest.datasets[0].columns[1].name, "\u{1b}[31m\u{202e}x\n# y");
}

#[test]
fn a_column_that_lacks_values_is_no_part_of_a_key() {
    let key_where_row_7_has = |tail: &str| {
        let tail_of = |row: u32| if row == 7 { tail.to_owned() } else { format!("N{:04}", row % 50) };
        let row = |row: u32| format!("{},{},{}", tail_of(row), row / 50, row % 3);
        let rows: Vec<String> = (0..400).map(row).collect();
        let mut lines = vec!["tail,hour,engines"];
        lines.extend(rows.iter().map(String::as_str));
        key("flights.csv", &lines)
    };
    assert_eq!(key_where_row_7_has("N0007").as_deref(), Some("[tail, hour]"));
    assert_eq!(key_where_row_7_has("NA"), None);
}

#[test]
fn names_of_rows_are_the_key_whatever_numbers_they_are() {
    assert_eq!(key("a.csv", &[",y", "1962.25,8.7", "1962.5,8.7", "1962.75,8.8"]).as_deref(), Some("row"));
    assert_eq!(key("a.csv", &[",y", "1962.25,8.7", "1962.25,8.7"]), None);
}
