-- The sources of the datasets $1 whose lines are not all accounted for, and whether it was said that the file is awaited.
select
    source,
    name,
    awaited
from tidegate.sources
where dataset = any($1) and completed_at is null
order by source
