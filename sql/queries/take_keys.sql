-- Takes $3 keys of the dataset $1, the first of them $2 or greater. Returns the key after the last.
insert into tidegate.generated_keys as k (dataset, next)
values ($1, $2::bigint + $3::bigint)
on conflict (dataset) do update set next = greatest(k.next, $2::bigint) + $3::bigint
returning next
