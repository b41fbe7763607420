//! Files as other programs write them: each is described in the manifest and loaded, and each line is accounted for.

use crate::home::Home;

/// A table `t` that is there, and files that are loaded into it.
struct Case<'a> {
    /// The keys of the dataset `t`.
    dataset: &'a str,
    /// What is executed before.
    setup: &'a str,
    /// The rows, as a select list and its results by key.
    select: &'a str,
    rows: &'a [&'a str],
    /// The codes of the dead letters.
    letters: &'a [&'a str],
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self { dataset: "", setup: "", select: "id, name", rows: &[], letters: &[] }
    }
}

impl Case<'_> {
    async fn holds(self, bytes: impl AsRef<[u8]>) {
        let home =
            Home::new(&format!("pipeline: c\nstable_for: 10ms\ndatasets:\n  t: {{{}}}\n", self.dataset))
                .await;
        if !self.setup.is_empty() {
            home.query(self.setup).await;
        }
        home.drop("t.csv", bytes);
        home.ingest().await;
        let codes =
            home.query("select reasons -> 0 ->> 'code' from tidegate.dead_letters order by line").await;
        assert_eq!(codes, self.letters, "{:?}", home.dead_letters().await);
        let rows = home.query(&format!("select concat_ws('|', {}) from t order by _line", self.select)).await;
        assert_eq!(rows, self.rows);
        let physical = home.query("select lines + coalesce((select sum(value::bigint) from jsonb_each_text(skipped)), 0) from tidegate.sources").await;
        let file = std::fs::read(home.path("landing/done").join(&home.names_in("landing/done")[0])).unwrap();
        if !file.contains(&0) {
            let ends = file.iter().filter(|byte| **byte == b'\n').count();
            let physical_lines = ends + usize::from(file.last() != Some(&b'\n'));
            assert_eq!(physical, [physical_lines.to_string()], "lines of the file = records + skipped");
        }
        home.run("verify --deep").await.succeeded();
    }
}

async fn loads(dataset: &str, bytes: impl AsRef<[u8]>, select: &str, rows: &[&str], letters: &[&str]) {
    Case { dataset, select, rows, letters, ..Case::default() }.holds(bytes).await;
}

