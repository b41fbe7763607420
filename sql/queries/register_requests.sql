-- Registers sources under the numbers $1, with their lines. The caller has chosen the numbers under the lock of the
-- table.
with entered as (
    insert into tidegate.sources (source, dataset, kind, name, identity, bytes, lines, content, first_key, shape)
    select *
    from unnest(
        $1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bytea[],
        $10::bigint[], $11::bigint[]
    )
)

insert into tidegate.request_lines (source, lines)
select source, lines
from unnest($1::bigint[], $9::bytea[]) as entered (source, lines)
where lines is not null
