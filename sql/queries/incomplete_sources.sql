-- The sources of the datasets $1 whose lines are not all accounted for, without those in $2.
select source, name
from tidegate.sources
where dataset = any($1) and completed_at is null and source <> all($2)
order by source
