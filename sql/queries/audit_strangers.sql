-- Which of the files, by the source ($1) and the name ($2) that they claim, are of no source: their places, from 1.
select place
from unnest($1::bigint[], $2::text[]) with ordinality as file (source, name, place)
where not exists (
    select
    from tidegate.sources
    where sources.source = file.source and sources.name = file.name
)
