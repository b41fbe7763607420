-- Marks the sources of $1 whose every line has a place in the ledger. Returns all sources of $1 that are marked, now or
-- before, because the answer to an earlier call may have been lost. For the sources that are marked now, also returns
-- how many lines are accepted, and how many of these repeat a key of the source.
with marked as (
    update tidegate.sources as s
    set completed_at = clock_timestamp()
    where
        s.source = any($1)
        and s.completed_at is null
        and s.lines = (
            select coalesce(sum(accepted_count + rejected_count + waiting_count + discarded_count), 0)
            from tidegate.ledger
            where ledger.source = s.source
        )
    returning s.source, s.dataset, s.kind, s.name
),

-- The lines of a complete source are not read again.
forgotten as (
    delete from tidegate.request_lines
    where source in (select source from marked)
)

select
    m.source,
    m.dataset,
    m.kind,
    m.name,
    l.accepted,
    l.repeated
from marked as m
cross join lateral (
    select
        sum(accepted_count) as accepted,
        sum(repeated_count) as repeated
    from tidegate.ledger
    where ledger.source = m.source
) as l
union all
select
    source,
    null as dataset,
    null as kind,
    null as name,
    null as accepted,
    null as repeated
from tidegate.sources
where source = any($1) and completed_at is not null
order by source
