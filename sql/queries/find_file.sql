-- The source of a file with the fingerprint $3: an awaited source; or else the newest source of its dataset $1 and name
-- $2, if that source has the fingerprint and a number above $4.
with
    awaited as (
        select min(source) as source
        from tidegate.sources
        where awaited and completed_at is null and dataset = $1 and name = $2 and fingerprint = $3
    ),

    newest as (
        select source, fingerprint
        from tidegate.sources
        where kind = 'file' and dataset = $1 and name = $2
        order by source desc
        limit 1
    )

select s.source, s.lines, s.completed_at is not null, s.identity, s.shape, s.first_key
from tidegate.sources as s
where
    s.source = coalesce(
        (select source from awaited),
        (select source from newest where fingerprint = $3 and source > $4)
    )
