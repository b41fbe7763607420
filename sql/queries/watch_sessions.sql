-- For the sessions $1: the process, its start, and, while the server waits for the client's next message, a text that
-- changes with every activity of the session.
select
    activity.pid,
    coalesce(extract(epoch from activity.backend_start)::text, ''),
    case when activity.wait_event = 'ClientRead' then
        concat_ws(' ', activity.state_change, activity.query_start, copying.bytes_processed)
    end
from pg_stat_activity as activity
left join pg_stat_progress_copy as copying on copying.pid = activity.pid
where activity.pid = any($1)
