-- Whether the setting $1 of this session is $2, the value that it was started with; the process of the session and when
-- the process started; whether the settings $3 have the values $4, by which times, numbers, bytes and names are read and
-- written; and whether triggers and foreign keys fire.
select
    coalesce(current_setting($1, true), '') = $2 as ours,
    pg_backend_pid() as pid,
    (
        select extract(epoch from backend_start)::text
        from pg_stat_activity
        where pid = pg_backend_pid()
    ) as started,
    (
        select bool_and(current_setting(name) = value)
        from unnest($3::text[], $4::text[]) as settings (name, value)
    ) as settled,
    current_setting('session_replication_role') = 'origin' as fires
