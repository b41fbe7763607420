-- Holds the leases of partition 0 of topics $1 to the end of the transaction, if owner $2 has them. Renewing
-- them does not wait for that, taking them does.
select from tidegate.leases
where topic = any($1) and partition = 0 and owner = $2
order by topic
for key share
