-- Whether a column alone is unique in a table, at once and for all rows, as "on conflict" needs it.
select exists (
    select
    from pg_index
    join pg_attribute on attrelid = indrelid and attnum = indkey[0]
    where
        indrelid = $1
        and indisunique
        and indimmediate
        and indisvalid
        and indpred is null
        and indnkeyatts = 1
        and attname = $2
)
