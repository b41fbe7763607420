-- What accepted lines did to their table, counted in the transaction that accepted them.

-- accepted_count is the sum of the first four. What was accepted before this migration is not known, so it is counted
-- apart. The last counts lines whose key an earlier or a later line of their own source has: they inserted no row.
alter table tidegate.ledger
    add column inserted_count integer not null default 0,
    add column updated_count integer not null default 0,
    add column superseded_count integer not null default 0,
    add column uncounted_count integer not null default 0,
    add column repeated_count integer not null default 0;

update tidegate.ledger set uncounted_count = accepted_count where accepted_count > 0;
