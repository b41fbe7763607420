-- The columns of Tidegate's own tables, without the tables in $1 and the stores of views. Each table comes after those
-- that it references.
with recursive
    own as (
        select oid, relname
        from pg_class
        where
            relnamespace = to_regnamespace('tidegate')
            and relkind = 'r'
            and relname <> all($1::text[])
            and relname not in (select name from tidegate.view_stores)
    ),

    behind as (
        select oid, 0 as depth
        from own
        union
        select conrelid, depth + 1
        from behind
        join pg_constraint on confrelid = behind.oid and contype = 'f' and conrelid <> confrelid
        where depth < 32
    )

select
    own.relname::text as table,
    attname::text as name,
    format_type(atttypid, atttypmod) as type,
    not attnotnull as optional
from own
join pg_attribute on attrelid = own.oid
where attnum > 0 and not attisdropped and attgenerated = ''
order by (select max(depth) from behind where behind.oid = own.oid), relname, attnum
