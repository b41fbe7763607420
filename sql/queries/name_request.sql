-- Registers the request $1 with the content $2 for the transaction to carry out. Waits for another transaction that
-- carries it out. Returns no row if the request was carried out before.
insert into tidegate.requests (identity, content)
values ($1, $2)
on conflict (identity) do nothing
returning true
