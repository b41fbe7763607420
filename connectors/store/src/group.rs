//! How the instances of a stage share its partitions.
//!
//! Each instance sends heartbeats ([`heartbeat`]). In the same transaction it renews its leases and acquires the free
//! ones that are assigned to it. Each instance computes the assignment by itself, from the same list of members:
//! every instance gets as many partitions as the others, give or take one. An instance that holds too many is told
//! which to give back. No lease is taken from an instance before it expires. So a new instance gets its share when
//! the others have finished the batch in hand, and the partitions of a dead instance move when their leases have
//! expired.

use std::collections::BTreeSet;

use deadpool_postgres::{GenericClient, Transaction};
use tidegate_core::contract::{self, ConsumerOffset, SINK_READER};
use tidegate_core::dead_letter::Stage;
use tidegate_postgres::{Database, PgError, TransactionMode};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::leases::{self, Holder};
use crate::statement::Columns;
use crate::store::{Leases, Store};

/// An instance of a stage.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The stage.
    pub stage: Stage,
    /// The process that runs it.
    pub holder: Holder,
    /// The only partitions that it takes; `None` if it takes an equal share.
    pub pinned: Option<BTreeSet<u32>>,
    /// The fingerprint of its configuration: the form in which it reads and writes lines, and its views. See
    /// [`join`].
    pub config_fingerprint: String,
}

/// The partitions of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// The partitions whose leases it holds.
    pub held: BTreeSet<u32>,
    /// The held partitions that it must give back, for other instances.
    pub surplus: BTreeSet<u32>,
}

impl Share {
    /// Returns the partitions to work for.
    pub fn kept(&self) -> BTreeSet<u32> {
        &self.held - &self.surplus
    }
}

/// An instance as other processes see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its stage.
    pub stage: Stage,
    /// The process that runs it.
    pub holder: Holder,
    /// The partitions whose leases it holds.
    pub partitions: Vec<u32>,
    /// The number of records that it has yet to read there, as it saw last.
    pub lag_records: Option<u64>,
}

/// A live member of a stage. This instance is one of them.
struct LiveMember {
    owner: Uuid,
    pinned: Option<BTreeSet<u32>>,
}

/// Prepares the pipeline for instances with this `config_fingerprint`. An instance calls this before it sends or
/// reads a line, any number of times. `ends` returns the end offsets of all partitions of all topics. It is called
/// when no instance with another fingerprint sends any more.
///
/// Records that are on a topic before the pipeline first uses it may belong to another database, so readers start at
/// the current end. If the fingerprint changes, they start at the end again, since lines in flight could be misread;
/// these lines are read again from their files. Fails while an instance with another fingerprint lives; the caller may
/// retry.
pub async fn join(
    store: &Store,
    config_fingerprint: &str,
    transform_reader: &str,
    ends: impl AsyncFnOnce() -> Result<Vec<ConsumerOffset>, contract::Error>,
) -> Result<(), contract::Error> {
    let mut connection = store.connection().await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    let changed = change_config(store, &tx, config_fingerprint).await?;
    let ends = ends().await?;
    begin_reading(store, &tx, transform_reader, &ends, changed).await?;
    Ok(tx.commit().await.map_err(PgError::from)?)
}

/// Makes `config_fingerprint` the pipeline's, unless an instance with another one lives. Returns whether it has
/// changed.
async fn change_config(
    store: &Store,
    tx: &Transaction<'_>,
    config_fingerprint: &str,
) -> Result<bool, PgError> {
    let known: Option<String> =
        tx.query_one("select form from tidegate.pipeline for update", &[]).await?.get(0);
    let changed = known.as_deref() != Some(config_fingerprint);
    if changed {
        if let Some(row) = tx.query_opt(LIVING_OF_ANY_STAGE, &[&store.inner.owner]).await? {
            return Err(PgError::InTheWay(format!(
                "process {} on {} runs the {} with another manifest or other views; stop all instances that do, \
                 these go on then",
                row.get::<_, i64>(1),
                row.get::<_, &str>(0),
                row.get::<_, &str>(2)
            )));
        }
        // From now on the processes that held the leases can commit nothing.
        tx.batch_execute("delete from tidegate.leases; delete from tidegate.members").await?;
        tx.execute("update tidegate.pipeline set form = $1", &[&config_fingerprint]).await?;
    }
    Ok(changed)
}

