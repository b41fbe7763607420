-- The departments that hired more in a year than the mean over the departments that hired in it.
select
    year,
    id,
    department,
    hired
from (
    select
        *,
        avg(hired) over (partition by year) as mean
    from hires_by_department
) as compared
where hired > mean
order by year, hired desc, id
