-- The outcomes of sources: of the sources $1, of the dataset $2, and before the source $3, each if not null. The newest
-- first, at most $4.
select
    s.source,
    s.dataset,
    s.kind,
    s.name,
    s.bytes,
    s.lines,
    coalesce(l.accepted, 0)::bigint as accepted,
    coalesce(l.rejected, 0)::bigint as rejected,
    coalesce(l.waiting, 0)::bigint as waiting,
    coalesce(l.discarded, 0)::bigint as discarded,
    s.registered_at,
    s.completed_at,
    coalesce(l.inserted, 0)::bigint as inserted,
    coalesce(l.updated, 0)::bigint as updated,
    coalesce(l.superseded, 0)::bigint as superseded,
    coalesce(l.uncounted, 0)::bigint as uncounted,
    coalesce(l.repeated, 0)::bigint as repeated,
    s.skipped
from tidegate.sources as s
left join lateral (
    select
        sum(accepted_count) as accepted,
        sum(rejected_count) as rejected,
        sum(waiting_count) as waiting,
        sum(discarded_count) as discarded,
        sum(inserted_count) as inserted,
        sum(updated_count) as updated,
        sum(superseded_count) as superseded,
        sum(uncounted_count) as uncounted,
        sum(repeated_count) as repeated
    from tidegate.ledger
    where ledger.source = s.source
) as l on true
where
    ($1::bigint[] is null or s.source = any($1))
    and ($2::text is null or s.dataset = $2)
    and ($3::bigint is null or s.source < $3)
order by s.source desc
limit $4
