-- Stores that owner $2 lives and runs stage $1, for at least $6 seconds. Deletes members of the stage that expired more
-- than an hour ago.
with dead as (
    delete from tidegate.members where stage = $1 and owner <> $2 and expires_at < now() - interval '1 hour'
)

insert into tidegate.members (stage, owner, host, pid, started_at, expires_at, pinned, lag_records)
values ($1, $2, $3, $4, to_timestamp($5), now() + $6 * interval '1 second', $7, $8)
on conflict (stage, owner) do update set
    host = excluded.host,
    pid = excluded.pid,
    started_at = excluded.started_at,
    expires_at = excluded.expires_at,
    pinned = excluded.pinned,
    lag_records = excluded.lag_records,
    -- A member that comes back after its expiry joins last.
    joined_at = case when members.expires_at < now() then excluded.joined_at else members.joined_at end
