-- Marks the sources of $1 whose every line has a place in the ledger, and gives the numbers of all that are marked,
-- by now or before: the answer to an earlier call may have been lost.
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
    returning s.source
),

-- Nobody reads them any more.
forgotten as (
    delete from tidegate.request_lines
    where source in (select source from marked)
)

select source from marked
union all
select source from tidegate.sources
where source = any($1) and completed_at is not null
order by source
