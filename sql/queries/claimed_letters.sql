-- The lines that are claimed for a replay, oldest claim first, up to $1 lines and about $2 bytes, and at least one.
select
    source,
    line,
    dataset,
    stage,
    attempt,
    text,
    edited,
    shape,
    move,
    status_before
from (
    select
        d.source,
        d.line,
        d.dataset,
        d.stage,
        d.attempt,
        m.move,
        m.status_before,
        m.text_edited is not null as edited,
        case when m.text_edited is null then d.shape else m.shape end as shape,
        coalesce(m.text_edited, d.text) as text,
        sum(octet_length(coalesce(m.text_edited, d.text, ''))) over (order by m.move)
        - octet_length(coalesce(m.text_edited, d.text, '')) as bytes_before
    from (
        select * from tidegate.moves
        where done_at is null and kind = 'replay'
        order by move
        limit $1
    ) as m
    join tidegate.dead_letters as d on d.source = m.source and d.line = m.line
    where d.status = 'claimed'
) as claimed
where bytes_before < $2
order by move
