-- The moment of a snapshot, as people and folders write it, and whose it is.
select
    identity,
    to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as taken_at,
    to_char(now() at time zone 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') as id,
    (select coalesce(max(source), 0) from tidegate.sources) as largest_source,
    (select max(version) from tidegate.migrations) as schema
from tidegate.pipeline
