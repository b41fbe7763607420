-- The sources of $1 that have lines, and whose every line is rejected.
select s.source, s.name
from tidegate.sources as s
where
    s.source = any($1)
    and s.lines > 0
    and s.lines = (
        select coalesce(sum(rejected_count), 0)
        from tidegate.ledger
        where ledger.source = s.source
    )
order by s.source
