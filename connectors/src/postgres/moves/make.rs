//! Making the moves that were asked for. Only who holds the pipeline's leases does.

use std::time::Duration;

use deadpool_postgres::Transaction;
use tidegate_core::dead_letter::{Event, Stage};
use tidegate_core::failpoint::Failpoint;
use tidegate_core::ledger::Fate;
use tidegate_core::position::Position;
use tokio_postgres::Row;

use super::super::batch::{Claim, Letter, Reader, Stored};
use super::super::ledger::Draft;
use super::super::sink::LEDGER_DISAGREES;
use super::super::{Error, Postgres};
use super::Outcome;

/// How many lines one transaction moves, at most, and about how many bytes.
const ROUND_LINES: i64 = 5_000;
const ROUND_BYTES: i64 = 8 * 1024 * 1024;
/// A round that finds its lines moved already looks again so often.
const IDLE_ROUNDS_MAX: u32 = 3;

/// What a round of moves came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Worked {
    /// How many lines it moved.
    pub lines: u64,
    /// In how long there is more to do; `None` if nothing is asked for.
    pub next: Option<Duration>,
}

impl Postgres {
    /// Makes moves that were asked for, one batch of each job that is due, and heals what waited for what came of
    /// it. To be called again when it says. Costs one small query where nothing is asked for.
    ///
    /// # Errors
    ///
    /// If the leases are another's, or Postgres cannot be asked. What was made until then stays.
    pub async fn work_on_moves(&self) -> Result<Worked, Error> {
        if self.next_moves().await?.is_none() {
            return Ok(Worked::default());
        }
        let lines = self.make_moves().await?;
        if lines > 0 {
            self.heal_waiting().await?;
        }
        Ok(Worked { lines, next: self.next_moves().await? })
    }

    /// The same without healing. Gives how many lines were moved.
    pub(in super::super) async fn make_moves(&self) -> Result<u64, Error> {
        // Those of before first: what a job claimed before a crash is a part of it.
        let mut lines = self.make_open().await?;
        for job in self.due_jobs().await? {
            if self.claim_of_job(job).await? {
                lines += self.make_open().await?;
            }
        }
        self.end_jobs().await?;
        Ok(lines)
    }

    async fn make_open(&self) -> Result<u64, Error> {
        Ok(self.make_replays().await? + self.make_discards().await?)
    }

    /// In how long something is to be done; `None` if nothing is asked for.
    async fn next_moves(&self) -> Result<Option<Duration>, Error> {
        let connection = self.connection().await?;
        let statement =
            connection.prepare_cached(include_str!("../../../../sql/queries/next_moves.sql")).await?;
        let seconds: Option<f64> = connection.query_one(&statement, &[]).await?.get(0);
        Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
    }

    /// Tries all claimed lines again, oldest claim first.
    async fn make_replays(&self) -> Result<u64, Error> {
        let (mut moved, mut idle_rounds) = (0, 0);
        loop {
            let connection = self.connection().await?;
            let sql = include_str!("../../../../sql/queries/claimed_letters.sql");
            let statement = connection.prepare_cached(sql).await?;
            let rows = connection.query(&statement, &[&ROUND_LINES, &ROUND_BYTES]).await?;
            drop(connection);
            if rows.is_empty() {
                self.pass_over_strays().await?;
                return Ok(moved);
            }
            let shapes = self.shapes(rows.iter().map(|row| row.get("shape"))).await?;
            let mut reader = Reader::new(&self.inner.manifest, &self.inner.validators);
            let mut homeless = Vec::new();
            for row in &rows {
                match self.inner.manifest.dataset(row.get("dataset")) {
                    Some((dataset, _)) => {
                        let shape = row.get::<_, Option<i64>>("shape");
                        let shape = shape.and_then(|shape| shapes.get(&shape).cloned());
                        reader.letter(Letter { shape, ..claimed(dataset, row) });
                    }
                    None => homeless.push(row.get::<_, i64>("move")),
                }
            }
            let left = self.commit(&reader.finish()).await?.left + self.unclaim(&homeless).await?;
            Failpoint::MovesMade.pass()?;
            self.inner.bells.ring_made();
            moved += left;
            // Another process is at it.
            idle_rounds = if left == 0 { idle_rounds + 1 } else { 0 };
            if idle_rounds == IDLE_ROUNDS_MAX {
                return Ok(moved);
            }
        }
    }

