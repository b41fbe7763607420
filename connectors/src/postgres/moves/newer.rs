//! Which newer lines hold the rows of replayed ones: those are accepted, and change nothing.

use std::collections::HashMap;

use deadpool_postgres::Transaction;
use tidegate_core::position::Position;
use tidegate_core::split::{Dialect, Fields};

use super::super::batch::{Batch, Row, Verdicts};
use super::super::{Error, Inner};

/// For replayed lines whose row a newer line holds, that line.
pub(in super::super) type Newer = HashMap<Position, Position>;

/// Looks up the rows of the replayed lines of a batch that are accepted, when all rows are written.
pub(in super::super) async fn rows(
    tx: &Transaction<'_>,
    inner: &Inner,
    batch: &Batch,
    verdicts: &[Verdicts],
) -> Result<Newer, Error> {
    let mut newer = Newer::new();
    let is_replayed = |row: &Row| {
        let letter = row.letter.map(|letter| &batch.letters[letter as usize]);
        letter.and_then(|letter| letter.stored).is_some_and(|stored| stored.claim.is_some())
    };
    for (dataset, (rows, verdicts)) in batch.rows.iter().zip(verdicts).enumerate() {
        let accepted = verdicts.accepted.iter().map(|row| &rows.lines[*row as usize]);
        let replayed: Vec<&Row> = accepted.filter(|row| is_replayed(row)).collect();
        if replayed.is_empty() {
            continue;
        }
        let key = inner.manifest.datasets[dataset].key;
        let mut fields = Fields::default();
        let keys: Vec<String> = replayed
            .iter()
            .map(|row| {
                let text = rows.canonical(row);
                fields.split(text, Dialect::STANDARD).expect("a canonical line has no open quote");
                String::from_utf8_lossy(fields.get(key, text)).into_owned()
            })
            .collect();
        let table = &inner.tables[dataset];
        let sql = format!(
            "select wanted.i, held._source, held._line \
             from unnest($1::text[]) with ordinality as wanted (key, i) \
             join {} as held on held.{} = wanted.key::{}",
            table.name, table.key, table.key_type
        );
        let statement = tx.prepare_cached(&sql).await?;
        for row in tx.query(&statement, &[&keys]).await? {
            let replayed = replayed[row.get::<_, i64>(0) as usize - 1].position;
            let (source, line): (i64, i64) = (row.get(1), row.get(2));
            // A row without a position is another application's, and ranks below every line.
            if let (Ok(source), Ok(line)) = (u64::try_from(source), u64::try_from(line))
                && Position::new(source, line) > replayed
            {
                newer.insert(replayed, Position::new(source, line));
            }
        }
    }
    Ok(newer)
}
