-- The registered sources, and for incomplete ones how many lines the ledger has. If $3 is false, complete sources that
-- are no files are left out, because there may be very many, except the last source and the sources of the numbers $1
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
    fingerprint,
    first_key
from tidegate.sources
where source in (select source from wanted)
order by source
