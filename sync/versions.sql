-- Of which version the database and each team's tables are (sync/schema.py). {team} is a team's schema.

-- name: control_version
-- Version 2 and before did not say which programs they serve.
SELECT version, coalesce((to_jsonb(schema_version) ->> 'oldest_program')::integer, version)
FROM billstack.schema_version;

-- name: team_version
SELECT coalesce(substring(obj_description(oid, 'pg_namespace') FROM '^billstack ([0-9]+)$')::integer, 0)
FROM pg_namespace
WHERE nspname = %(schema)s;

-- name: mark
COMMENT ON SCHEMA {team} IS {comment};
