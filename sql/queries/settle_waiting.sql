-- Moves dead letters out of waiting: status $3 is healed or rejected, with the reasons $4 of the rejected.
-- Those that still wait ($3 is waiting) get the reasons and references ($5) that they lack now. Gives the
-- status of each letter that changed.
update tidegate.dead_letters as d
set
    status = settled.status,
    reasons = coalesce(settled.reasons::jsonb, d.reasons),
    awaits = settled.awaits::jsonb,
    updated_at = clock_timestamp()
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
    as settled (source, line, status, reasons, awaits)
where
    d.source = settled.source
    and d.line = settled.line
    and d.status = 'waiting'
    and (settled.status <> 'waiting' or d.awaits is distinct from settled.awaits::jsonb)
returning d.status
