-- Names the request $1 of the content $2, for the transaction to do. Waits for whoever is doing it; gives no row if it
-- was done before.
insert into tidegate.requests (identity, content)
values ($1, $2)
on conflict (identity) do nothing
returning true
