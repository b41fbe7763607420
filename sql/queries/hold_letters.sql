-- Locks, until the end of the transaction, the dead letters ($1, $2) that still have status $3 and attempt $4, and
-- returns them.
select
    d.source,
    d.line
from tidegate.dead_letters as d
join unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[]) as wanted (source, line, status, attempt)
    on d.source = wanted.source and d.line = wanted.line
where d.status = wanted.status and d.attempt = wanted.attempt
order by d.source, d.line
for update of d
