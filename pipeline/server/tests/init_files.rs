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
async fn numbers_and_dates_of_a_country_stay_text_and_that_is_said() {
    let wrote = init(&[(
        "euro.csv",
        "Id;Saldo;Fecha;Año\n1;1.234,56;27.07.2021;2021\n2;12,50;28.07.2021;2022\n".as_bytes(),
    )])
    .await;
    wrote.having(&[
        "delimiter: \";\"",
        "Saldo: text # numeric, decimal \",\", thousands \".\"",
        "Fecha: text # date, %d.%m.%Y",
    ]);
    wrote.saying(&["'Saldo' stays text", "'Fecha' stays text"]);
    wrote.check().await.succeeded();
    wrote.home.ingest().await;
    assert_eq!(
        wrote.home.query("select \"Id\", \"Saldo\", \"Fecha\", \"Año\" from euro order by 1").await,
        ["1|1.234,56|27.07.2021|2021", "2|12,50|28.07.2021|2022"]
    );
}

#[tokio::test]
async fn without_a_column_that_is_surely_the_key_check_fails_until_one_is_named() {
    let wrote = init(&[("comp.csv", b"order_id,line_no,sku\n1,1,a\n1,2,b\n2,1,c\n")]).await;
    wrote
        .having(&["# key: which column identifies a row?", "'order_id' and 'line_no' are distinct together"]);
    wrote.saying(&["not sure: no column is the key by itself"]);
    wrote.check().await.failed_with(2).saying(&["\"key\" is missing"]);
}

mod what_a_run_cannot_read_yet {
    use super::*;

    tidegate_testing::rows! { is_said_and_nothing_of_it_is_loaded:
        utf_16: ("utf16.csv", &utf16(), "UTF-16"),
        a_gzip: ("gz.csv.gz", &gzip(), "gzip"),
        lines_before_the_header: (
            "pre.csv",
            b"Report\nGenerated 2021\n\nid,name\n1,Ann\n2,Bob\n",
            "3 lines stand before the header",
        ),
        a_line_that_names_the_delimiter: ("sep.csv", b"sep=;\r\nid;name\r\n1;Ann\r\n", "sep="),
        delimiters_at_the_end: ("trail.csv", b"id,name,\n1,a,\n2,b,\n", "end in a delimiter"),
        a_column_without_a_name: ("pandas.csv", b",a,b\n0,1,2\n1,3,4\n", "without a name"),
    }

    fn utf16() -> Vec<u8> {
        "\u{feff}id\tname\r\n1\tAnn\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn gzip() -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"id,name\n1,Ann\n").unwrap();
        gzip.finish().unwrap()
    }

    async fn is_said_and_nothing_of_it_is_loaded(name: &str, bytes: &[u8], what: &str) {
        let wrote = init(&[(name, bytes)]).await;
        wrote.saying(&["not read as it is: ", what]).having(&["# not read as it is: ", what, "header: true"]);
        wrote.check().await.succeeded();
        let outcome = wrote.home.run("run --until-idle").await;
        assert_ne!(outcome.code, Some(0), "{name} is refused: {}", outcome.stderr);
        assert_eq!(wrote.home.names_in("landing"), [name]);
    }
}

#[tokio::test]
async fn no_text_of_a_file_reaches_the_terminal_or_the_manifest_raw() {
    let wrote = init(&[("odd.csv", "id,\u{1b}[31mred\u{202e}\n1,2\n2,x\n".as_bytes())]).await;
    for text in [&wrote.said, &wrote.manifest] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
