-- Takes the lines ($3, $4) off the list of job $1. The transaction has locked the job and the letters of the lines.
-- Creates moves for the lines that are still dead letters and, for a replay, are of a dataset among $2. The other lines
-- are passed over. If another move of a line is open, the line stays on the list until that move is done. Stores when
-- the next lines are due. Returns how many lines were taken.
with job as (
    select * from tidegate.move_jobs
    where job = $1
),

items as (
    delete from tidegate.move_items as i
    using unnest($3::bigint[], $4::bigint[]) as next (source, line)
    where
        i.job = $1
        and i.source = next.source
        and i.line = next.line
        and not exists (
            select
            from tidegate.moves as m
            where m.source = i.source and m.line = i.line and m.done_at is null
        )
    returning i.source, i.line
),

letters as (
    select d.*
    from tidegate.dead_letters as d
    join items on items.source = d.source and items.line = d.line
    where
        d.status in ('rejected', 'waiting')
        and (
            (select kind from job) = 'discard'
            or (d.dataset = any($2) and d.text is not null and d.length is null)
        )
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
