-- Takes the leases of partitions $2 of stages $1 for owner $3. Leases of other owners are taken only if they have
-- expired, or if $8 is true. Waits for transactions that have locked the leases. Returns one row for each lease held
-- now.
with wanted as (
    select * from unnest($1::text[], $2::integer[]) as wanted (stage, partition)
),

locked as materialized (
    select
    from tidegate.leases
    where (stage, partition) in (select * from wanted)
    order by stage, partition
    for update
)

insert into tidegate.leases (stage, partition, owner, host, pid, started_at, expires_at)
select stage, partition, $3, $4, $5, to_timestamp($6), clock_timestamp() + $7 * interval '1 second'
from wanted
where (select count(*) from locked) >= 0
order by stage, partition
on conflict (stage, partition) do update set
    owner = excluded.owner,
    host = excluded.host,
    pid = excluded.pid,
    started_at = excluded.started_at,
    expires_at = excluded.expires_at
where leases.owner = excluded.owner or leases.expires_at < now() or $8
returning partition
