-- The number of a shape. Stores the shape if it is not known. Returns no row if another transaction has just stored it.
with
    known as (
        select shape
        from tidegate.shapes
        where
            dataset = $1
            and columns = $2
            and header = $3
            and delimiter = $4
            and quote = $5
            and null_text is not distinct from $6
            and rules = $7
            and more is not distinct from $8
    ),

    entered as (
        insert into tidegate.shapes (dataset, columns, header, delimiter, quote, null_text, rules, more)
        select $1, $2, $3, $4, $5, $6, $7, $8
        where not exists (select from known)
        on conflict do nothing
        returning shape
    )

select shape from known
union all
select shape from entered
