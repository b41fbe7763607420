-- Restores that were asked for: the running pipeline takes them up.

create table tidegate.restores (
    id uuid primary key,
    -- The backup, where it is one of the pipeline's own folder.
    backup text,
    -- Of each file, in the order in which they enter: dataset, path, rows, and BLAKE3 as it was checked.
    files jsonb not null,
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp(),
    state text not null default 'asked' check (state in ('asked', 'entered', 'failed')),
    error text,
    -- What the files have become, in their order.
    sources bigint[] not null default '{}',
    entered_at timestamptz
);

create index on tidegate.restores (asked_at) where state = 'asked';
