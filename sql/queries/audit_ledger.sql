-- The ledger in order, for the sources of the datasets $1, or for all sources if $1 is null.
select
    source,
    chunk,
    accepted,
    rejected,
    waiting,
    discarded,
    accepted_count,
    rejected_count,
    waiting_count,
    discarded_count,
    inserted_count,
    updated_count,
    superseded_count,
    uncounted_count,
    repeated_count
from tidegate.ledger
where $1::text[] is null or source in (select source from tidegate.sources where dataset = any($1))
order by source, chunk
