-- Asks for a restore.
insert into tidegate.restores (id, backup, files, asked_by)
values ($1, $2, $3, $4)
