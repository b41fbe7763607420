-- All living instances, with the partitions whose leases they hold. A plain run shares with no other instance and
-- therefore is no member. Only its leases show it.
with living as (
    select stage, owner, host, pid, started_at, lag_records, joined_at
    from tidegate.members
    where expires_at >= now()
    union all
    select stage, owner, min(host), min(pid), min(started_at), null, min(started_at)
    from tidegate.leases
    where
        expires_at >= now()
        and not exists (
            select from tidegate.members
            where members.stage = leases.stage and members.owner = leases.owner and members.expires_at >= now()
        )
    group by stage, owner
)

select
    stage, host, pid,
    extract(epoch from started_at)::double precision as started,
    lag_records,
    array(
        select partition
        from tidegate.leases
        where leases.stage = living.stage and leases.owner = living.owner and leases.expires_at >= now()
        order by partition
    ) as partitions
from living
order by array_position(array['source', 'transform', 'sink'], stage), joined_at, owner
