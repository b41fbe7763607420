-- Counts the listed dead letters: all of them in the row without a dataset, then by dataset, status and reason.
with listed as ({listed})

select
    null as dataset,
    null as status,
    null as code,
    null as column,
    count(*) as lines
from listed
union all
(
    select
        dataset,
        status,
        reason ->> 'code' as code,
        reason ->> 'column' as column,
        count(*) as lines
    from listed
    cross join lateral jsonb_array_elements(reasons) as reason
    group by 1, 2, 3, 4
    order by 1, 2, 5 desc, 3, 4
)
