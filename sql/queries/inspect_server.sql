-- The server, the role of this session, and whether the database can be written to and has been prepared. Reads only
-- catalogs, because the role may lack the right to read a schema.
select
    current_setting('server_version_num')::integer as version_num,
    current_setting('server_version') as version,
    current_setting('server_encoding') as encoding,
    current_user::text as role,
    pg_is_in_recovery() as standby,
    current_setting('default_transaction_read_only')::boolean as reads_only,
    exists (
        select
        from pg_class
        join pg_namespace on pg_namespace.oid = relnamespace
        where nspname = 'tidegate' and relname = 'pipeline'
    ) as prepared
