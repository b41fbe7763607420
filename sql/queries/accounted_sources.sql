-- The sources of $1 whose every line has a place in the ledger, and whether each is marked as complete.
select
    s.source,
    s.completed_at is not null as complete
from tidegate.sources as s
where
    s.source = any($1)
    and (
        s.completed_at is not null
        or s.lines = (
            select coalesce(sum(accepted_count + rejected_count + waiting_count + discarded_count), 0)
            from tidegate.ledger
            where ledger.source = s.source
        )
    )
