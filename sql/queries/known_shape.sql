-- The shape of the source of fingerprint $1 that is not complete, the newest.
select shape
from tidegate.sources
where fingerprint = $1 and completed_at is null and shape is not null
order by source desc
limit 1
