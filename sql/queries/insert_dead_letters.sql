-- Keeps the dead letters of a batch. Their lines are new to the ledger, so none is there yet, unless this
-- very batch was committed by a connection that was cut meanwhile: then fewer are inserted.
insert into tidegate.dead_letters
    (source, line, attempt, dataset, stage, status, text, bytes, length, blake3, reasons, awaits)
select source, line, attempt, dataset, stage, status, text, bytes, length, blake3, reasons::jsonb, awaits::jsonb
from unnest(
    $1::bigint[], $2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bigint[], $10::text[], $11::text[], $12::text[]
) as letter (source, line, attempt, dataset, stage, status, text, bytes, length, blake3, reasons, awaits)
on conflict (source, line) do nothing
