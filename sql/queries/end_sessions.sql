-- Terminates the sessions of the processes $1 that started at $2. The start is compared because a process number may
-- belong to another session by now.
select pg_terminate_backend(activity.pid)
from unnest($1::integer[], $2::text[]) as ghost (pid, started)
join pg_stat_activity as activity
    on activity.pid = ghost.pid and extract(epoch from activity.backend_start)::text = ghost.started
