-- For table $1: whether the columns $2, in any order, are unique, immediately and for all rows, as "on conflict" needs
-- it; the partition key, if it prevents such a unique index; and whether the table has a primary key.
select
    exists (
        select
        from pg_index
        where
            indrelid = $1
            and indisunique
            and indimmediate
            and indisvalid
            and indpred is null
            and indnkeyatts = cardinality($2::text[])
            and not exists (
                select
                from unnest(indkey::smallint[]) with ordinality as part (attnum, i)
                left join pg_attribute on attrelid = indrelid and pg_attribute.attnum = part.attnum
                where part.i <= indnkeyatts and (part.attnum = 0 or attname <> all ($2))
            )
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
                where part.attnum = 0 or attname <> all ($2)
            )
    ) as partitioned_by,
    exists (select from pg_index where indrelid = $1 and indisprimary) as keyed
