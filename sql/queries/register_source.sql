-- Registers a source under the next number, or finds it by its identity. Numbers have no gaps: the lock
-- lets one registration at a time choose, and one that fails uses none up.
with
    known as (
        select source, lines, completed_at is not null as complete, true as known
        from tidegate.sources
        where identity = $4
    ),

    entered as (
        insert into tidegate.sources (source, dataset, kind, name, identity, bytes)
        select (select coalesce(max(source), 0) + 1 from tidegate.sources), $1, $2, $3, $4, $5
        where not exists (select from known)
        returning source, lines, false as complete, false as known
    )

select * from known
union all
select * from entered
