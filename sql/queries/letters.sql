-- The first $11 dead letters that match a filter, in order, as many as have $12 bytes together, and at least one. A
-- letter counts $13 bytes more than its text. `found` is how many there were before the cut by bytes. The two
-- times of a letter that never changed are a few microseconds apart.
select
    d.source,
    d.line,
    d.dataset,
    sources.name,
    d.status,
    d.stage,
    d.attempt,
    d.text,
    d.bytes,
    d.length,
    d.blake3,
    d.shape,
    d.reasons,
    d.awaits,
    shapes.columns as text_columns,
    case when d.stage = 'sink' then ',' else shapes.delimiter end as text_delimiter,
    d.dropped,
    to_char(d.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at,
    to_char(d.updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as updated_at,
    d.updated_at > d.created_at + interval '50 milliseconds' as changed,
    d.found
from (
    select
        listed.*,
        count(*) over () as found,
        sum(listed.own) over (order by listed.source {order}, listed.line {order}) - listed.own as before
    from (
        select
            d.*,
            coalesce(octet_length(d.text), 0) + coalesce(octet_length(d.bytes), 0) + $13::bigint as own
        from tidegate.dead_letters as d
        where {conditions}
        order by d.source {order}, d.line {order}
        limit $11
    ) as listed
) as d
left join tidegate.sources on sources.source = d.source
left join tidegate.shapes on shapes.shape = d.shape
where d.before < $12::bigint
order by d.source {order}, d.line {order}
