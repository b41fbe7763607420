-- What enters over HTTP and from backups: requests, uploads, restores; and who may ask for what.

-- BLAKE3 of the request, upload or file that a source came with. Null for files of the landing folder: their
-- identity holds it.
alter table tidegate.sources add column content bytea;

-- Of an upload whose lines may lack a key that Tidegate gives: the number for its first line, or the milliseconds
-- since 1970 for its UUIDs.
alter table tidegate.sources add column first_key bigint;

-- There may be very many others, which a start has no use for when they are complete.
create index sources_of_files on tidegate.sources (source) where kind = 'file';

-- Requests that named themselves by an Idempotency-Key, and what they became: sources, the move of a dead letter, a
-- job of moves, or a restore.
create table tidegate.requests (
    identity bytea primary key,
    content bytea not null,
    sources bigint[] not null default '{}',
    move bigint,
    job bigint,
    restore uuid,
    registered_at timestamptz not null default clock_timestamp()
);

-- The lines of small requests, until every one of them is accounted for. Larger ones are in the spool.
create table tidegate.request_lines (
    source bigint primary key references tidegate.sources,
    lines bytea not null
);

-- Well compressed or gone in a moment.
alter table tidegate.request_lines alter column lines set storage external;

-- The next key of each dataset whose keys are numbers that Tidegate gives.
create table tidegate.generated_keys (
    dataset text primary key,
    next bigint not null
);

-- Who may use the HTTP API. Of a token only its hash is kept.
create table tidegate.tokens (
    name text primary key,
    role text not null check (role in ('ingest', 'read', 'operate')),
    hash bytea not null unique,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz
);
