-- Hires per department and job, by quarter of the year, in UTC.
select
    extract(year from datetime at time zone 'UTC')::integer as year,
    department,
    job,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 1) as q1,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 2) as q2,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 3) as q3,
    count(*) filter (where extract(quarter from datetime at time zone 'UTC') = 4) as q4
from employees
join departments on departments.id = department_id
join jobs on jobs.id = job_id
group by year, department, job
order by year, department collate "C", job collate "C"
