-- Ends the moves $1 with the outcomes $2. ($3, $4) is the newer line that owns the row, if there is one.
update tidegate.moves as m
set
    outcome = ended.outcome,
    by_source = ended.by_source,
    by_line = ended.by_line,
    done_at = clock_timestamp()
from unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[]) as ended (move, outcome, by_source, by_line)
where m.move = ended.move and m.done_at is null
