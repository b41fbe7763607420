-- Holds the leases of partitions $2 of stages $1 to the end of the transaction, if owner $3 has them. Renewing
-- them does not wait for that, taking them does.
select from tidegate.leases
where (stage, partition) in (select * from unnest($1::text[], $2::integer[])) and owner = $3
order by stage, partition
for key share
