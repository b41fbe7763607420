-- Whether column $2 of table $1 is a foreign key to column $4 of table $3, and whether it can become one, which needs a
-- key there. A missing table gets its key when a run creates it.
select
    exists (
        select
        from pg_constraint
        join pg_attribute as child on child.attrelid = conrelid and child.attnum = conkey[1]
        join pg_attribute as parent on parent.attrelid = confrelid and parent.attnum = confkey[1]
        where
            contype = 'f'
            and conrelid = $1
            and cardinality(conkey) = 1
            and child.attname = $2
            and confrelid = to_regclass($3)
            and parent.attname = $4
    ) as there,
    to_regclass($3) is null
        or exists (
            select
            from pg_index
            join pg_attribute on attrelid = indrelid and attnum = indkey[0]
            where
                indrelid = to_regclass($3)
                and indisunique
                and indimmediate
                and indisvalid
                and indpred is null
                and indnkeyatts = 1
                and attname = $4
        ) as possible
