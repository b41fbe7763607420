-- The objects that depend on relation $1 and are no views of Tidegate.
select distinct pg_describe_object(used.classid, used.objid, 0) as dependent
from pg_depend as direct
left join pg_rewrite on direct.classid = 'pg_rewrite'::regclass and pg_rewrite.oid = direct.objid
cross join lateral (
    select
        case when pg_rewrite.oid is null then direct.classid else 'pg_class'::regclass end as classid,
        coalesce(pg_rewrite.ev_class, direct.objid) as objid
) as used
where
    direct.refclassid = 'pg_class'::regclass
    and direct.refobjid = to_regclass($1)
    and direct.deptype = 'n'
    and used.objid <> direct.refobjid
    and not exists (
        select
        from tidegate.views
        where used.classid = 'pg_class'::regclass and used.objid = to_regclass(format('%I.%I', schema, name))
    )
order by dependent
