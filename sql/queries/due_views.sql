-- The refreshed views, each after those that it reads, and in how many seconds each is due; 0 if it is due now.
select
    name,
    coalesce(
        greatest(extract(epoch from refreshed_at + refresh - clock_timestamp()), 0), 0
    )::double precision as after
from tidegate.views
where kind = 'refreshed'
order by position
