-- The columns of table $1: the type; the type with collation, to declare another column alike; and whether a value is
-- required, filled in by default, or computed.
select
    attname::text as name,
    format_type(atttypid, atttypmod) as type,
    concat_ws(' collate ', format_type(atttypid, atttypmod), nullif(attcollation, 0)::regcollation) as declared,
    attnotnull as required,
    atthasdef or attidentity <> '' as filled,
    attgenerated <> '' or attidentity = 'a' as computed
from pg_attribute
where attrelid = to_regclass($1) and attnum > 0 and not attisdropped
order by attnum
