//! How the instances of a stage share its partitions.
//!
//! Each says now and then that it lives ([`Postgres::beat`]), and in the same transaction renews its leases and takes
//! the free ones that fall to it. Each alone works out what that is, from the same list of members: as many
//! partitions as the others have, give or take one. Who has too many is told which to give back; nothing is taken
//! from anybody but by the end of its lease. So an instance that joins gets its share when others have finished the
//! batch in hand, and a dead one's partitions move when their leases have expired.

use std::collections::BTreeSet;

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::contract::{self, Consumed, SINK_READER};
use tidegate_core::dead_letter::Stage;
use uuid::Uuid;

use super::leases::Leases;
use super::{Error, Holder, How, Postgres};

/// An instance of a stage.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The stage.
    pub stage: Stage,
    /// Who runs it.
    pub holder: Holder,
    /// The only partitions that it takes, if it is not to have its share.
    pub pinned: Option<BTreeSet<u32>>,
    /// In which form it reads and writes lines, and with which views. See [`Postgres::join`].
    pub form: String,
}

/// What an instance has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The partitions whose leases it holds.
    pub held: BTreeSet<u32>,
    /// Those of them that it is to give back, for others.
    pub surplus: BTreeSet<u32>,
}

impl Share {
    /// The partitions to work for.
    pub fn kept(&self) -> BTreeSet<u32> {
        &self.held - &self.surplus
    }
}

/// An instance as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its stage, as it is stored.
    pub stage: String,
    /// Who runs it.
    pub holder: Holder,
    /// The partitions whose leases it holds.
    pub partitions: Vec<u32>,
    /// How many records stand before it there, as it saw last.
    pub lag_records: Option<u64>,
}

/// Who else lives, in the order in which they came.
struct Living {
    owner: Uuid,
    pinned: Option<BTreeSet<u32>>,
}

