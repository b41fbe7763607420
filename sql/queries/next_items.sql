-- The next $2 lines on the list of job $1 that have no open move. Locks their letters in the order of positions: a
-- transaction that asks for a move of one of them locks its letter too.
with items as materialized (
    select
        i.source,
        i.line
    from tidegate.move_items as i
    where
        i.job = $1
        and not exists (
            select
            from tidegate.moves as m
            where m.source = i.source and m.line = i.line and m.done_at is null
        )
    order by i.source, i.line
    limit $2
),

held as materialized (
    select
        d.source,
        d.line
    from tidegate.dead_letters as d
    join items on items.source = d.source and items.line = d.line
    order by d.source, d.line
    for update of d
)

select
    items.source,
    items.line
from items
left join held on held.source = items.source and held.line = items.line
