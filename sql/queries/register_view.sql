-- Registers a view: name, schema, kind, definition, query, the views that it reads, store, seconds between refreshes,
-- whether its relation was created just now, and its place in the order.
insert into tidegate.views (name, schema, kind, definition, query, reads, store, refresh, refreshed_at, position)
values (
    $1, $2, $3, $4, $5, $6, $7, make_interval(secs => $8),
    case when $3 = 'refreshed' and $9 then now() end,
    $10
)
on conflict (name) do update
set
    schema = excluded.schema,
    kind = excluded.kind,
    definition = excluded.definition,
    query = excluded.query,
    reads = excluded.reads,
    store = excluded.store,
    refresh = excluded.refresh,
    position = excluded.position,
    refreshed_at = coalesce(excluded.refreshed_at, views.refreshed_at)
