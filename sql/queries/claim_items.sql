-- Takes the next $2 lines off the list of job $1, which is held, and makes moves of those that are dead letters
-- still, of a dataset among $3 if they are to be replayed; the others are passed over. Notes when the next are due.
-- Gives how many were taken.
with job as (
    select * from tidegate.move_jobs
    where job = $1
),

items as (
    delete from tidegate.move_items
    where
        job = $1
        and (source, line) in (
            select source, line from tidegate.move_items
            where job = $1
            order by source, line
            limit $2
        )
    returning source, line
),

letters as materialized (
    select d.*
    from tidegate.dead_letters as d
    join items on items.source = d.source and items.line = d.line
    where
        d.status in ('rejected', 'waiting')
        and (
            (select kind from job) = 'discard'
            or (d.dataset = any($3) and d.text is not null and d.length is null)
        )
    order by d.source, d.line
    for update of d
),

asked as (
    insert into tidegate.moves
        (source, line, kind, job, attempt, asked_by, note, status_before, reasons_before)
    select
        letters.source,
        letters.line,
        job.kind,
        job.job,
        letters.attempt + (job.kind = 'replay')::integer,
        job.asked_by,
        job.note,
        letters.status,
        letters.reasons
    from letters
    cross join job
    order by letters.source, letters.line
    -- One that somebody else asked for meanwhile.
    on conflict (source, line) where done_at is null do nothing
    returning source, line, kind
),

claimed as (
    update tidegate.dead_letters as d
    set status = 'claimed', attempt = d.attempt + 1, updated_at = clock_timestamp()
    from asked
    where d.source = asked.source and d.line = asked.line and asked.kind = 'replay'
),

counted as (
    select
        (select count(*) from items) as items,
        (select count(*) from asked) as asked
)

update tidegate.move_jobs as j
set
    passed_over = j.passed_over + counted.items - counted.asked,
    due_at = case
        when j.rate is null then j.due_at
        else greatest(j.due_at, clock_timestamp() - interval '1 second') + counted.items / j.rate * interval '1 second'
    end
from counted
where j.job = $1
returning counted.items
