-- The schemas, but for $1, with a table $2 that an earlier version, which left it to the search path, may have made: that
-- which the search path finds; any, where there is none in the schema $1.
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
