-- Moves, oldest first, with the current reasons against their lines.
select
    m.move,
    m.source,
    m.line,
    m.kind,
    m.job,
    m.attempt,
    m.asked_by,
    m.note,
    m.status_before,
    m.reasons_before,
    m.text_edited,
    m.letter_before ->> 'text' as text_before,
    to_char(m.asked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as asked_at,
    to_char(m.done_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as done_at,
    m.outcome,
    m.by_source,
    m.by_line,
    d.reasons
from tidegate.moves as m
left join tidegate.dead_letters as d on d.source = m.source and d.line = m.line
where {condition}
order by m.move
