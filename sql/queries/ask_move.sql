-- Asks for the move of kind $3 of the dead letter ($1, $2), which the transaction has locked, by $4 with the note $5.
-- If $6 is not null, it is the edited line, of shape $7. A replay claims the letter.
with letter as (
    select * from tidegate.dead_letters
    where source = $1 and line = $2
),

claimed as (
    update tidegate.dead_letters as d
    set status = 'claimed', attempt = d.attempt + 1, updated_at = clock_timestamp()
    where d.source = $1 and d.line = $2 and $3::text = 'replay'
)

insert into tidegate.moves
    (source, line, kind, attempt, asked_by, note, status_before, reasons_before, text_edited, shape,
        letter_before)
select
    source,
    line,
    $3,
    attempt + ($3 = 'replay')::integer,
    $4,
    $5,
    status,
    reasons,
    $6,
    case when $6::text is not null then $7::bigint end,
    case when $6::text is not null then
        jsonb_build_object(
            'stage', stage, 'text', text, 'bytes', bytes, 'length', length, 'blake3', blake3, 'shape', shape
        )
    end
from letter
returning move
