//! `tidegate init` on files as people have them: what it says, and that `check` and `run` load nothing wrong after it.

use std::io::Write;

use crate::home::{Home, Outcome};

/// What `init` said and wrote of files.
struct Wrote {
    said: String,
    manifest: String,
    home: Home,
}

async fn init(files: &[(&str, &[u8])]) -> Wrote {
    let home = Home::new("").await;
    std::fs::remove_file(home.path("tidegate.yaml")).unwrap();
    let mut arguments = "init --from".to_owned();
    for (name, bytes) in files {
        home.drop(name, bytes);
        arguments.push_str(&format!(" landing/{name}"));
    }
    let said = home.run(&arguments).await.succeeded().stdout;
    let manifest = std::fs::read_to_string(home.path("tidegate.yaml")).unwrap();
    Wrote { said, manifest, home }
}

impl Wrote {
    #[track_caller]
    fn having(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.manifest.contains(text), "'{text}' is not in:\n{}", self.manifest);
        }
        self
    }

    #[track_caller]
    fn saying(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.said.contains(text), "'{text}' is not in:\n{}", self.said);
        }
        self
    }

    async fn check(&self) -> Outcome {
        self.home.run("check").await
    }
}

#[tokio::test]
async fn missing_values_documents_and_texts_under_names_are_loaded_as_they_are_meant() {
    let wrote = init(&[
        ("airlines.csv", b"carrier,name\n9E,Endeavor\nAA,American\n"),
        ("flights.csv", b"id,carrier,delay,info\n1,AA,NA,\"{\"\"a\"\":1}\"\n2,9E,5,{}\n"),
    ])
    .await;
    wrote.having(&[
        "null: \"NA\"",
        "delay: {type: integer, optional: true}",
        "info: jsonb",
        "carrier: {type: text, references: airlines}",
        "key: carrier",
    ]);
    wrote.saying(&[
        "airlines.csv: 2 rows of 2 columns in all 37 bytes: a header",
        "'carrier' seems to be the key",
    ]);
    wrote.check().await.succeeded();
    wrote.home.ingest().await;
    let rows = wrote.home.query("select id, carrier, delay, info from flights order by id").await;
    assert_eq!(rows, ["1|AA|null|{\"a\": 1}", "2|9E|5|{}"]);
}

#[tokio::test]
async fn numbers_and_dates_of_a_country_are_loaded_as_they_are_meant() {
    let wrote = init(&[(
        "euro.csv",
        b"Id;Saldo;Fecha;A\xf1o\n1;1.234,56;27.07.2021;2021\n2;12,50;28.07.2021;2022\n",
    )])
    .await;
    wrote.having(&[
        "encoding: windows-1252",
        "delimiter: \";\"",
        "Saldo: {type: numeric, decimal: \",\", thousands: \".\"} # as in \"1.234,56\"",
        "Fecha: {type: date, format: \"%d.%m.%Y\"}",
    ]);
    wrote.check().await.succeeded();
    wrote.home.ingest().await;
    assert_eq!(
        wrote.home.query("select \"Id\", \"Saldo\", \"Fecha\", \"Año\" from euro order by 1").await,
        ["1|1234.56|2021-07-27|2021", "2|12.50|2021-07-28|2022"]
    );
}

#[tokio::test]
async fn a_day_that_may_be_two_is_asked_for() {
    let wrote = init(&[("days.csv", b"id,d\n1,01/02/2021\n2,03/04/2021\n")]).await;
    wrote.having(&["d: text # date, format: \"%d/%m/%Y\" or \"%m/%d/%Y\"?"]);
    wrote.saying(&["not sure: 'd' stays text"]);
}

#[tokio::test]
async fn without_a_column_that_is_surely_the_key_check_fails_until_one_is_named() {
    let wrote = init(&[("comp.csv", b"order_id,line_no,sku\n1,1,a\n1,2,b\n2,1,c\n")]).await;
    wrote.having(&["# key: [order_id, line_no]", "'order_id' and 'line_no' are distinct together"]);
    wrote.saying(&["not sure: no column is the key by itself"]);
    wrote.check().await.failed_with(2).saying(&["\"key\" is missing"]);
}

mod a_file_as_people_have_it {
    use super::*;

    tidegate_testing::rows! { is_loaded_with_what_init_writes:
        utf_16: ("utf16.csv", &utf16(), "delimiter: \"\\t\"", 1),
        lines_before_the_header: (
            "pre.csv",
            b"Report\nGenerated 2021\n\nid,name\n1,Ann\n2,Bob\n",
            "skip_lines: 3",
            2,
        ),
        a_line_that_names_the_delimiter: ("sep.csv", b"sep=;\r\nid;name\r\n1;Ann\r\n", "delimiter: \";\"", 1),
        delimiters_at_the_end: ("trail.csv", b"id,name,\n1,a,\n2,b,\n", "header: true", 2),
        a_column_without_a_name: ("pandas.csv", b",a,b\n0,1,2\n1,3,4\n", "from: \"\"", 2),
        several_characters_as_delimiter: ("bars.csv", b"id||name\n1||Ann\n2||Bob\n", "delimiter: \"||\"", 2),
        a_footer: ("foot.csv", b"id,name\n1,Ann\n2,Bob\n(2 rows)\n", "skip: ", 2),
    }

    fn utf16() -> Vec<u8> {
        "\u{feff}id\tname\r\n1\tAnn\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    async fn is_loaded_with_what_init_writes(name: &str, bytes: &[u8], setting: &str, rows: u64) {
        let wrote = init(&[(name, bytes)]).await;
        wrote.having(&[setting]);
        let previewed =
            wrote.home.run(&format!("preview landing/{name} --format json")).await.succeeded().json();
        assert_eq!(
            (&previewed["accepted"], &previewed["rejected"]),
            (&rows.into(), &0.into()),
            "{previewed}"
        );
        let summary = wrote.home.run("run --until-idle --format json").await.succeeded().json();
        assert_eq!(summary["datasets"][0]["accepted"], rows, "{summary}");
    }
}

#[tokio::test]
async fn a_compressed_file_is_described_and_said_not_to_be_read() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(b"id,name\n1,Ann\n").unwrap();
    let wrote = init(&[("gz.csv.gz", &gzip.finish().unwrap())]).await;
    wrote.saying(&["not read as it is: ", "gzip"]).having(&["# not read as it is: ", "gzip", "header: true"]);
}

#[tokio::test]
async fn no_text_of_a_file_reaches_the_terminal_or_the_manifest_raw() {
    let wrote = init(&[("odd.csv", "id,\u{1b}[31mred\u{202e}\n1,2\n2,x\n".as_bytes())]).await;
    for text in [&wrote.said, &wrote.manifest] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
