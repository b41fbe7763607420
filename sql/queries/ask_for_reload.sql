-- Asks for the source $1 to be read again. Returns no row if there is no such source.
insert into tidegate.reloads (old_source, asked_by)
select source, $2 from tidegate.sources
where source = $1
returning reload
