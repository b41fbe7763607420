-- Terminates the sessions that keep the session $1 from the leases: those that block it and hold a lock on the leases,
-- and no others.
select blocking.pid, pg_terminate_backend(blocking.pid)
from unnest(pg_blocking_pids($1)) as blocking (pid)
where
    exists (
        select
        from pg_locks
        where pg_locks.pid = blocking.pid and relation = 'tidegate.leases'::regclass and granted
    )
