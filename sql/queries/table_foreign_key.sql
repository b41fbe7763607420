-- Whether the columns $2 of table $1 are a foreign key to the columns $4 of table $3, each to the one at its place, and
-- whether they can become one, which needs a key there. A missing table gets its key when a run creates it.
select
    exists (
        select
        from pg_constraint
        where
            contype = 'f'
            and conrelid = $1
            and cardinality(conkey) = cardinality($2::text[])
            and confrelid = to_regclass($3)
            and not exists (
                select
                from unnest(conkey, confkey) as pair (child, parent)
                join pg_attribute as child on child.attrelid = conrelid and child.attnum = pair.child
                join pg_attribute as parent on parent.attrelid = confrelid and parent.attnum = pair.parent
                where
                    (child.attname::text, parent.attname::text)
                    not in (select wanted.child, wanted.parent from unnest($2, $4::text[]) as wanted (child, parent))
            )
    ) as there,
    to_regclass($3) is null
    or exists (
        select
        from pg_index
        where
            indrelid = to_regclass($3)
            and indisunique
            and indimmediate
            and indisvalid
            and indpred is null
            and indnkeyatts = cardinality($4)
            and not exists (
                select
                from unnest(indkey::smallint[]) with ordinality as part (attnum, i)
                left join pg_attribute on attrelid = indrelid and pg_attribute.attnum = part.attnum
                where part.i <= indnkeyatts and (part.attnum = 0 or attname <> all ($4))
            )
    ) as possible
