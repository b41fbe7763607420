-- Renews the leases of partitions $2 of stages $1 for $4 seconds, as long as owner $3 has them. Never takes a lease.
update tidegate.leases
set expires_at = now() + $4 * interval '1 second'
where (stage, partition) in (select * from unnest($1::text[], $2::integer[])) and owner = $3
returning partition
