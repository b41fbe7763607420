-- The sources that entered, oldest first: with the number $1, the name $2 and the dataset $3, each if not null.
select
    source,
    dataset,
    name,
    coalesce(fingerprint, identity) as fingerprint,
    bytes,
    lines,
    shape,
    first_key,
    to_char(registered_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as registered_at,
    to_char(completed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as completed_at
from tidegate.sources
where
    ($1::bigint is null or source = $1)
    and ($2::text is null or name = $2)
    and ($3::text is null or dataset = $3)
order by source
