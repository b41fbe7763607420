-- Stores which sources ($3, each an array as text) the requests of the identities $1 and digests $2 (of content and
-- parameters) have become.
insert into tidegate.requests (identity, content, sources)
select identity, content, sources::bigint[]
from unnest($1::bytea[], $2::bytea[], $3::text[]) as kept (identity, content, sources)
