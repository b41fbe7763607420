-- Ends the replays $1 without a try. Their letters get the status that they had before.
with ended as (
    update tidegate.moves
    set outcome = 'passed_over', done_at = clock_timestamp()
    where move = any($1) and done_at is null
    returning source, line, status_before
)

update tidegate.dead_letters as d
set status = ended.status_before, updated_at = clock_timestamp()
from ended
where d.source = ended.source and d.line = ended.line and d.status = 'claimed'
