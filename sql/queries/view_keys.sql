-- The keys, by number, of the analysed store whose equal values need not be identical, and whether they are numeric. A
-- type is safe if its btree operators declare that equal values have the same image.
select
    substr(attname, 2)::integer as key,
    atttypid = 'numeric'::regtype as is_numeric
from pg_attribute
join pg_type on pg_type.oid = atttypid
left join pg_collation on pg_collation.oid = attcollation
where
    attrelid = to_regclass('pg_temp.tidegate_store')
    and attname ~ '^k[0-9]+$'
    and not (
        coalesce(collisdeterministic, true)
        and exists (
            select
            from pg_opclass
            join pg_am on pg_am.oid = opcmethod and amname = 'btree'
            join pg_amproc on amprocfamily = opcfamily and amproclefttype = opcintype and amprocnum = 4
            where
                opcdefault
                and (
                    opcintype in (atttypid, typbasetype)
                    or (opcintype = 'text'::regtype and atttypid = 'varchar'::regtype)
                )
        )
    )
    and not (atttypid = 'numeric'::regtype and atttypmod <> -1)
order by key
