-- All instances that live, with the partitions whose leases they hold.
select
    stage, host, pid,
    extract(epoch from started_at)::double precision as started,
    lag_records,
    array(
        select partition
        from tidegate.leases
        where leases.stage = members.stage and leases.owner = members.owner and leases.expires_at >= now()
        order by partition
    ) as partitions
from tidegate.members
where expires_at >= now()
order by array_position(array['source', 'transform', 'sink'], stage), joined_at, owner
