-- Whether the setting $1 of this session is $2, as it was started with; its process, and when that started; and whether
-- times, numbers, bytes and names are read and written in it as everywhere; and whether triggers and foreign keys work in it.
select
    coalesce(current_setting($1, true), '') = $2 as ours,
    pg_backend_pid() as pid,
    (
        select extract(epoch from backend_start)::text
        from pg_stat_activity
        where pid = pg_backend_pid()
    ) as started,
    current_setting('timezone') = 'UTC'
        and current_setting('datestyle') = 'ISO, MDY'
        and current_setting('intervalstyle') = 'postgres'
        and current_setting('extra_float_digits') = '1'
        and current_setting('bytea_output') = 'hex'
        and current_setting('standard_conforming_strings') = 'on'
        and current_setting('quote_all_identifiers') = 'off' as settled,
    current_setting('session_replication_role') = 'origin' as fires
