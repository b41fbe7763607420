#!/usr/bin/env bash
# Run once by Postgres's image, on an empty volume: the pipeline's role and its database.
set -euo pipefail

psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname=postgres \
  --set=password="$TIDEGATE_PASSWORD" <<'SQL'
create role tidegate login password :'password';
create database company owner tidegate encoding 'UTF8' template template0;
-- Opens the cheap way to write rows: docs/guarantees.md.
grant set on parameter session_replication_role to tidegate;
SQL
