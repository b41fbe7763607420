-- Stores where reader $1 begins on partitions $3 of topics $2: at offset $4. If the reader has an offset already, it is
-- replaced only if $5 is true.
insert into tidegate.offsets (reader, topic, partition, next)
select $1, topic, partition, next
from unnest($2::text[], $3::integer[], $4::bigint[]) as ends (topic, partition, next)
on conflict (reader, topic, partition) do update set next = excluded.next
where $5
