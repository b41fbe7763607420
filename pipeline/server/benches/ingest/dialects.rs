//! The same orders in one dialect after the other, in turn.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::common::{Anything, Bench, Run};

/// A way to write and to key the orders.
struct Case {
    name: &'static str,
    /// The keys of the dataset besides its columns.
    dataset: &'static str,
    /// What follows the type in columns.
    amount: &'static str,
    day: &'static str,
    /// One order as bytes.
    write: fn(&Order, &mut Vec<u8>),
}

/// What a line says.
struct Order {
    id: u64,
    line: u64,
    cents: u64,
    day: u64,
}

const CASES: [Case; 6] = [
    Case { name: "standard", dataset: "key: [id]", amount: "", day: "", write: standard },
    Case {
        name: "windows-1252",
        dataset: "key: [id], csv: {encoding: windows-1252}",
        amount: "",
        day: "",
        write: |order, out| {
            let line = format!(
                "{},{},Jos\u{e9} \u{dc}nal,{}.{:02},2021-07-{:02}\n",
                order.id,
                order.line,
                order.cents / 100,
                order.cents % 100,
                order.day
            );
            // All of these characters are those of Latin-1.
            out.extend(line.chars().map(|character| character as u8));
        },
    },
    Case {
        name: "`;`, decimal commas, %d/%m/%Y",
        dataset: "key: [id], csv: {delimiter: ';'}",
        amount: ", decimal: ','",
        day: ", format: '%d/%m/%Y'",
        write: |order, out| {
            let Order { id, line, cents, day } = order;
            let _ = writeln!(out, "{id};{line};Jos Unal;{},{:02};{day:02}/07/2021", cents / 100, cents % 100);
        },
    },
    Case {
        name: "backslash escapes",
        dataset: "key: [id], csv: {escape: '\\'}",
        amount: "",
        day: "",
        write: |order, out| {
            let Order { id, line, cents, day } = order;
            let _ = writeln!(
                out,
                "{id},{line},\"Jos \\\"Unal\\\"\",{}.{:02},2021-07-{day:02}",
                cents / 100,
                cents % 100
            );
        },
    },
    Case { name: "composite key", dataset: "key: [id, line]", amount: "", day: "", write: standard },
    Case { name: "no key", dataset: "key: none", amount: "", day: "", write: standard },
];

fn standard(order: &Order, out: &mut Vec<u8>) {
    let Order { id, line, cents, day } = order;
    let _ = writeln!(out, "{id},{line},Jos Unal,{}.{:02},2021-07-{day:02}", cents / 100, cents % 100);
}

/// Loads `rows` orders in each dialect, and prints each rate and its ratio to that of the standard dialect.
pub(crate) fn compare(bench: &Bench, rows: u64, rounds: usize) -> Anything<()> {
    println!(
        "\n{rows} orders in each dialect, thousands per second; median of {rounds} rounds, taken in turn"
    );
    println!("| dialect | tidegate | ÷ standard | CPU s | peak MiB |");
    println!("| --- | --- | --- | --- | --- |");
    let mut runs: Vec<Vec<Run>> = CASES.iter().map(|_| Vec::new()).collect();
    for (case, number) in CASES.iter().zip(0..) {
        write(case, rows, &bench.file(&format!("orders{number}.csv")))?;
    }
    for _ in 0..rounds {
        for ((case, runs), number) in CASES.iter().zip(&mut runs).zip(0..) {
            let home = bench.home_of("home", &manifest(case, number))?;
            runs.push(bench.ingest(&home, &[bench.file(&format!("orders{number}.csv"))])?);
        }
    }
    let summaries: Vec<Run> = runs.iter().map(|runs| Run::summary(runs)).collect();
    for (case, run) in CASES.iter().zip(&summaries) {
        println!(
            "| {} | {:.0} | {:.2} | {:.2} | {:.0} |",
            case.name,
            rows as f64 / run.seconds / 1000.0,
            summaries[0].seconds / run.seconds,
            run.cpu_seconds,
            run.peak_mib,
        );
    }
    Ok(())
}

fn manifest(case: &Case, number: usize) -> String {
    let Case { dataset, amount, day, .. } = case;
    let columns = format!(
        "id: integer, line: integer, name: text, amount: {{type: 'numeric(12,2)'{amount}}}, \
         day: {{type: date{day}}}"
    );
    format!("pipeline: bench\ndatasets:\n  orders{number}: {{{dataset}, columns: {{{columns}}}}}\n")
}

fn write(case: &Case, rows: u64, path: &Path) -> Anything<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut line = Vec::new();
    for id in 1..=rows {
        line.clear();
        let order = Order { id, line: id % 7, cents: id * 37 % 1_000_000, day: id % 28 + 1 };
        (case.write)(&order, &mut line);
        file.write_all(&line)?;
    }
    Ok(file.flush()?)
}
