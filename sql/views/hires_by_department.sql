-- Hires per department and year, in UTC.

-- view of hires_by_quarter
select
    year,
    department_id as id,
    department,
    sum(q1 + q2 + q3 + q4)::bigint as hired
from store
join departments on departments.id = department_id
group by year, department_id, department
having sum(q1 + q2 + q3 + q4) > 0
order by year, hired desc, id
