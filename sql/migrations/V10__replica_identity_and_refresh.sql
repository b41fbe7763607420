-- What tools around the pipeline need: tables that may be published, views that another role may refresh.

-- Stores have no key. Where all tables are published, rows of a table without a replica identity can be neither updated
-- nor deleted, and folding deletes.
do $$
declare
    store text;
begin
    for store in select name from tidegate.view_stores where to_regclass(format('tidegate.%I', name)) is not null loop
        execute format('alter table tidegate.%I replica identity full', store);
    end loop;
end;
$$;

-- Refreshes one of Tidegate's materialized views as the role that owns this function, which is who prepared the
-- database: only an owner may. Drops its unique indexes before, if asked to.
create or replace function tidegate.refresh_view(view text, concurrently boolean, drop_indexes boolean)
returns void
language plpgsql
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    relation text;
    index text;
begin
    select format('%I.%I', views.schema, views.name) into relation
    from tidegate.views
    where views.name = refresh_view.view and views.kind = 'refreshed';
    if relation is null then
        raise exception 'there is no view % that is refreshed', quote_literal(refresh_view.view)
            using errcode = 'undefined_table';
    end if;
    if refresh_view.drop_indexes then
        for index in
            select indexrelid::regclass::text from pg_index where indrelid = to_regclass(relation) and indisunique
        loop
            execute format('drop index %s', index);
        end loop;
    end if;
    execute format(
        'refresh materialized view %s %s', case when refresh_view.concurrently then 'concurrently' else '' end, relation
    );
end;
$$;
