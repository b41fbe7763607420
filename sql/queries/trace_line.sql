-- What the ledger (of source $1 the chunk $2) and the dead letters (source $1, line $3) hold of a line, at one
-- moment. The two dates of a letter that never changed are a few microseconds apart.
select
    asked.source,
    asked.chunk,
    coalesce(l.accepted, '') as accepted,
    coalesce(l.rejected, '') as rejected,
    coalesce(l.waiting, '') as waiting,
    coalesce(l.discarded, '') as discarded,
    d.status,
    d.stage,
    d.attempt,
    d.text,
    d.bytes,
    d.reasons,
    d.shape,
    d.dropped,
    to_char(d.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
    to_char(d.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
    d.updated_at > d.created_at + interval '50 milliseconds' as changed
from (select $1::bigint as source, $2::bigint as chunk) as asked
left join tidegate.ledger as l on l.source = asked.source and l.chunk = asked.chunk
left join tidegate.dead_letters as d on d.source = asked.source and d.line = $3
