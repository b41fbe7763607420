-- Hires per department and year, in UTC.

-- store: hired_employees by year, department_id
select
    extract(year from datetime at time zone 'UTC')::integer as year,
    department_id,
    count(*) as hired
from hired_employees
group by 1, 2

-- view
select
    year,
    department_id as id,
    department,
    hired
from store
join departments on departments.id = department_id
where hired > 0
order by year, hired desc, id
