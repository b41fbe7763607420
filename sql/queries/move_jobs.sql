-- Jobs that move dead letters, with the outcomes of their lines. For a cancelled job, `lines_left` counts the lines
-- whose turn had not come.
select
    j.job,
    j.kind,
    case
        when j.done_at is null then 'running'
        when j.cancelled_by is null then 'done'
        else 'cancelled'
    end as state,
    j.asked_by,
    j.note,
    j.filter,
    j.rate,
    j.lines,
    j.lines - j.passed_over - coalesce(m.done, 0) as lines_left,
    coalesce(m.accepted, 0) as accepted,
    coalesce(m.superseded, 0) as superseded,
    coalesce(m.rejected, 0) as rejected,
    coalesce(m.waiting, 0) as waiting,
    coalesce(m.discarded, 0) as discarded,
    j.passed_over + coalesce(m.passed_over, 0) as passed_over,
    j.cancelled_by,
    to_char(j.asked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as asked_at,
    to_char(j.done_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as done_at
from tidegate.move_jobs as j
left join lateral (
    select
        count(*) filter (where done_at is not null) as done,
        count(*) filter (where outcome = 'accepted') as accepted,
        count(*) filter (where outcome = 'superseded') as superseded,
        count(*) filter (where outcome = 'rejected') as rejected,
        count(*) filter (where outcome = 'waiting') as waiting,
        count(*) filter (where outcome = 'discarded') as discarded,
        count(*) filter (where outcome = 'passed_over') as passed_over
    from tidegate.moves
    where moves.job = j.job
) as m on true
where {condition}
