-- The ledger in order: of the sources of dataset $1 or, if that is null, of all.
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
where $1::text is null or source in (select source from tidegate.sources where dataset = $1)
order by source, chunk
