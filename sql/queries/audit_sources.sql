-- The registry in order.
select
    source,
    dataset,
    lines,
    completed_at is not null as complete
from tidegate.sources
order by source
