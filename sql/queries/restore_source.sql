-- Registers a source again under its number $1, or under the number after the last if another source has $1. If the
-- source is known and incomplete, stores how many lines it has, and its first generated key $9. In both cases its file is
-- awaited.
insert into tidegate.sources (source, dataset, kind, name, identity, bytes, lines, fingerprint, first_key, awaited)
select
    case
        when exists (select from tidegate.sources where source = $1)
            then (select max(source) + 1 from tidegate.sources)
        else $1
    end,
    $2, $3, $4, $5, $6, $7, $8, $9, true
on conflict (identity) do update set
    lines = greatest(excluded.lines, sources.lines),
    first_key = coalesce(sources.first_key, excluded.first_key),
    awaited = true
where sources.completed_at is null