fn utf16le(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

mod encodings {
    use super::*;

    tidegate_testing::rows! { loads:
        latin1: (
            "key: id, csv: {header: true, encoding: latin1}, columns: {id: integer, name: text}",
            b"id,name\n1,Jos\xe9\n2,Ann\n", "id, name", &["1|José", "2|Ann"], &[]
        ),
        utf_16_by_its_mark: (
            "key: id, csv: {header: true, delimiter: \"\\t\"}, columns: {id: integer, name: text}",
            utf16le("id\tname\r\n1\tAnn\r\n2\tJosé\r\n"), "id, name", &["1|Ann", "2|José"], &[]
        ),
        a_mark_before_a_quoted_name: (
            "key: id, csv: {header: true}, columns: {id: integer, name: text}",
            "\u{feff}\"id\",\"name\"\n\"1\",\"Ann\"\n", "id, name", &["1|Ann"], &[]
        ),
        a_byte_that_is_no_character: (
            "key: id, csv: {encoding: shift_jis}, columns: {id: integer, name: text}",
            b"1,\x83n\n2,\x80\xa0\xfd\n3,ok\n", "id, name", &["1|ハ", "3|ok"], &["invalid_encoding"]
        ),
    }
}

mod dialects {
    use super::*;

    tidegate_testing::rows! { loads:
        a_delimiter_of_two_characters: (
            "key: id, csv: {header: true, delimiter: \"||\"}, columns: {id: integer, name: text}",
            "id||name\n1||Ann\n2||a|b\n", "id, name", &["1|Ann", "2|a|b"], &[]
        ),
        blanks: (
            "key: id, csv: {delimiter: whitespace}, columns: {id: integer, name: text}",
            "  1   Ann\n2\tBob  \n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        backslashes_before_quotes: (
            "key: id, csv: {header: true, escape: \"\\\\\"}, columns: {id: integer, name: text}",
            "id,name\n1,\"say \\\"hi\\\", ok\"\n2,\"C:\\\\dir\"\n", "id, name", &["1|say \"hi\", ok", "2|C:\\dir"], &[]
        ),
        the_text_format_of_postgres: (
            "key: id, csv: {delimiter: \"\\t\", quote: none, escapes: c, null: \"\\\\N\"}, \
             columns: {id: integer, name: {type: text, optional: true}}",
            "1\tA\\tB\n2\t\\N\n3\tl1\\nl2\n4\tback\\\\slash\n",
            "id, coalesce(name, 'null')", &["1|A\tB", "2|null", "3|l1\nl2", "4|back\\slash"], &[]
        ),
        blanks_before_quotes: (
            "key: id, csv: {header: true, trim: true}, columns: {id: integer, name: text}",
            "id,name\n1, \"Ann, Jr\"\n2, \"Bob\" \n 3 , Cy \n", "id, name", &["1|Ann, Jr", "2|Bob", "3|Cy"], &[]
        ),
        fixed_width: (
            "key: id, columns: {id: {type: integer, at: 1..4}, name: {type: text, at: 5..14}, \
             since: {type: date, at: 15..22}}",
            "0001Ann       20210727\n0002Bob       20210728\n", "id, name, since",
            &["1|Ann|2021-07-27", "2|Bob|2021-07-28"], &[]
        ),
    }
}

mod lines_that_are_no_records {
    use super::*;

    tidegate_testing::rows! { loads:
        a_delimiter_at_the_end_of_each_line: (
            "key: id, csv: {header: true, delimiter: ;}, columns: {id: integer, name: text}",
            "id;name;\n1;Ann;\n2;Bob;\n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        a_footer: (
            "key: id, csv: {header: true, skip: [\"^\\\\(\\\\d+ rows?\\\\)$\", \"^Total,\"]}, \
             columns: {id: integer, name: text}",
            "id,name\n1,Ann\n2,Bob\n(2 rows)\nTotal,2\n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        a_title: (
            "key: id, csv: {header: true, skip_lines: 3}, columns: {id: integer, name: text}",
            "Employees report\nGenerated:,2021-07-27\n\nid,name\n1,Ann\n2,Bob\n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        comments_and_a_header_that_comes_again: (
            "key: id, csv: {header: true, comment: \"#\"}, columns: {id: integer, name: text}",
            "# don't \"\nid,name\n1,Ann\n\nid,name\n# more\n2,Bob\n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        the_line_that_names_excels_delimiter: (
            "key: id, csv: {header: true}, columns: {id: integer, name: text}",
            "sep=;\r\nid;name\r\n1;Ann\r\n", "id, name", &["1|Ann"], &[]
        ),
        records_of_one_kind: (
            "key: id, csv: {delimiter: \"|\", record: \"^D\\\\|\", encoding: latin1}, columns: {rec: text, id: integer, \
             name: text, since: {type: date, format: \"%d/%m/%Y\"}, \
             balance: {type: \"numeric(12,2)\", decimal: \",\", thousands: \".\"}, \
             active: {type: boolean, true: [S], false: [N]}}",
            b"H|CLIENTES|202504|2\nD|1|Ann Smith|27/04/2025|1.234,56|S\nD|3|Jos\xe9|29/04/2025|0,50|N\nT|2|1235,06\n",
            "id, name, since, balance, active", &["1|Ann Smith|2025-04-27|1234.56|t", "3|José|2025-04-29|0.50|f"], &[]
        ),
        short_rows: (
            "key: id, csv: {header: true, short_rows: pad}, columns: {id: integer, \
             a: {type: text, optional: true}, b: {type: text, optional: true}}",
            "id,a,b\n1,x,y\n2,x\n3\n4,x,y,z\n", "id, coalesce(a, '-'), coalesce(b, '-')",
            &["1|x|y", "2|x|-", "3|-|-"], &["wrong_column_count"]
        ),
        quoted_fields_of_several_lines: (
            "key: id, columns: {id: integer, name: text}",
            "1,\"a\nb\nc\"\n\n2,d", "id, name", &["1|a\nb\nc", "2|d"], &[]
        ),
    }
}

mod missing_values {
    use super::*;

    tidegate_testing::rows! { loads:
        several_words: (
            "key: id, csv: {header: true, null: [\"NULL\", NA, n/a, \"-\"]}, columns: {id: integer, \
             n: {type: integer, optional: true}, s: {type: text, optional: true}}",
            "id,n,s\n1,NULL,NULL\n2,NA,NA\n3,-,\"NA\"\n", "id, coalesce(n, -1), coalesce(s, 'null')",
            &["1|-1|null", "2|-1|null", "3|-1|NA"], &[]
        ),
        an_empty_text: (
            "key: id, csv: {header: true, empty: text}, columns: {id: integer, name: text}",
            "id,name\n1,\"\"\n2,Bob\n3,\n", "id, '<' || name || '>'", &["1|<>", "2|<Bob>"], &["missing_value"]
        ),
        a_constant: (
            "key: id, csv: {header: true}, columns: {id: integer, name: {type: text, default: nobody}, \
             paid: {type: boolean, true: [X], false: [N], default: false}}",
            "id,name,paid\n1,,X\n2,Bob,\n", "id, name, paid", &["1|nobody|t", "2|Bob|f"], &[]
        ),
    }

    #[tokio::test]
    async fn the_default_of_the_table() {
        Case {
            dataset: "key: id, csv: {header: true}, columns: {id: integer, name: {type: text, optional: true}, \
                      country: {type: text, default: table}}",
            setup: "create table t (id int primary key, name text, country text default 'CO', \
                    _source bigint not null default -1, _line bigint not null default -1)",
            select: "id, name, country",
            rows: &["1|Ann|CO", "2|Bob|PE"],
            ..Case::default()
        }
        .holds("id,name,country\n1,Ann,\n2,Bob,PE\n")
        .await;
    }
}

mod names {
    use super::*;

    tidegate_testing::rows! { loads:
        in_another_spelling: (
            "key: id, csv: {header: true}, columns: {id: integer, first_name: text, anio: {type: integer, from: Año}}",
            "ID,First Name,Año\n1,Ann,2021\n", "id, first_name, anio", &["1|Ann|2021"], &[]
        ),
        columns_that_the_table_does_not_need: (
            "key: id, csv: {header: true, columns_unknown: ignore}, columns: {id: integer, name: text}",
            "id,name,internal_1,internal_1,\n1,Ann,q,w,e\n", "id, name", &["1|Ann"], &[]
        ),
        by_number: (
            "key: id, csv: {columns_unknown: ignore}, columns: {id: {type: integer, from: 3}, name: {type: text, from: 1}}",
            "Ann,x,1,y\nBob,x,2,y\n", "id, name", &["1|Ann", "2|Bob"], &[]
        ),
        out_of_the_name_of_the_file: (
            "key: id, files: \"t*.csv\", columns: {id: integer, \
             kind: {type: text, from_path: \"^(.)\\\\.csv$\"}, file: {type: text, from_file: name}}",
            "1\n2\n", "id, kind, file", &["1|t|t.csv", "2|t|t.csv"], &[]
        ),
    }
}

mod values {
    use super::*;

    tidegate_testing::rows! { loads:
        days_before_months: (
            "key: id, csv: {header: true}, columns: {id: integer, d: {type: date, format: [\"%d/%m/%Y\", \"%d.%m.%Y\"]}}",
            "id,d\n1,27/07/2021\n2,03/04/2021\n3,31.12.2020\n4,31.02.2020\n", "id, d",
            &["1|2021-07-27", "2|2021-04-03", "3|2020-12-31"], &["invalid_date"]
        ),
        epochs: (
            "key: id, csv: {header: true}, columns: {id: integer, d: {type: timestamptz, format: [epoch_s, epoch_ms]}}",
            "id,d\n1,1627401728\n2,1627401728123\n", "id, d at time zone 'UTC'",
            &["1|2021-07-27 16:02:08", "2|2021-07-27 16:02:08.123"], &[]
        ),
        local_times: (
            "key: id, csv: {header: true, time_zone: America/Bogota}, columns: {id: integer, d: timestamptz}",
            "id,d\n1,2021-07-27 16:02:08\n2,2021-07-27 16:02:08Z\n", "id, d at time zone 'UTC'",
            &["1|2021-07-27 21:02:08", "2|2021-07-27 16:02:08"], &[]
        ),
        local_times_that_are_missing_or_come_twice: (
            "key: id, csv: {time_zone: Europe/Berlin}, columns: {id: integer, d: timestamptz}",
            "1,2021-03-28 02:30:00\n2,2021-10-31 02:30:00\n3,2021-10-31 12:00:00\n", "id, d at time zone 'UTC'",
            &["3|2021-10-31 11:00:00"], &["invalid_timestamp", "invalid_timestamp"]
        ),
        days_in_other_notations: (
            "key: id, csv: {header: true}, columns: {id: integer, d: date}",
            "id,d\n1,2021-07-27 00:00:00\n2,2021-07-27T00:00:00Z\n3,20210727\n4,2021/07/27\n5,2021-7-5\n6,2021-07-27 10:00:00\n",
            "id, d", &["1|2021-07-27", "2|2021-07-27", "3|2021-07-27", "4|2021-07-27", "5|2021-07-05"], &["invalid_date"]
        ),
        decimal_commas: (
            "key: id, csv: {header: true, delimiter: ;, decimal: \",\", thousands: \".\"}, \
             columns: {id: integer, n: \"numeric(18,2)\"}",
            "id;n\n1;12,50\n2;1.234,56\n3;1.234\n4;1.23\n", "id, n", &["1|12.50", "2|1234.56", "3|1234.00"], &["invalid_number"]
        ),
        currencies: (
            "key: id, csv: {header: true}, columns: {id: integer, n: {type: \"numeric(18,2)\", thousands: \",\", \
             strip: [\"$\", \"€\", EUR, USD]}}",
            "id,n\n1,\"$1,200.00\"\n2,€5\n3,5 EUR\n4,USD 5\n", "id, n", &["1|1200.00", "2|5.00", "3|5.00", "4|5.00"], &[]
        ),
        whole_numbers_with_a_point: (
            "key: id, csv: {header: true}, columns: {id: integer, n: {type: integer, optional: true}}",
            "id,n\n1,1.0\n2,\n3,3.0\n4,3.5\n", "id, coalesce(n, -1)", &["1|1", "2|-1", "3|3"], &["invalid_integer"]
        ),
        words_for_true: (
            "key: id, csv: {header: true}, columns: {id: integer, b: {type: boolean, optional: true, \
             true: [Y, sí, S, V, T, \"True\", \"1\", \"-1\", X, verdadero, \"1.0\"], false: [N]}}",
            "id,b\n1,Y\n2,N\n3,sÍ\n4,verdadero\n5,-1\n6,\n7,tr\n", "id, coalesce(b::text, 'null')",
            &["1|true", "2|false", "3|true", "4|true", "5|true", "6|null"], &["invalid_boolean"]
        ),
    }
}
