-- What entered over HTTP or from a backup and is not complete, of the sources $1 or of all; with its lines, where
-- Postgres keeps them.
select s.source, s.dataset, s.name, s.identity, s.content, s.lines, l.lines as text, s.first_key, s.shape
from tidegate.sources as s
left join tidegate.request_lines as l using (source)
where
    s.completed_at is null and s.kind <> 'file'
    and ($1::bigint[] is null or s.source = any($1))
order by s.source
