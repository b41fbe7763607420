-- The refreshed views, each behind those that it reads, and in how many seconds the time of each comes; 0 if it has.
select
    name,
    coalesce(
        greatest(extract(epoch from refreshed_at + refresh - clock_timestamp()), 0), 0
    )::double precision as after
from tidegate.views
where kind = 'refreshed'
order by position
