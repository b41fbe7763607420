-- Closes orphaned moves: open moves whose line is no dead letter, or is not claimed for its replay.
update tidegate.moves as m
set outcome = 'passed_over', done_at = clock_timestamp()
where
    m.done_at is null
    and not exists (
        select
        from tidegate.dead_letters as d
        where d.source = m.source and d.line = m.line and (m.kind = 'discard' or d.status = 'claimed')
    )
