-- Moves the dead letters ($1, $2) out of the status $3 to the status $4. Rejected and waiting letters get the reasons
-- $5, and waiting letters the missing references $6. If a replay has edited the line, $7 is the new text, of shape $8.
-- $9 has the values that were left out of an accepted line. Returns, for each letter that changed, whether its status
-- changed.
update tidegate.dead_letters as d
set
    status = settled.status,
    reasons = coalesce(settled.reasons::jsonb, d.reasons),
    awaits = settled.awaits::jsonb,
    text = coalesce(settled.edited, d.text),
    stage = case when settled.edited is null then d.stage else 'transform' end,
    bytes = case when settled.edited is null then d.bytes end,
    length = case when settled.edited is null then d.length end,
    blake3 = case when settled.edited is null then d.blake3 end,
    shape = case when settled.edited is null then d.shape else settled.shape end,
    dropped = settled.dropped::jsonb,
    updated_at = clock_timestamp()
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
    $9::text[])
    as settled (source, line, was, status, reasons, awaits, edited, shape, dropped)
where
    d.source = settled.source
    and d.line = settled.line
    and d.status = settled.was
    and (settled.was <> settled.status or d.awaits is distinct from settled.awaits::jsonb)
returning settled.was <> settled.status
