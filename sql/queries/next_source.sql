-- The number for the next source, which is one more than the last, and whether a source has the identity $1.
select
    coalesce(max(source), 0) + 1,
    exists (select from tidegate.sources where identity = $1)
from tidegate.sources
