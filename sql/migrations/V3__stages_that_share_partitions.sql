-- Stages that run alone and share the partitions: a lease is of a stage and a partition, whatever topics it reads.

create table tidegate.stage_leases (
    stage text not null check (stage in ('source', 'transform', 'sink')),
    partition integer not null,
    owner uuid not null,
    host text not null,
    pid bigint not null,
    started_at timestamptz not null,
    expires_at timestamptz not null,
    primary key (stage, partition)
);

-- Who runs the pipeline at this moment goes on being known.
insert into tidegate.stage_leases
select stage, 0, owner, host, pid, started_at, expires_at
from
    (select * from tidegate.leases order by expires_at desc limit 1) as last
    cross join unnest(array['source', 'transform', 'sink']) as stage;

drop table tidegate.leases;
alter table tidegate.stage_leases rename to leases;
alter index tidegate.stage_leases_pkey rename to leases_pkey;

-- Who runs a stage at the moment, to share its partitions. Rows of the dead expire.
create table tidegate.members (
    stage text not null check (stage in ('source', 'transform', 'sink')),
    owner uuid not null,
    host text not null,
    pid bigint not null,
    started_at timestamptz not null,
    joined_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    -- The only partitions that it takes; null where it takes its share.
    pinned integer[],
    -- How many records stand before it on its partitions, as it saw last.
    lag_records bigint,
    primary key (stage, owner)
);

-- In which form lines are on the topics of a cluster, and with which views: all members have the same.
alter table tidegate.pipeline add column form text;
