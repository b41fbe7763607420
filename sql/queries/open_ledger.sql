-- Makes sure that the chunks ($1 sources, $2 chunks) have rows to lock.
insert into tidegate.ledger (source, chunk)
select source, chunk
from unnest($1::bigint[], $2::bigint[]) as opened (source, chunk)
order by source, chunk
on conflict do nothing
