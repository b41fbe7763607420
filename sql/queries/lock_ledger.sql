-- The ledger's chunks ($1 sources, $2 chunks), locked in order until the end of the transaction.
select source, chunk, accepted, rejected, waiting, discarded
from tidegate.ledger
where (source, chunk) in (select * from unnest($1::bigint[], $2::bigint[]))
order by source, chunk
for update
