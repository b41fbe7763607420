-- The dead letters in the order of positions. For each: whether its source is of the dataset that it names, whether it
-- waits without a missing reference, the kind of its open move and the status before that move, the outcome of the last
-- move that was made, and whether its shape is of another dataset.
select
    letters.source,
    letters.line,
    letters.status,
    coalesce(letters.dataset = sources.dataset, false) as fits,
    letters.status = 'waiting' and coalesce(letters.awaits, '{}') = '{}' as forgotten,
    open.kind,
    open.status_before,
    made.outcome,
    coalesce(shapes.dataset <> letters.dataset, false) as strange
from tidegate.dead_letters as letters
left join tidegate.sources on sources.source = letters.source
left join tidegate.shapes on shapes.shape = letters.shape
left join tidegate.moves as open
    on open.source = letters.source and open.line = letters.line and open.done_at is null
left join (
    select distinct on (source, line)
        source,
        line,
        outcome
    from tidegate.moves
    where outcome <> 'passed_over'
    order by source, line, move desc
) as made on made.source = letters.source and made.line = letters.line
order by letters.source, letters.line
