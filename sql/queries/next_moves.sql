-- In how many seconds a move is due: 0 if a move is open, null if no move is asked for.
select case
    when exists (select from tidegate.moves where done_at is null) then 0
    else (
        select greatest(extract(epoch from due_at - clock_timestamp()), 0)
        from (select min(due_at) as due_at from tidegate.move_jobs where done_at is null) as first
        where due_at is not null
    )
end::double precision
