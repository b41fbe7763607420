-- The dead letters in order: whether the source of each is of the dataset that it names, and whether it waits
-- for nothing.
select
    letters.source,
    letters.line,
    letters.status,
    coalesce(letters.dataset = sources.dataset, false) as fits,
    letters.status = 'waiting' and coalesce(letters.awaits, '{}') = '{}' as forgotten
from tidegate.dead_letters as letters
left join tidegate.sources on sources.source = letters.source
order by letters.source, letters.line
