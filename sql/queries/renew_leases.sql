-- Renews the leases of partition 0 of topics $1 for $3 seconds, as long as they are owner $2's. Never takes one.
update tidegate.leases
set expires_at = now() + $3 * interval '1 second'
where topic = any($1) and partition = 0 and owner = $2
returning topic