    /// Lets go of lines whose dataset the manifest does not have any more: they are what they were before.
    async fn unclaim(&self, moves: &[i64]) -> Result<u64, Error> {
        if moves.is_empty() {
            return Ok(0);
        }
        let mut connection = self.connection().await?;
        let tx = self.fenced(&mut connection).await?;
        let unclaimed =
            tx.execute(include_str!("../../../../sql/queries/unclaim_letters.sql"), &[&moves]).await?;
        tx.commit().await?;
        Ok(unclaimed)
    }

    /// Ends moves that have nothing to move: nobody makes such, but a table that was tampered with is no reason to
    /// look at them for ever.
    async fn pass_over_strays(&self) -> Result<(), Error> {
        let connection = self.connection().await?;
        let sql = include_str!("../../../../sql/queries/pass_over_strays.sql");
        let strays = connection.execute(&connection.prepare_cached(sql).await?, &[]).await?;
        if strays > 0 {
            tracing::warn!(
                strays,
                "replays and discards of lines that are not as they were claimed are passed over"
            );
        }
        Ok(())
    }

    /// Gives up all lines that are to be discarded.
    async fn make_discards(&self) -> Result<u64, Error> {
        let mut moved = 0;
        loop {
            let mut connection = self.connection().await?;
            let tx = self.fenced(&mut connection).await?;
            let sql = include_str!("../../../../sql/queries/discarded_letters.sql");
            let statement = tx.prepare_cached(sql).await?;
            let letters = tx.query(&statement, &[&ROUND_LINES]).await?;
            if letters.is_empty() {
                return Ok(moved);
            }
            discard(&tx, &letters).await?;
            Failpoint::LettersDiscarded.pass()?;
            tx.commit().await?;
            Failpoint::MovesMade.pass()?;
            self.inner.bells.ring_made();
            moved += letters.len() as u64;
        }
    }
}

/// A claimed line, as the batch is to try it: in the form in which it was given, if it was edited.
fn claimed(dataset: usize, row: &Row) -> Letter {
    let edited: bool = row.get("edited");
    let set = if row.get::<_, &str>("status_before") == "waiting" { Fate::Waiting } else { Fate::Rejected };
    let claim = Claim { number: row.get("move"), edited, shape: row.get::<_, Option<i64>>("shape") };
    Letter {
        dataset,
        position: position(row),
        attempt: row.get::<_, i32>("attempt") as u32,
        stage: if edited { Stage::Transform } else { Stage::parse(row.get("stage")) },
        event: Event::Waiting,
        text: row.get("text"),
        bytes: None,
        length: None,
        blake3: None,
        reasons: Vec::new(),
        shape: None,
        dropped: None,
        stored: Some(Stored { set, claim: Some(claim) }),
    }
}

/// Moves the lines of letters, which are held, to the discarded set. One that has healed meanwhile is passed over.
async fn discard(tx: &Transaction<'_>, letters: &[Row]) -> Result<(), Error> {
    let mut ledger = Draft::read(tx, letters.iter().map(position)).await?;
    let (mut numbers, mut outcomes) = (Vec::new(), Vec::new());
    let (mut sources, mut lines) = (Vec::new(), Vec::new());
    for letter in letters {
        let from = match letter.get("status") {
            "rejected" => Some(Fate::Rejected),
            "waiting" => Some(Fate::Waiting),
            _ => None,
        };
        numbers.push(letter.get::<_, i64>("move"));
        outcomes.push(from.map_or(Outcome::PassedOver, |_| Outcome::Discarded).as_str());
        if let Some(from) = from {
            ledger.settle(position(letter), from, Fate::Discarded);
            sources.push(letter.get::<_, i64>("source"));
            lines.push(letter.get::<_, i64>("line"));
        }
    }
    let sql = "update tidegate.dead_letters as d set status = 'discarded', awaits = null, updated_at = clock_timestamp() \
               from unnest($1::bigint[], $2::bigint[]) as given_up (source, line) \
               where d.source = given_up.source and d.line = given_up.line";
    tx.execute(sql, &[&sources, &lines]).await?;
    let nobody: Vec<Option<i64>> = vec![None; numbers.len()];
    let sql = include_str!("../../../../sql/queries/end_moves.sql");
    tx.execute(sql, &[&numbers, &outcomes, &nobody, &nobody]).await?;
    match ledger.write(tx).await {
        // The letters were held: nobody else has moved one.
        Err(Error::LedgerChanged) => Err(Error::halt(LEDGER_DISAGREES)),
        written => written,
    }
}

fn position(row: &Row) -> Position {
    Position::new(row.get::<_, i64>("source") as u64, row.get::<_, i64>("line") as u64)
}
