-- The incomplete sources that entered over HTTP or from a backup, among the sources $1 or, if $1 is null, among all;
-- with their lines, if Postgres stores these.
select s.source, s.dataset, s.name, s.identity, s.content, s.lines, l.lines as text, s.first_key, s.shape
from tidegate.sources as s
left join tidegate.request_lines as l using (source)
where
    s.completed_at is null and s.kind <> 'file'
    and ($1::bigint[] is null or s.source = any($1))
order by s.source
