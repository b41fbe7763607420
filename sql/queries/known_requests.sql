-- The requests of the identities $1 that were registered before. Each row, or a single row if there are none, also has
-- the largest number of a source.
select r.identity, r.content, r.sources, largest.source
from
    (select coalesce(max(source), 0) as source from tidegate.sources) as largest
    left join tidegate.requests as r on r.identity = any($1)
