//! Healing: waiting lines are accepted, at their own positions, once their references exist, whoever wrote
//! them.

use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::position::Position;

use super::batch::{Letter, Reader, Stored};
use super::{Error, How, Postgres};

/// How many waiting lines one transaction accepts, at most.
const ROUND_LINES: i64 = 20_000;

impl Postgres {
    /// Accepts all waiting lines whose references exist; gives how many left the waiting set.
    ///
    /// **What was asked for is done here too**, so that every holder of the leases does it, however it runs.
    pub(super) async fn heal_all(&self) -> Result<u64, Error> {
        self.make_moves().await?;
        self.heal_waiting().await
    }

    /// The same, of waiting lines alone.
    pub(super) async fn heal_waiting(&self) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let mut healed = 0;
            for dataset in 0..self.inner.manifest.datasets.len() {
                healed += self.heal_dataset(dataset).await?;
            }
            total += healed;
            // What was healed may be what other lines wait for.
            if healed == 0 {
                return Ok(total);
            }
        }
    }

    async fn heal_dataset(&self, dataset: usize) -> Result<u64, Error> {
        if self.inner.sink.is_stopped(dataset) {
            return Ok(0);
        }
        let sql = self.ready_statement(dataset);
        let dataset_now = &self.inner.manifest.datasets[dataset];
        let name = &dataset_now.name;
        let referencing = dataset_now.columns.iter().filter(|column| column.references.is_some());
        let referencing: Vec<&str> = referencing.map(|column| column.name.as_str()).collect();
        let mut after = Position::new(0, 0);
        let mut healed = 0;
        loop {
            let mut connection = self.connection().await?;
            let tx = self.begin(&mut connection, How::Read).await?;
            let (source, line) = (after.source as i64, after.line as i64);
            let ready = async {
                let statement = tx.prepare_cached(&sql).await?;
                tx.query(&statement, &[name, &source, &line, &ROUND_LINES, &referencing]).await
            };
            let rows = match ready.await.map_err(Error::from) {
                Ok(rows) => rows,
                // One of the tables that it references cannot be read.
                Err(error) if error.is_of_dataset() => {
                    self.stop_dataset(dataset, &error);
                    return Ok(healed);
                }
                Err(error) => return Err(error),
            };
            tx.commit().await?;
            drop(connection);
            let Some(last) = rows.last() else { return Ok(healed) };
            after = position(last);
            let shapes = self.shapes(rows.iter().map(|row| row.get("shape"))).await?;
            let mut reader = Reader::new(&self.inner.manifest, &self.inner.validators);
            for row in &rows {
                reader.letter(Letter {
                    dataset,
                    position: position(row),
                    attempt: row.get::<_, i32>(2) as u32,
                    stage: Stage::parse(row.get(4)),
                    event: Event::Waiting,
                    text: row.get(3),
                    bytes: None,
                    length: None,
                    blake3: None,
                    reasons: Vec::new(),
                    shape: row.get::<_, Option<i64>>("shape").and_then(|shape| shapes.get(&shape).cloned()),
                    dropped: None,
                    stored: Some(Stored::WAITING),
                });
            }
            healed += self.commit(&reader.finish()).await?.left;
            Failpoint::WaitingHealed.pass()?;
        }
    }

    /// The query for waiting lines of a dataset that may heal: one of the references that they lacked exists
    /// now, or is to a row of the same dataset, which may itself be waiting, even for this one; or what they lacked is
    /// no reference any more, as the manifest has changed ($5 are its references now).
    fn ready_statement(&self, dataset: usize) -> String {
        let mut conditions = vec!["awaits - $5::text[] <> '{}'".to_owned()];
        for column in &self.inner.manifest.datasets[dataset].columns {
            let Some(parent) = column.references else { continue };
            let awaited = format!("awaits ->> '{}'", column.name.replace('\'', "''"));
            conditions.push(if parent == dataset {
                format!("{awaited} is not null")
            } else {
                let parent = &self.inner.tables[parent];
                format!(
                    "exists (select from {} as parent where parent.{} = ({awaited})::{})",
                    parent.name, parent.key, parent.key_type
                )
            });
        }
        format!(
            "select source, line, attempt, text, stage, shape from tidegate.dead_letters \
             where dataset = $1 and status = 'waiting' and (source, line) > ($2, $3) and ({}) \
             order by source, line limit $4",
            conditions.join(" or ")
        )
    }
}

fn position(row: &tokio_postgres::Row) -> Position {
    Position::new(row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64)
}