impl Postgres {
    /// Makes ready for instances that read and write lines in this form: to be called before a line is sent or
    /// read, as often as you like. `ends` gives the ends of all partitions of all topics, when nobody else sends any
    /// more.
    ///
    /// What stands on a topic before the pipeline first used it, of another database perhaps, is nobody's: readers
    /// begin behind it. So they do when the form changes, since lines in flight could be misread; they are read
    /// again from their files.
    ///
    /// # Errors
    ///
    /// That can be tried again while instances live that have another form; or if Postgres cannot be asked.
    pub async fn join(
        &self,
        form: &str,
        transform_reader: &str,
        ends: impl AsyncFnOnce() -> Result<Vec<Consumed>, contract::Error>,
    ) -> Result<(), contract::Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        let changed = self.change_form(&tx, form).await?;
        let ends = ends().await?;
        self.begin_reading(&tx, transform_reader, &ends, changed).await?;
        Ok(tx.commit().await.map_err(Error::from)?)
    }

    /// Makes `form` the pipeline's, if nobody lives that has another. Tells whether it was another.
    async fn change_form(&self, tx: &Transaction<'_>, form: &str) -> Result<bool, Error> {
        let known: Option<String> =
            tx.query_one("select form from tidegate.pipeline for update", &[]).await?.get(0);
        let changed = known.as_deref() != Some(form);
        if changed {
            if let Some(row) = tx.query_opt(LIVING_OF_ANY_STAGE, &[&self.inner.owner]).await? {
                return Err(Error::InTheWay(format!(
                    "process {} on {} runs the {} with another manifest or other views; stop all instances that do, \
                     these go on then",
                    row.get::<_, i64>(1),
                    row.get::<_, &str>(0),
                    row.get::<_, &str>(2)
                )));
            }
            // From now on whoever had them can commit nothing.
            tx.batch_execute("delete from tidegate.leases; delete from tidegate.members").await?;
            tx.execute("update tidegate.pipeline set form = $1", &[&form]).await?;
        }
        Ok(changed)
    }

    async fn begin_reading(
        &self,
        tx: &Transaction<'_>,
        transform_reader: &str,
        ends: &[Consumed],
        changed: bool,
    ) -> Result<(), Error> {
        let manifest = &self.inner.manifest;
        let raw: BTreeSet<String> =
            manifest.datasets.iter().map(|dataset| manifest.raw_topic(dataset)).collect();
        let of = |consumed: &&Consumed| raw.contains(&consumed.topic);
        for (reader, is_raw) in [(transform_reader, true), (SINK_READER, false)] {
            let its: Vec<_> = ends.iter().filter(|end| of(end) == is_raw).collect();
            let topics: Vec<&str> = its.iter().map(|end| end.topic.as_str()).collect();
            let partitions: Vec<i32> = its.iter().map(|end| end.partition as i32).collect();
            let next: Vec<i64> = its.iter().map(|end| end.next as i64).collect();
            let sql = include_str!("../../../sql/queries/begin_reading.sql");
            tx.execute(sql, &[&reader, &topics, &partitions, &next, &changed]).await?;
        }
        Ok(())
    }

    /// Says that an instance lives, renews its leases, and takes what falls to it. `lag_records` is what others
    /// are told of it.
    ///
    /// # Errors
    ///
    /// If the pipeline runs in another form by now, or Postgres cannot be asked.
    pub async fn beat(&self, me: &Membership, lag_records: Option<u64>) -> Result<Share, Error> {
        let Membership { stage, holder, pinned, form } = me;
        let (owner, manifest) = (self.inner.owner, &self.inner.manifest);
        let stage = stage.as_str();
        let seconds = manifest.lease.as_secs_f64();
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        assert_form(&tx, form).await?;
        let pinned_numbers: Option<Vec<i32>> =
            pinned.as_ref().map(|pinned| pinned.iter().map(|p| *p as i32).collect());
        let (pid, lag) = (i64::from(holder.pid), lag_records.map(|lag| lag as i64));
        tx.execute(
            include_str!("../../../sql/queries/beat.sql"),
            &[&stage, &owner, &holder.host, &pid, &holder.started, &seconds, &pinned_numbers, &lag],
        )
        .await?;
        let living = living(&tx, stage).await?;
        let sql = "update tidegate.leases set expires_at = now() + $3 * interval '1 second' \
                   where stage = $1 and owner = $2 returning partition";
        let renewed = tx.query(sql, &[&stage, &owner, &seconds]).await?;
        let held: BTreeSet<u32> = renewed.iter().map(|row| row.get::<_, i32>(0) as u32).collect();
        let sql = "select partition from tidegate.leases \
                   where stage = $1 and owner <> $2 and expires_at >= now()";
        let taken = tx.query(sql, &[&stage, &owner]).await?;
        let taken: BTreeSet<u32> = taken.iter().map(|row| row.get::<_, i32>(0) as u32).collect();
        let (keep, take) = divide(owner, &living, manifest.partitions(), &held, &taken);
        let mut share = Share { surplus: &held - &keep, held };
        if !take.is_empty() {
            let take: Vec<u32> = take.into_iter().collect();
            let leases = Leases::of(&[me.stage], &take);
            let got = self.take(&tx, &leases, holder, (manifest.lease, false)).await?;
            share.held.extend(got.into_iter().map(|partition| partition as u32));
        }
        tx.commit().await?;
        Ok(share)
    }

    /// Gives leases of a stage back, for whoever takes them first.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn give_back(&self, stage: Stage, partitions: &BTreeSet<u32>) -> Result<(), Error> {
        let sql = "delete from tidegate.leases where stage = $1 and partition = any($2) and owner = $3";
        let partitions: Vec<i32> = partitions.iter().map(|p| *p as i32).collect();
        self.connection().await?.execute(sql, &[&stage.as_str(), &partitions, &self.inner.owner]).await?;
        Ok(())
    }

    /// Takes leave: gives all leases of a stage back, and is no member any more.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn leave(&self, stage: Stage) -> Result<(), Error> {
        let mut connection = self.connection().await?;
        let tx = self.begin(&mut connection, How::Write).await?;
        let (stage, owner) = (stage.as_str(), self.inner.owner);
        for table in ["leases", "members"] {
            let sql = format!("delete from tidegate.{table} where stage = $1 and owner = $2");
            tx.execute(&sql, &[&stage, &owner]).await?;
        }
        Ok(tx.commit().await?)
    }

    /// All instances that live, by stage.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be asked.
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let connection = self.connection().await?;
        let row = connection.query_one("select to_regclass('tidegate.members') is not null", &[]).await?;
        if !row.get::<_, bool>(0) {
            return Ok(Vec::new()); // nobody has run it yet
        }
        let rows = connection.query(include_str!("../../../sql/queries/members.sql"), &[]).await?;
        let member = |row: &tokio_postgres::Row| Member {
            stage: row.get("stage"),
            holder: Holder {
                host: row.get("host"),
                pid: row.get::<_, i64>("pid") as u32,
                started: row.get("started"),
            },
            partitions: row.get::<_, Vec<i32>>("partitions").into_iter().map(|p| p as u32).collect(),
            lag_records: row.get::<_, Option<i64>>("lag_records").map(|lag| lag as u64),
        };
        Ok(rows.iter().map(member).collect())
    }
}

/// Fails unless the pipeline runs in this form, to the end of the transaction.
pub(super) async fn assert_form(client: &impl GenericClient, form: &str) -> Result<(), Error> {
    let row = client.query_one("select form from tidegate.pipeline for share", &[]).await?;
    if row.get::<_, Option<&str>>(0) == Some(form) {
        return Ok(());
    }
    Err(Error::halt(
        "the pipeline runs with another manifest or other views by now; start again with the same",
    ))
}

