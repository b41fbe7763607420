-- Whether a column of a table is a foreign key to a column of another.
select exists (
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
)
