//! What `init` writes of a file is a manifest, and reads that file without rejecting a line.

use std::fs;

use tidegate_core::manifest::Manifest;
use tidegate_core::manifest::starter::write;
use tidegate_files::infer;

use super::preview::{ALL, previewed};

mod what_init_writes {
    use super::*;

    tidegate_testing::rows! { reads_its_own_sample:
        plain: ("id,name\n1,Ann\n2,Bob\n".as_bytes(), 2),
        no_header: (b"1,Ann\n2,Bob\n3,Cy\n", 3),
        texts_alone: (b"carrier,name\n9E,Endeavor\nAA,American\n", 2),
        semicolons_of_europe: (
            b"Id;Nombre;Saldo;Fecha;A\xf1o\n1;Jos\xe9;1.234,56;27.07.2021;2021\n2;Ann;12,50;28.07.2021;2022\n",
            2,
        ),
        days_first: (b"id,d\n1,27/07/2021\n2,28/07/2021\n", 2),
        several_formats: (b"id,d\n1,27/07/2021\n2,03/04/2021\n3,31.12.2020\n4,2020-12-30\n", 4),
        months_by_name: (b"id,d\n1,27-Jul-2021\n2,01-May-2021\n", 2),
        times_of_half_days: (b"id,t\n1,27/07/2021 4:05:06 PM\n2,28/07/2021 12:00:00 AM\n", 2),
        times_with_offset: (b"id,t\n1,27/07/2021 14:05:06 +0200\n2,28/07/2021 14:05:06 +0200\n", 2),
        ambiguous_days: (b"id,d\n1,01/02/2021\n2,03/04/2021\n", 2),
        json: (b"id,j\n1,\"{\"\"a\"\":1}\"\n2,\"{}\"\n", 2),
        missing_values: (b"id,x,y\n1,NA,-\n2,5,7\n3,NULL,8\n4,6,9\n", 4),
        missing_values_among_codes: (b"id,country,n\n1,NA,5\n2,DE,NA\n3,FR,7\n", 3),
        missing_values_in_quotes: (b"\"id\",\"n\"\n\"1\",\"NULL\"\n\"2\",\"5\"\n", 2),
        unnamed_first_column: (b",a,b\n0,1,2\n1,3,4\n", 2),
        names_of_rows: (b"mpg,cyl\nMazda,21.0,6\nFiat,32.4,4\n", 2),
        a_name_twice: (b"id,v,v\n1,2,3\n2,3,4\n", 2),
        names_with_blanks: (b"Name,Weight (kg)\nA,1\nB,2\nC,3\n", 3),
        a_name_that_no_table_has: (b"id,ctid\n1,2\n2,3\n", 2),
        thousands: (b"order_id,customer,amount\n1,c1,\"1,044\"\n2,c1,\"2,000\"\n", 2),
        currencies: (b"id,n\n1,\"$1,200.00\"\n2,-$5.00\n3,(7)\n", 3),
        percents: (b"id,n\n1,12%\n2,7 %\n", 2),
        groups_by_blanks: (b"id;n\n1;1 234,5\n2;7\n", 2),
        other_words_for_true: ("id,b\n1,Sí\n2,No\n3,sí\n".as_bytes(), 3),
        empty_fields: (b"id,name,n\n1,Ann,\n2,,5\n3,Cy,6\n4,Di,7\n5,Ed,8\n6,Flo,9\n7,Gus,1\n", 7),
        markers_alone: (b"id,n,s\n1,NULL,NULL\n2,NA,NA\n", 2),
        days_in_loose_forms: (b"id,d\n1,2021/07/27\n2,2021-7-5\n", 2),
        preamble: (b"Report\nGenerated 2021\n\nid,name\n1,Ann\n2,Bob\n", 2),
        sep_line: (b"sep=;\r\nid;name\r\n1;Ann\r\n2;Bob\r\n", 2),
        trailing_delimiters: (b"id,name,\n1,a,\n2,b,\n", 2),
        trailing_delimiters_of_lines: (b"id,name\n1,a,\n2,b,\n", 2),
        trailing_delimiters_without_header: (b"1,a,\n2,b,\n", 2),
        delimiter_of_two: (b"id||name\n1||Ann\n2||Bob\n", 2),
        blanks_between: (b"id   name  n\n1    Ann   5\n22   Bob   7\n", 2),
        fixed_width: (b"0001Ann Lee   20210727\n0002Bobby     20210728\n", 2),
        backslash_quotes: (b"id,name\n1,\"say \\\"hi\\\", ok\"\n2,\"C:\\\\dir\"\n", 2),
        text_of_copy: (b"1\tA\\tB\n2\t\\N\n3\tl1\\nl2\n4\tback\\\\slash\n", 4),
        blanks_before_quotes: (b"id, name\n1, \"Ann, Jr\"\n2, \"Bob\"\n", 2),
        blanks_around: (b"id, name\n 1 , Ann \n2,Bob  \n", 2),
        apostrophes: (b"'id','name'\n'1','Ann, Jr'\n'2','Bob'\n", 2),
        footers: (b"id,name\n1,Ann\n2,Bob\n(2 rows)\nTotal,2\n", 2),
        table_of_psql: (b" id | name \n----+------\n  1 | Ann\n  2 | Bob\n(2 rows)\n\n", 2),
        comments: (b"# made by x\nid,name\n1,Ann\n# half\n2,Bob\n", 2),
        kinds_of_lines: (b"H|CLIENTS|202504|3\nD|1|Ann|S|x\nD|2|Bob|N|y\nT|2|12\n", 2),
        header_again: (b"id,n\n1,5\nid,n\n2,6\n", 2),
        short_rows: (b"id,a,b\n1,x\n2,x,y\n3,x,z\n", 3),
        utf_16: (&"\u{feff}id\tname\r\n1\tAnn\r\n2\tJosé\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), 2),
    }

    async fn reads_its_own_sample(bytes: &[u8], rows: u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("things.csv");
        fs::write(&path, bytes).unwrap();
        let sample = infer::sample(&path, infer::SAMPLE_BYTES).await.unwrap();
        let text = write(&[sample], "p").text;
        // A key that may be chance is asked for; the answer here is that there is none.
        let asked = text.lines().any(|line| line.starts_with("    # key: "));
        let text = if asked { text.replace("    columns:\n", "    key: none\n    columns:\n") } else { text };
        let manifest =
            Manifest::parse(&text, &|_| None).unwrap_or_else(|faults| panic!("{faults}\n\n{text}"));
        let found = previewed(&manifest, "things.csv", bytes, ALL);
        assert_eq!(found.refused, None, "{text}");
        assert_eq!(found.reasons, [], "{text}");
        assert_eq!(found.accepted, rows, "{text}\n{found:?}");
    }
}
