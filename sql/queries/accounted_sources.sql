-- Of the sources $1, those whose every line has a place in the ledger, and whether they are marked so.
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
