-- The columns of a table: type, whether a value is required, filled in by default, or computed.
select
    attname::text as name,
    format_type(atttypid, atttypmod) as type,
    attnotnull as required,
    atthasdef or attidentity <> '' as filled,
    attgenerated <> '' or attidentity = 'a' as computed
from pg_attribute
where attrelid = $1 and attnum > 0 and not attisdropped
order by attnum
