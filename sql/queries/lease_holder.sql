-- Who but owner $2 holds a lease of partition 0 of topics $1, or is the last who did, expired or not.
select host, pid, extract(epoch from started_at)::double precision as started, expires_at >= now() as in_force
from tidegate.leases
where topic = any($1) and partition = 0 and owner <> $2
order by expires_at desc
limit 1
