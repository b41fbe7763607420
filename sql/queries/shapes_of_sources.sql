-- The shapes of the sources $1.
select source, shape
from tidegate.sources
where source = any($1)
