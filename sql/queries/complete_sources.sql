-- Marks the sources of $1 whose every line has a place in the ledger, and gives their numbers.
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
