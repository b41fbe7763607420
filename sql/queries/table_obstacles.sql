-- The reasons why rows may not be copied into table $1 with its triggers off. No row if they may.
-- $2, $3, $4: the columns whose references the sink checks, and the tables and columns that they reference.
with
    target as (
        select * from pg_class where oid = to_regclass($1)
    ),

    checked as (
        select
            child.attnum,
            to_regclass(pair.parent)::oid as parent,
            parent.attnum as key
        from unnest($2::text[], $3::text[], $4::text[]) as pair (child, parent, key)
        join target on true
        join pg_attribute as child on child.attrelid = target.oid and child.attname = pair.child
        join pg_attribute as parent on parent.attrelid = to_regclass(pair.parent) and parent.attname = pair.key
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
            cardinality(conkey) = 1
            and conkey[1] = checked.attnum
            and confrelid = checked.parent
            and confkey[1] = checked.key
    )
