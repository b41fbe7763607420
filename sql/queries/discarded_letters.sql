-- The dead letters with an open discard, up to $1 of them, locked until the end of the transaction.
select
    d.source,
    d.line,
    d.status,
    m.move
from (
    select * from tidegate.moves
    where done_at is null and kind = 'discard'
    order by move
    limit $1
) as m
join tidegate.dead_letters as d on d.source = m.source and d.line = m.line
order by d.source, d.line
for update of d
