-- Creates the missing rows of the chunks ($1 sources, $2 chunks), so that they can be locked.
insert into tidegate.ledger (source, chunk)
select source, chunk
from unnest($1::bigint[], $2::bigint[]) as opened (source, chunk)
order by source, chunk
on conflict do nothing
