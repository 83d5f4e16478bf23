-- The version of the database and of each team's tables (sync/database/schema.py). {team} is a team's schema.

-- name: control_version
-- Versions up to 2 did not record which programs they serve.
SELECT version, coalesce((to_jsonb(schema_version) ->> 'oldest_program')::integer, version)
FROM billstack.schema_version;

-- name: team_version
SELECT coalesce(substring(obj_description(oid, 'pg_namespace') FROM '^billstack ([0-9]+)$')::integer, 0)
FROM pg_namespace
WHERE nspname = %(schema)s;

-- name: both_versions
-- The two of them, in the form above, in one row: each job asks for them.
SELECT version,
    coalesce((to_jsonb(schema_version) ->> 'oldest_program')::integer, version),
    (
        SELECT coalesce(substring(obj_description(oid, 'pg_namespace') FROM '^billstack ([0-9]+)$')::integer, 0)
        FROM pg_namespace
        WHERE nspname = %(schema)s
    )
FROM billstack.schema_version;

-- name: mark
COMMENT ON SCHEMA {team} IS {comment};

-- name: has_locks
SELECT 1
WHERE to_regclass('billstack.locks') IS NOT NULL;

-- name: lock_first
SELECT pg_advisory_xact_lock(%(number)s);

-- name: lock_schemas
-- A row and no advisory lock, because any role of the database could hold that one.
SELECT name
FROM billstack.locks
WHERE name = 'schemas'
FOR UPDATE;

-- name: added_types
-- What a team has tables of beside those that every team has.
SELECT type
FROM billstack.mirrored_types
WHERE team_id = %(team_id)s;

-- name: taken_names
-- Relations with these names that are not our views. The comment on each of our views begins with our name.
SELECT relname
FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s)
    AND relname = ANY (%(names)s)
    AND NOT (relkind = 'v' AND coalesce(obj_description(oid, 'pg_class') LIKE 'BillStack: %%', false));
