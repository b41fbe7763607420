-- Notes how far reader $1 has read: its next offset $4 on partition $3 of topic $2. It goes back only where a topic
-- has lost its end; who may write it holds the lease.
insert into tidegate.offsets (reader, topic, partition, next)
select $1, topic, partition, next
from unnest($2::text[], $3::integer[], $4::bigint[]) as consumed (topic, partition, next)
on conflict (reader, topic, partition) do update set next = excluded.next
