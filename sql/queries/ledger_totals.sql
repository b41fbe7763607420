-- Totals over all sources that ever entered, by dataset, kind and state: the number of sources, the fates of their
-- lines, the effects of accepted lines, and the number of lines that the ledger lacks for sources that were read to
-- their end.
select
    dataset,
    kind,
    completed_at is not null as complete,
    count(*) as sources,
    coalesce(sum(accepted), 0)::bigint as accepted,
    coalesce(sum(inserted), 0)::bigint as inserted,
    coalesce(sum(updated), 0)::bigint as updated,
    coalesce(sum(superseded), 0)::bigint as superseded,
    coalesce(sum(uncounted), 0)::bigint as uncounted,
    coalesce(sum(rejected), 0)::bigint as rejected,
    coalesce(sum(waiting), 0)::bigint as waiting,
    coalesce(sum(discarded), 0)::bigint as discarded,
    coalesce(sum(greatest(lines - coalesce(held, 0), 0)), 0)::bigint as in_flight
from tidegate.sources
left join (
    select
        source,
        sum(accepted_count) as accepted,
        sum(inserted_count) as inserted,
        sum(updated_count) as updated,
        sum(superseded_count) as superseded,
        sum(uncounted_count) as uncounted,
        sum(rejected_count) as rejected,
        sum(waiting_count) as waiting,
        sum(discarded_count) as discarded,
        sum(accepted_count + rejected_count + waiting_count + discarded_count) as held
    from tidegate.ledger
    group by source
) as fates using (source)
group by 1, 2, 3
order by 1, 2, 3
