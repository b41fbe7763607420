-- Registers a file under the number $1. The caller has chosen the number under the lock of the table.
insert into tidegate.sources (source, dataset, kind, name, fingerprint, identity, content, bytes, shape, first_key)
values ($1, $2, 'file', $3, $4, $5, $6, $7, $8, $9)
