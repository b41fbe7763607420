-- The pipeline's identity, the moment of the snapshot as a time and as the name of a backup, the largest number of a
-- source, and the version of Tidegate's schema.
select
    identity,
    to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as taken_at,
    to_char(now() at time zone 'UTC', 'YYYYMMDD"T"HH24MISS"Z"') as id,
    (select coalesce(max(source), 0) from tidegate.sources) as largest_source,
    (select max(version) from tidegate.migrations) as schema
from tidegate.pipeline
