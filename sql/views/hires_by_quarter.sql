-- Hires per department and job, by quarter of the year, in UTC.

-- store: hired_employees by year, department_id, job_id
select
    extract(year from datetime at time zone 'UTC')::integer as year,
    department_id,
    job_id,
    count(*) filter (where extract(month from datetime at time zone 'UTC') <= 3) as q1,
    count(*) filter (where extract(month from datetime at time zone 'UTC') between 4 and 6) as q2,
    count(*) filter (where extract(month from datetime at time zone 'UTC') between 7 and 9) as q3,
    count(*) filter (where extract(month from datetime at time zone 'UTC') >= 10) as q4
from hired_employees
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
