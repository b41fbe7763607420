-- The ledger's chunks ($1 sources, $2 chunks), without a lock.
select source, chunk, accepted, rejected, waiting, discarded
from tidegate.ledger
where (source, chunk) in (select * from unnest($1::bigint[], $2::bigint[]))