async fn begin_reading(
    database: &Database,
    tx: &Transaction<'_>,
    transform_reader: &str,
    ends: &[ConsumerOffset],
    changed: bool,
) -> Result<(), PgError> {
    let manifest = database.manifest();
    let raw: BTreeSet<String> = manifest.datasets.iter().map(|dataset| manifest.raw_topic(dataset)).collect();
    let of = |consumed: &&ConsumerOffset| raw.contains(&consumed.topic);
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

/// Sends a heartbeat: notes that the instance lives, renews its leases and acquires those that are assigned to it.
/// `lag_records` is the number of records that it has yet to read; other processes see it. Fails if the pipeline runs
/// with another fingerprint by now.
pub async fn heartbeat(store: &Store, me: &Membership, lag_records: Option<u64>) -> Result<Share, PgError> {
    let Membership { stage, holder, pinned, config_fingerprint } = me;
    let (owner, manifest) = (store.inner.owner, store.manifest());
    let stage = stage.as_str();
    let seconds = manifest.lease.as_secs_f64();
    let mut connection = store.connection().await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    assert_config(&tx, config_fingerprint).await?;
    let pinned_numbers: Option<Vec<i32>> =
        pinned.as_ref().map(|pinned| pinned.iter().map(|p| *p as i32).collect());
    let (pid, lag) = (i64::from(holder.pid), lag_records.map(|lag| lag as i64));
    tx.execute(
        include_str!("../../../sql/queries/heartbeat.sql"),
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
    let (keep, take) = assign(owner, &living, manifest.partitions(), &held, &taken);
    let mut share = Share { surplus: &held - &keep, held };
    if !take.is_empty() {
        let take: Vec<u32> = take.into_iter().collect();
        let leases = Leases::of(&[me.stage], &take);
        let got = leases::take(store, &tx, &leases, holder, manifest.lease, false).await?;
        share.held.extend(got.into_iter().map(|partition| partition as u32));
    }
    tx.commit().await?;
    Ok(share)
}

/// Releases leases of a stage, for the first instance that acquires them.
pub async fn give_back(store: &Store, stage: Stage, partitions: &BTreeSet<u32>) -> Result<(), PgError> {
    let sql = "delete from tidegate.leases where stage = $1 and partition = any($2) and owner = $3";
    let partitions: Vec<i32> = partitions.iter().map(|p| *p as i32).collect();
    store.connection().await?.execute(sql, &[&stage.as_str(), &partitions, &store.inner.owner]).await?;
    Ok(())
}

/// Releases all leases of a stage and removes this instance from its members.
pub async fn deregister(store: &Store, stage: Stage) -> Result<(), PgError> {
    let mut connection = store.connection().await?;
    let tx = store.begin(&mut connection, TransactionMode::Write).await?;
    let (stage, owner) = (stage.as_str(), store.inner.owner);
    for table in ["leases", "members"] {
        let sql = format!("delete from tidegate.{table} where stage = $1 and owner = $2");
        tx.execute(&sql, &[&stage, &owner]).await?;
    }
    Ok(tx.commit().await?)
}

/// Returns all live instances, by stage.
pub async fn members(database: &Database) -> Result<Vec<Member>, PgError> {
    let connection = database.connection().await?;
    let row = connection.query_one("select to_regclass('tidegate.members') is not null", &[]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(Vec::new()); // no instance has run yet
    }
    let rows = connection.query(include_str!("../../../sql/queries/members.sql"), &[]).await?;
    let member = |row: &Row| {
        Ok(Member {
            stage: row.stage()?,
            holder: Holder::of(row),
            partitions: numbers(row.get("partitions")),
            lag_records: row.number_opt("lag_records"),
        })
    };
    rows.iter().map(member).collect()
}

/// Fails unless the pipeline runs with this fingerprint. The fingerprint cannot change before the transaction ends.
pub(super) async fn assert_config(
    client: &impl GenericClient,
    config_fingerprint: &str,
) -> Result<(), PgError> {
    let row = client.query_one("select form from tidegate.pipeline for share", &[]).await?;
    if row.get::<_, Option<&str>>(0) == Some(config_fingerprint) {
        return Ok(());
    }
    Err(PgError::halt(
        "the pipeline runs with another manifest or other views by now; start again with the same",
    ))
}

/// The query for a live process of an owner other than $1: a member, or a holder of leases that shares with no other.
const LIVING_OF_ANY_STAGE: &str = "select host, pid, stage, owner, expires_at from tidegate.members \
     where owner <> $1 and expires_at >= now() \
     union select host, pid, stage, owner, expires_at from tidegate.leases \
     where owner <> $1 and expires_at >= now() order by stage, host, pid limit 1";

fn numbers<T: FromIterator<u32>>(partitions: Vec<i32>) -> T {
    partitions.into_iter().map(|partition| partition as u32).collect()
}

async fn living(client: &impl GenericClient, stage: &str) -> Result<Vec<LiveMember>, PgError> {
    let sql = "select owner, pinned from tidegate.members \
               where stage = $1 and expires_at >= now() order by joined_at, owner";
    let rows = client.query(sql, &[&stage]).await?;
    let living = rows
        .iter()
        .map(|row| LiveMember { owner: row.get(0), pinned: row.get::<_, Option<_>>(1).map(numbers) });
    Ok(living.collect())
}

/// Returns the partitions of `held` that an instance keeps, and the partitions without a holder that it acquires.
fn assign(
    me: Uuid,
    living: &[LiveMember],
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

    /// Lets members send heartbeats in turn until no partition moves. Returns the partitions of each.
    fn settle(
        members: &[(u128, Option<&[u32]>)],
        mut held: Vec<BTreeSet<u32>>,
        partitions: u32,
    ) -> Vec<BTreeSet<u32>> {
        let living: Vec<LiveMember> = members
            .iter()
            .map(|(owner, pinned)| LiveMember { owner: Uuid::from_u128(*owner), pinned: pinned.map(set) })
            .collect();
        for _ in 0..10 {
            for i in 0..members.len() {
                let others = held.iter().enumerate().filter(|(j, _)| *j != i).flat_map(|(_, held)| held);
                let taken: BTreeSet<u32> = others.copied().collect();
                let (keep, take) = assign(living[i].owner, &living, partitions, &held[i], &taken);
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
