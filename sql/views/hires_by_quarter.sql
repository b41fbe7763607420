-- Hires per department and job, by quarter of the year, in UTC.

-- store: hired_employees by year, department_id, job_id
select
    extract(year from quarter)::integer as year,
    department_id,
    job_id,
    coalesce(sum(hired) filter (where extract(month from quarter) = 1), 0)::bigint as q1,
    coalesce(sum(hired) filter (where extract(month from quarter) = 4), 0)::bigint as q2,
    coalesce(sum(hired) filter (where extract(month from quarter) = 7), 0)::bigint as q3,
    coalesce(sum(hired) filter (where extract(month from quarter) = 10), 0)::bigint as q4
from (
    -- The quarter is all that is computed for each row.
    select
        date_trunc('quarter', datetime at time zone 'UTC') as quarter,
        department_id,
        job_id,
        count(*) as hired
    from hired_employees
    group by 1, 2, 3
) as by_quarter
group by 1, 2, 3

-- view
select
    year,
    department,
    job,
    sum(q1)::bigint as q1,
    sum(q2)::bigint as q2,
    sum(q3)::bigint as q3,
    sum(q4)::bigint as q4
from store
join departments on departments.id = department_id
join jobs on jobs.id = job_id
group by year, department, job
having sum(q1 + q2 + q3 + q4) > 0
order by year, department collate "C", job collate "C"
