-- The files whose every line is accounted for, in the order of their sources.
select
    source,
    dataset,
    name,
    lines,
    identity,
    coalesce(fingerprint, identity),
    shape,
    skipped,
    first_key
from tidegate.sources
where completed_at is not null and kind = 'file'
order by source
