-- The shapes of the numbers $1, or all shapes if $1 is null.
select
    shape,
    dataset,
    columns,
    header,
    delimiter,
    quote,
    null_text,
    rules,
    more
from tidegate.shapes
where $1::bigint[] is null or shape = any($1)
