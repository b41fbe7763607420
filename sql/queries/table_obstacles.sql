-- The reasons why rows may not be copied into table $1 with its triggers off. No row if they may.
-- $2, $3, $4, $5: the references that the sink checks, a row for each column: the number of the reference, the column, and
-- the table and the column that it references.
with
    target as (
        select * from pg_class where oid = to_regclass($1)
    ),

    checked as (
        select
            to_regclass(pair.parent)::oid as parent,
            array_agg((child.attnum, parent.attnum)::text order by child.attnum) as pairs
        from unnest($2::integer[], $3::text[], $4::text[], $5::text[]) as pair (number, child, parent, key)
        join target on true
        join pg_attribute as child on child.attrelid = target.oid and child.attname = pair.child
        join pg_attribute as parent on parent.attrelid = to_regclass(pair.parent) and parent.attname = pair.key
        group by pair.number, pair.parent
    )

select format('grant it: grant set on parameter session_replication_role to %I', current_user)
where not has_parameter_privilege(current_user, 'session_replication_role', 'set')
union all
select format('%s is not a plain table', $1)
from target
where relkind <> 'r' or relhassubclass or relispartition
union all
select format('%s has rules', $1)
from target
where relhasrules
union all
select format('%s has row-level security', $1)
from target
where relrowsecurity
union all
select format('trigger %I on %s is not Tidegate''s', tgname, $1)
from target
join pg_trigger on tgrelid = target.oid
join pg_proc on pg_proc.oid = tgfoid
where not tgisinternal and pronamespace <> to_regnamespace('tidegate') and tgenabled <> 'D'
union all
select
    format(
        'trigger %1$I on %2$s fires where triggers are off: alter table %2$s enable trigger %1$I', tgname, $1
    )
from target
join pg_trigger on tgrelid = target.oid
join pg_proc on pg_proc.oid = tgfoid
where not tgisinternal and pronamespace = to_regnamespace('tidegate') and tgenabled in ('A', 'R')
union all
select format('constraint %I on %s is deferrable', conname, $1)
from target
join pg_constraint on conrelid = target.oid
where contype in ('p', 'u', 'x') and condeferrable
union all
select format('foreign key %I on %s is not in the manifest', conname, $1)
from target
join pg_constraint on conrelid = target.oid
where
    contype = 'f'
    and not exists (
        select
        from checked
        where
            confrelid = checked.parent
            and checked.pairs = (
                select array_agg((pair.child, pair.parent)::text order by pair.child)
                from unnest(conkey, confkey) as pair (child, parent)
            )
    )
