-- The refreshed view $1: its quoted name, the time, whether the role has the rights of its owner, and whether it can be
-- refreshed concurrently, which needs a unique index on plain columns, and rows to compare with.
select
    format('%I.%I', schema, name) as relation,
    clock_timestamp() as now,
    coalesce(
        (
            select pg_has_role(relowner, 'usage')
            from pg_class
            where oid = to_regclass(format('%I.%I', schema, name))
        ),
        true
    ) as owned,
    exists (
        select
        from pg_index
        join pg_class on pg_index.indrelid = pg_class.oid and pg_class.relispopulated
        where
            indrelid = to_regclass(format('%I.%I', schema, name))
            and indisunique and indisvalid and indpred is null and indexprs is null
    ) as concurrently
from tidegate.views
where kind = 'refreshed' and name = $1
