-- Hires per department and year, in UTC.
select
    extract(year from datetime at time zone 'UTC')::integer as year,
    department_id as id,
    department,
    count(*) as hired
from hired_employees
join departments on departments.id = department_id
group by year, department_id, department
order by year, hired desc, id
