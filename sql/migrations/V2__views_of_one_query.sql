-- Views are one query each; what is stored for them is derived, and may serve several.

-- What was stored in the way of the first version is made anew at the next start. What a user has built on a view
-- is not dropped along.
do $$
declare
    found record;
    dropped integer;
    in_the_way text;
begin
    if exists (select from tidegate.views) and exists (select from tidegate.leases where expires_at > now()) then
        raise exception 'a process of the version before runs the pipeline: stop it, or wait until its leases have expired';
    end if;
    loop
        dropped := 0;
        in_the_way := '';
        for found in
            select schema, name from tidegate.views where to_regclass(format('%I.%I', schema, name)) is not null
        loop
            declare
                dependents text;
            begin
                execute format('drop view %I.%I', found.schema, found.name);
                dropped := dropped + 1;
            exception when dependent_objects_still_exist then
                get stacked diagnostics dependents = pg_exception_detail;
                in_the_way := in_the_way || dependents || '; ';
            end;
        end loop;
        exit when dropped = 0;
    end loop;
    if in_the_way <> '' then
        raise exception 'views are made anew, but others depend on them: %drop what is not Tidegate''s first', in_the_way;
    end if;
    for found in select name from tidegate.views loop
        execute format('drop function if exists tidegate.%I cascade', 'view_' || found.name || '_change');
        execute format('drop table if exists tidegate.%I', 'view_' || found.name);
    end loop;
end;
$$;

drop table tidegate.views;

create table tidegate.views (
    name text primary key,
    schema text not null,
    kind text not null check (kind in ('incremental', 'layered', 'refreshed')),
    -- The file.
    definition text not null,
    -- What the relation was made from.
    query text not null,
    -- The views that it reads.
    reads text[] not null,
    -- The table of changes that it reads, in this schema.
    store text,
    -- Where it stands: behind those that it reads.
    position integer not null,
    -- Of a refreshed one: how often, and when it was last.
    refresh interval,
    refreshed_at timestamptz,
    created_at timestamptz not null default now()
);

-- The tables of changes under incremental views.
create table tidegate.view_stores (
    name text primary key,
    dataset text not null,
    spec jsonb not null,
    created_at timestamptz not null default now()
);

-- Numbers changes and resets in the order in which they happened to a table.
create sequence tidegate.view_changes;

-- Where the changes of a store begin to count: behind its table's last truncate.
create table tidegate.view_resets (
    store text not null,
    change bigint not null,
    primary key (store, change)
);
