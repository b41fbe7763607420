-- Keeps the dead letters of a batch. Their lines are new to the ledger, so none is there yet, unless this
-- very batch was committed by a connection that was cut meanwhile: then fewer are inserted. Where no shape is given
-- the text is the source's own.
insert into tidegate.dead_letters
    (source, line, attempt, dataset, stage, status, text, bytes, length, blake3, reasons, awaits, shape)
select
    source,
    line,
    attempt,
    dataset,
    stage,
    status,
    text,
    bytes,
    length,
    blake3,
    reasons::jsonb,
    awaits::jsonb,
    coalesce(shape, (select s.shape from tidegate.sources as s where s.source = letter.source))
from unnest(
    $1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::text[], $11::text[], $12::text[],
    $13::bigint[]
) as letter (source, line, attempt, dataset, stage, status, text, bytes, length, blake3, reasons, awaits, shape)
on conflict (source, line) do nothing
