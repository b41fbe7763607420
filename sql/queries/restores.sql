-- The restore $1, or if $1 is null all restores that are asked for, the oldest first.
select
    id,
    backup,
    files,
    asked_by,
    to_char(asked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as asked_at,
    state,
    error,
    sources
from tidegate.restores
where case when $1::uuid is null then state = 'asked' else id = $1 end
order by restores.asked_at, id
