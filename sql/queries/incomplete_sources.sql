-- The sources of the datasets $1 whose lines are not all accounted for.
select source, name
from tidegate.sources
where dataset = any($1) and completed_at is null
order by source
