-- Locks the leases of partitions $2 of stages $1 until the end of the transaction, if owner $3 has them. Renewing a
-- lease does not wait for this lock. Taking a lease does.
select from tidegate.leases
where (stage, partition) in (select * from unnest($1::text[], $2::integer[])) and owner = $3
order by stage, partition
for key share
