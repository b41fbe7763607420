-- The places, from 1, of the files that belong to no source: each file claims the source $1 and has the name $2.
select place
from unnest($1::bigint[], $2::text[]) with ordinality as file (source, name, place)
where not exists (
    select
    from tidegate.sources
    where sources.source = file.source and sources.name = file.name
)
