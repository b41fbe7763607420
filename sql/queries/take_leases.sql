-- Takes the leases of partition 0 of topics $1 for owner $2, unless another owner's are not yet expired and $7,
-- which takes them over, is false. Waits for transactions that hold them. Gives one row for each lease held now.
with locked as materialized (
    select
    from tidegate.leases
    where topic = any($1) and partition = 0
    order by topic
    for update
)

insert into tidegate.leases (topic, partition, owner, host, pid, started_at, expires_at)
select topic, 0, $2, $3, $4, to_timestamp($5), clock_timestamp() + $6 * interval '1 second'
from unnest($1::text[]) as topic
where (select count(*) from locked) >= 0
order by topic
on conflict (topic, partition) do update set
    owner = excluded.owner,
    host = excluded.host,
    pid = excluded.pid,
    started_at = excluded.started_at,
    expires_at = excluded.expires_at
where leases.owner = excluded.owner or leases.expires_at < now() or $7
returning topic
