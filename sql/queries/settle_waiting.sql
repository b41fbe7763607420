-- Moves dead letters out of waiting: $3 is healed or rejected, $4 the reasons of the rejected.
update tidegate.dead_letters as d
set
    status = settled.status,
    reasons = coalesce(settled.reasons::jsonb, d.reasons),
    awaits = null,
    updated_at = clock_timestamp()
from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) as settled (source, line, status, reasons)
where d.source = settled.source and d.line = settled.line and d.status = 'waiting'
