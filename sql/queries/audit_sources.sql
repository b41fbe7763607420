-- The registry in order, and whether the shape of each source is of another dataset.
select
    sources.source,
    sources.dataset,
    sources.lines,
    sources.completed_at is not null as complete,
    coalesce(shapes.dataset <> sources.dataset, false) as strange
from tidegate.sources
left join tidegate.shapes on shapes.shape = sources.shape
order by sources.source
