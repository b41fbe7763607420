-- Sources as they were registered; of those that are not complete, how many lines the ledger holds. Unless $3, what is
-- complete and no file is left out, for there may be very many, but for the last source, and those of the numbers $1
-- and the identities $2.
with wanted as (
    select source from tidegate.sources where kind = 'file'
    union
    select source from tidegate.sources where $3
    union
    select source from tidegate.sources where completed_at is null
    union
    select unnest($1::bigint[])
    union
    select source from tidegate.sources where identity in (select unnest($2::bytea[]))
    union
    select max(source) from tidegate.sources
)

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
    end::bigint as held,
    fingerprint
from tidegate.sources
where source in (select source from wanted)
order by source
