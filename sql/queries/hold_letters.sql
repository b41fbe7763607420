-- Holds, to the end of the transaction, those of the dead letters ($1, $2) that are of status $3 at attempt $4 still,
-- and gives them.
select
    d.source,
    d.line
from tidegate.dead_letters as d
join unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[]) as wanted (source, line, status, attempt)
    on d.source = wanted.source and d.line = wanted.line
where d.status = wanted.status and d.attempt = wanted.attempt
order by d.source, d.line
for update of d
