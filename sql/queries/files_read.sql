-- The sources of $1 that are complete and were files, with their datasets and how many bytes were read.
select source, dataset, bytes
from tidegate.sources
where source = any($1) and kind = 'file' and completed_at is not null and bytes is not null
