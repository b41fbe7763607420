-- The views of the database, each after those that it reads, with the columns of their relations, the relations that
-- these read (without views and stores), and when they were refreshed, in UTC.
select
    views.*,
    extract(epoch from views.refresh)::double precision as refresh_seconds,
    to_char(views.refreshed_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') as refreshed,
    relation.columns,
    relation.types,
    array(
        select distinct pg_class.oid
        from pg_rewrite
        join pg_depend
            on
                pg_depend.classid = 'pg_rewrite'::regclass
                and pg_depend.objid = pg_rewrite.oid
                and pg_depend.refclassid = 'pg_class'::regclass
                and pg_depend.refobjid <> pg_rewrite.ev_class
        join pg_class on pg_depend.refobjid = pg_class.oid
        where
            pg_rewrite.ev_class = to_regclass(format('%I.%I', views.schema, views.name))
            and pg_class.relnamespace <> 'tidegate'::regnamespace
            and not exists (
                select
                from tidegate.views as other
                where pg_class.oid = to_regclass(format('%I.%I', other.schema, other.name))
            )
    ) as relations
from tidegate.views
left join lateral (
    select
        array_agg(attname::text order by attnum) as columns,
        array_agg(
            concat_ws(
                ' collate ',
                format_type(atttypid, atttypmod),
                nullif(attcollation, typcollation)::regcollation
            )
            order by attnum
        ) as types
    from pg_attribute
    join pg_type on pg_attribute.atttypid = pg_type.oid
    where
        attrelid = to_regclass(format('%I.%I', views.schema, views.name))
        and attnum > 0
        and not attisdropped
) as relation on true
order by views.position
