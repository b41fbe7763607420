-- Tidegate's own schema: the registry of sources, the ledger, dead letters, offsets, leases and views.
-- Append-only: a change is a new file behind this one.

create schema if not exists tidegate;

-- A database holds one pipeline.
create table tidegate.pipeline (
    name text not null,
    identity uuid not null default gen_random_uuid(),
    created_at timestamptz not null default now(),
    singleton boolean primary key default true check (singleton)
);

-- One row per source. The number orders sources and has no gaps; a known identity is the same source again.
create table tidegate.sources (
    source bigint primary key check (source > 0),
    dataset text not null,
    kind text not null check (kind in ('file', 'upload', 'request', 'restore')),
    name text not null,
    identity bytea not null unique,
    bytes bigint,
    lines bigint check (lines >= 0),
    registered_at timestamptz not null default clock_timestamp(),
    completed_at timestamptz
);

create index on tidegate.sources (source) where completed_at is null;

-- What became of every line: four disjoint sets, as roaring bitmaps, for each chunk of 65,536 lines.
create table tidegate.ledger (
    source bigint not null references tidegate.sources,
    chunk bigint not null check (chunk >= 0),
    accepted bytea not null default '',
    rejected bytea not null default '',
    waiting bytea not null default '',
    discarded bytea not null default '',
    accepted_count integer not null default 0,
    rejected_count integer not null default 0,
    waiting_count integer not null default 0,
    discarded_count integer not null default 0,
    primary key (source, chunk)
);

-- The bitmaps are compressed already.
alter table tidegate.ledger
    alter column accepted set storage external,
    alter column rejected set storage external,
    alter column waiting set storage external,
    alter column discarded set storage external;

-- Every line that is not in its table, with all the reasons why.
create table tidegate.dead_letters (
    source bigint not null,
    line bigint not null,
    attempt integer not null default 0,
    dataset text not null,
    stage text not null check (stage in ('source', 'transform', 'sink')),
    status text not null
        check (status in ('rejected', 'waiting', 'claimed', 'healed', 'replayed', 'discarded')),
    text text,
    bytes text,
    length bigint,
    blake3 text,
    reasons jsonb not null,
    awaits jsonb,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    primary key (source, line)
);

create index dead_letters_waiting on tidegate.dead_letters (dataset, source, line) where status = 'waiting';

-- How far each reader has read each partition of a topic.
create table tidegate.offsets (
    reader text not null,
    topic text not null,
    partition integer not null,
    next bigint not null check (next >= 0),
    primary key (reader, topic, partition)
);

-- Who may commit what comes from a partition. A commit holds its leases; taking one over updates it.
create table tidegate.leases (
    topic text not null,
    partition integer not null,
    owner uuid not null,
    host text not null,
    pid bigint not null,
    started_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (topic, partition)
);

-- The metric views that are kept up to date, each by the text it was made from.
create table tidegate.views (
    name text primary key,
    schema text not null,
    kind text not null check (kind in ('incremental', 'layered')),
    dataset text,
    keys text[] not null default '{}',
    definition text not null,
    created_at timestamptz not null default now()
);
