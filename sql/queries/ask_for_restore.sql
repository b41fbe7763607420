-- Asks for the restore $1 of the backup $2 with the files $3, by $4.
insert into tidegate.restores (id, backup, files, asked_by)
values ($1, $2, $3, $4)
