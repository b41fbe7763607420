-- Takes or renews the leases of partition 0 of topics $1 for owner $2, unless another owner's are not yet
-- expired. Gives one row for each lease held now.
insert into tidegate.leases (topic, partition, owner, host, pid, started_at, expires_at)
select topic, 0, $2, $3, $4, to_timestamp($5), now() + $6 * interval '1 second'
from unnest($1::text[]) as topic
order by topic
on conflict (topic, partition) do update set
    owner = excluded.owner,
    host = excluded.host,
    pid = excluded.pid,
    started_at = excluded.started_at,
    expires_at = excluded.expires_at
where leases.owner = excluded.owner or leases.expires_at < now()
returning topic
