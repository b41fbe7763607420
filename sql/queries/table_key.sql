-- Of a table: whether a column alone is unique in it, at once and for all rows, as "on conflict" needs it; if not, by what
-- it is partitioned that keeps such a key from being made, and whether it has a primary key already.
select
    exists (
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
    ) as unique,
    (
        select pg_get_partkeydef(partrelid)
        from pg_partitioned_table
        where
            partrelid = $1
            and exists (
                select
                from unnest(partattrs::smallint[]) as part (attnum)
                left join pg_attribute on attrelid = partrelid and pg_attribute.attnum = part.attnum
                where part.attnum = 0 or attname <> $2
            )
    ) as partitioned_by,
    exists (select from pg_index where indrelid = $1 and indisprimary) as keyed
