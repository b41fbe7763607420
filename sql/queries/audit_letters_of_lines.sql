-- The whole dead letters of source $1 from line $2 to line $3.
select
    line,
    status,
    attempt,
    stage,
    text,
    bytes,
    length,
    blake3,
    reasons,
    shape
from tidegate.dead_letters
where source = $1 and line between $2 and $3
