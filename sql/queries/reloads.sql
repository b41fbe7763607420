-- The reload $1, or if $1 is null all reloads that the pipeline has to work on, in the order of the requests.
select
    r.reload,
    r.old_source,
    s.dataset,
    s.kind,
    s.name,
    s.content,
    s.bytes,
    case when s.first_key is not null then s.lines end as generated_keys,
    r.asked_by,
    to_char(r.asked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as asked_at,
    r.state,
    r.error,
    r.source
from tidegate.reloads as r
inner join tidegate.sources as s on r.old_source = s.source
where
    case
        when $1::bigint is not null then r.reload = $1
        when r.state = 'asked' then true
        else
            r.state = 'entered'
            and r.source in (select source from tidegate.sources where completed_at is null and kind = 'file')
    end
order by r.reload
