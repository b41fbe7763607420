-- Whether a publication publishes updates of table $1 although the table has no replica identity. Postgres then refuses
-- updates.
select coalesce(
    (
        select
            case relreplident
                when 'f' then false
                when 'n' then true
                when 'i' then not exists (select from pg_index where indrelid = pg_class.oid and indisreplident)
                else not exists (select from pg_index where indrelid = pg_class.oid and indisprimary and indisvalid)
            end
        from pg_class
        where oid = to_regclass($1)
    ),
    false
)
and exists (
    select
    from pg_publication
    where
        pubupdate
        and (
            puballtables
            or exists (
                select
                from pg_publication_rel
                where prpubid = pg_publication.oid and prrelid = to_regclass($1)
            )
        )
)
