-- Stores the next offset $4 of reader $1 on partition $3 of topic $2. The offset decreases only if a topic has lost its
-- end. The caller holds the lease.
insert into tidegate.offsets (reader, topic, partition, next)
select $1, topic, partition, next
from unnest($2::text[], $3::integer[], $4::bigint[]) as consumed (topic, partition, next)
on conflict (reader, topic, partition) do update set next = excluded.next
