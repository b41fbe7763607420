-- The rights that the role lacks for a run, as statements that grant them. $1, $2: the schemas and names of the
-- datasets' tables. $3: the schema of the views if some must be created, else null. $4: whether Tidegate's own schema
-- must be created or changed. $5, $6: the tables that get triggers. $7 to $10: tables, by schema and name, and the
-- tables that they reference.
with
    wanted as (
        select wanted.schema, wanted.name, pg_namespace.oid as namespace, pg_class.oid as relation
        from unnest($1::text[], $2::text[]) as wanted (schema, name)
        left join pg_namespace on nspname = wanted.schema
        left join pg_class on relnamespace = pg_namespace.oid and relname = wanted.name
    ),

    own as (
        select pg_namespace.oid as namespace, nspowner
        from pg_namespace
        where nspname = 'tidegate'
    ),

    makes as (
        select schema from wanted where relation is null
        union
        select $3::text where $3 is not null
        union
        select 'tidegate' from own where $4 or $3 is not null
    )

select format('grant create on database %I to %I', current_database(), current_user) as lacking
where
    -- The first statement that prepares a database is "create schema if not exists", which needs the right
    -- even if the schema exists.
    $4
    and not exists (select from own join pg_class on relnamespace = namespace and relname = 'pipeline')
    and not has_database_privilege(current_database(), 'create')
union all
select format('grant temporary on database %I to %I', current_database(), current_user)
where not has_database_privilege(current_database(), 'temporary')
union all
select format('create schema %I', schema)
from makes
where not exists (select from pg_namespace where nspname = schema)
union all
select format('grant usage, create on schema %I to %I', schema, current_user)
from makes
join pg_namespace on nspname = schema
where not (has_schema_privilege(pg_namespace.oid, 'usage') and has_schema_privilege(pg_namespace.oid, 'create'))
union all
select distinct format('grant usage on schema %I to %I', schema, current_user)
from wanted
where
    relation is not null
    and not has_schema_privilege(namespace, 'usage')
    and schema not in (select makes.schema from makes)
union all
select format('grant select, insert, update on %I.%I to %I', schema, name, current_user)
from wanted
where
    relation is not null
    and not (
        has_table_privilege(relation, 'select')
        and has_table_privilege(relation, 'insert')
        and has_table_privilege(relation, 'update')
    )
union all
select format('grant trigger on %I.%I to %I', schema, name, current_user)
from unnest($5::text[], $6::text[]) as followed (schema, name)
join wanted using (schema, name)
where relation is not null and not has_table_privilege(relation, 'trigger')
union all
select distinct format('grant references on %I.%I to %I', parent.schema, parent.name, current_user)
from unnest($7::text[], $8::text[], $9::text[], $10::text[]) as key (schema, name, to_schema, to_name)
join wanted as child on child.schema = key.schema and child.name = key.name
join wanted as parent on parent.schema = to_schema and parent.name = to_name
where
    child.relation is null
    and parent.relation is not null
    and not has_table_privilege(parent.relation, 'references')
union all
select format('grant usage on schema tidegate to %I', current_user)
from own
where not has_schema_privilege(namespace, 'usage') and 'tidegate' not in (select makes.schema from makes)
union all
select format('grant select, insert, update, delete on all tables in schema tidegate to %I', current_user)
from own
where
    exists (
        select
        from pg_class
        where
            relnamespace = namespace
            and relkind in ('r', 'p')
            and not (
                has_table_privilege(pg_class.oid, 'select')
                and (
                    relname = 'migrations'
                    or (
                        has_table_privilege(pg_class.oid, 'insert')
                        and has_table_privilege(pg_class.oid, 'update')
                        and has_table_privilege(pg_class.oid, 'delete')
                    )
                )
            )
    )
union all
select format('grant usage on all sequences in schema tidegate to %I', current_user)
from own
where
    exists (
        select
        from pg_class
        where
            relnamespace = namespace
            -- The case keeps the order: the function fails for a relation that is no sequence.
            and case relkind when 'S' then not has_sequence_privilege(pg_class.oid, 'usage') else false end
            -- The sequence of an identity column needs no right of its own: the right to insert is enough.
            and not exists (
                select
                from pg_depend
                where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'i'
            )
    )
union all
select format('grant %I to %I', nspowner::regrole::text, current_user)
from own
where $4 and not pg_has_role(nspowner, 'usage')
