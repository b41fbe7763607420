-- The shape of the newest incomplete source with the fingerprint $1.
select shape
from tidegate.sources
where fingerprint = $1 and completed_at is null and shape is not null
order by source desc
limit 1
