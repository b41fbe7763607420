-- The schemas other than $1 with a table $2 that an earlier version may have created, when it used the search path: the
-- schema that the search path finds; or any schema, if the schema $1 has no such table.
select nspname::text as schema
from pg_class
join pg_namespace on pg_namespace.oid = relnamespace
where
    relname = $2
    and relkind in ('r', 'p')
    and not relispartition
    and relpersistence <> 't'
    and nspname <> $1
    and (
        pg_class.oid = to_regclass(quote_ident($2))
        or to_regclass(format('%I.%I', $1::text, $2::text)) is null
    )
    and (
        select count(*)
        from pg_attribute
        where attrelid = pg_class.oid and attname in ('_source', '_line') and not attisdropped
    ) = 2
order by nspname
