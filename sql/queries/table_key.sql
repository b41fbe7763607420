-- For table $1: whether column $2 alone is unique, immediately and for all rows, as "on conflict" needs it; the
-- partition key, if it prevents such a unique index; and whether the table has a primary key.
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