/// Who but owner $1 lives, be it without sharing anything.
const LIVING_OF_ANY_STAGE: &str = "select host, pid, stage, owner, expires_at from tidegate.members \
     where owner <> $1 and expires_at >= now() \
     union select host, pid, stage, owner, expires_at from tidegate.leases \
     where owner <> $1 and expires_at >= now() order by stage, host, pid limit 1";

async fn living(client: &impl GenericClient, stage: &str) -> Result<Vec<Living>, Error> {
    let sql = "select owner, pinned from tidegate.members \
               where stage = $1 and expires_at >= now() order by joined_at, owner";
    let rows = client.query(sql, &[&stage]).await?;
    let living = rows.iter().map(|row| Living {
        owner: row.get(0),
        pinned: row
            .get::<_, Option<Vec<i32>>>(1)
            .map(|pinned| pinned.into_iter().map(|p| p as u32).collect()),
    });
    Ok(living.collect())
}

/// Which of the partitions `held` an instance is to keep, and which of those that nobody has it is to take.
fn divide(
    me: Uuid,
    living: &[Living],
    partitions: u32,
    held: &BTreeSet<u32>,
    taken: &BTreeSet<u32>,
) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let pinned = living.iter().filter_map(|living| Some((living.owner, living.pinned.as_ref()?)));
    let (mut own, mut others) = (None, BTreeSet::<u32>::new());
    for (owner, pinned) in pinned {
        if owner == me {
            own = Some(pinned);
        } else {
            others.extend(pinned);
        }
    }
    if let Some(own) = own {
        return (held & own, &(own - held) - taken);
    }
    let shared: BTreeSet<u32> = (0..partitions).filter(|p| !others.contains(p)).collect();
    let sharing: Vec<Uuid> =
        living.iter().filter(|living| living.pinned.is_none()).map(|living| living.owner).collect();
    let (count, rank) = (sharing.len().max(1), sharing.iter().position(|owner| *owner == me).unwrap_or(0));
    let quota = shared.len() / count + usize::from(rank < shared.len() % count);
    let keep: BTreeSet<u32> = held.iter().copied().filter(|p| shared.contains(p)).take(quota).collect();
    let free = &(&shared - held) - taken;
    let take = free.into_iter().take(quota - keep.len()).collect();
    (keep, take)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(partitions: &[u32]) -> BTreeSet<u32> {
        partitions.iter().copied().collect()
    }

    /// Lets members beat in turns until nothing moves; gives what each has.
    fn settle(
        members: &[(u128, Option<&[u32]>)],
        mut held: Vec<BTreeSet<u32>>,
        partitions: u32,
    ) -> Vec<BTreeSet<u32>> {
        let living: Vec<Living> = members
            .iter()
            .map(|(owner, pinned)| Living { owner: Uuid::from_u128(*owner), pinned: pinned.map(set) })
            .collect();
        for _ in 0..10 {
            for i in 0..members.len() {
                let others = held.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, held)| held);
                let taken: BTreeSet<u32> = others.copied().collect();
                let (keep, take) = divide(living[i].owner, &living, partitions, &held[i], &taken);
                assert!(take.is_disjoint(&taken), "nothing is taken from anybody");
                held[i] = &keep | &take;
            }
        }
        held
    }

    #[test]
    fn partitions_are_shared_evenly_and_seldom_move() {
        let alone = settle(&[(1, None)], vec![set(&[])], 4);
        assert_eq!(alone, [set(&[0, 1, 2, 3])]);
        let both = settle(&[(1, None), (2, None)], vec![set(&[0, 1, 2, 3]), set(&[])], 4);
        assert_eq!(both, [set(&[0, 1]), set(&[2, 3])]);
        let three =
            settle(&[(1, None), (2, None), (3, None)], vec![both[0].clone(), both[1].clone(), set(&[])], 4);
        assert_eq!(three, [set(&[0, 1]), set(&[2]), set(&[3])]);
        let one_left = settle(&[(2, None), (3, None)], vec![three[1].clone(), three[2].clone()], 4);
        assert_eq!(one_left.iter().map(BTreeSet::len).sum::<usize>(), 4);
        let many = settle(&[(1, None), (2, None), (3, None)], vec![set(&[]); 3], 2);
        assert_eq!(many, [set(&[0]), set(&[1]), set(&[])]);
    }

    #[test]
    fn pinned_partitions_are_nobody_elses() {
        let members: [(u128, Option<&[u32]>); 3] = [(1, None), (2, Some(&[0, 3])), (3, None)];
        let held = settle(&members, vec![set(&[0, 1, 2, 3]), set(&[]), set(&[])], 4);
        assert_eq!(held, [set(&[1]), set(&[0, 3]), set(&[2])]);
    }
}
