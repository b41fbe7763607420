-- The owner other than $3 that holds a lease of partitions $2 of stages $1, or the last that did, expired or not.
select host, pid, extract(epoch from started_at)::double precision as started, expires_at >= now() as in_force
from tidegate.leases
where (stage, partition) in (select * from unnest($1::text[], $2::integer[])) and owner <> $3
order by expires_at desc
limit 1
