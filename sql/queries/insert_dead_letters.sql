-- Stores the dead letters of a batch. Their lines are new to the ledger. Therefore none of the letters exists yet,
-- unless this batch was already committed by a connection that was cut meanwhile. Then fewer letters are inserted. If
-- no shape is given, the letter gets the shape of its source.
insert into tidegate.dead_letters
    (source, line, dataset, stage, status, text, bytes, length, blake3, reasons, awaits, shape)
select
    source,
    line,
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
    $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::text[], $10::text[], $11::text[], $12::bigint[]
) as letter (source, line, dataset, stage, status, text, bytes, length, blake3, reasons, awaits, shape)
on conflict (source, line) do nothing
