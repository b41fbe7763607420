-- All sources as they were registered; of those that are not complete, how many lines the ledger holds.
select
    source,
    dataset,
    kind,
    name,
    identity,
    bytes,
    lines,
    completed_at is not null as complete,
    case
        when completed_at is null then (
            select coalesce(sum(accepted_count + rejected_count + waiting_count + discarded_count), 0)
            from tidegate.ledger
            where ledger.source = sources.source
        )
    end::bigint as held
from tidegate.sources
order by source
