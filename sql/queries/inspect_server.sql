-- The server, who we are there, and what we may do.
select
    current_setting('server_version_num')::integer as version_num,
    current_setting('server_version') as version,
    current_setting('server_encoding') as encoding,
    current_user::text as role,
    current_database()::text as database,
    to_regclass('tidegate.pipeline') is not null as prepared,
    to_regclass('tidegate.pipeline') is not null
        or (
            has_database_privilege(current_database(), 'create')
            and has_schema_privilege(coalesce(current_schema(), 'public'), 'create')
        ) as may_create,
    coalesce(current_schema(), 'public')::text as schema,
    has_database_privilege(current_database(), 'temporary') as may_stage
