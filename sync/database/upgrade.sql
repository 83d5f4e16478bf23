-- Upgrades of a database that is in use.

-- name: be_quick
-- A waiting lock request blocks all later ones. The timeout is shorter than Postgres' deadlock_timeout (a second), so
-- that we are the one that gives up.
SET LOCAL lock_timeout = '500ms';

-- name: lock_team
-- Lets only one process at a time upgrade a team. Object types have ordinals from 1 on (lock_type in mirror/store.sql).
SELECT pg_advisory_xact_lock(hashtext(%(schema)s), 0);

-- name: control_definition
SELECT to_jsonb(schema_version) ->> 'definition'
FROM billstack.schema_version;

-- name: set_control_version
INSERT INTO billstack.schema_version (version, oldest_program, definition)
VALUES (%(version)s, %(oldest_program)s, %(definition)s)
ON CONFLICT (one_row) DO UPDATE
SET version = excluded.version,
    oldest_program = excluded.oldest_program,
    definition = excluded.definition,
    applied_at = now();

-- name: teams
-- Connected teams with a schema, and the version in its comment. Versions up to 2 had no comment.
SELECT connections.team_id,
    coalesce(substring(obj_description(pg_namespace.oid, 'pg_namespace') FROM '^billstack ([0-9]+)$')::integer, 0)
FROM billstack.connections
JOIN pg_namespace ON pg_namespace.nspname = 'stripe_' || connections.team_id
ORDER BY connections.team_id;

-- name: added_types
-- Which types a team has tables of beside those that every team has.
SELECT team_id, type
FROM billstack.mirrored_types;

-- name: teams_without_tables
-- A connection and the team's schema come and go in one commit: only a backup of less than all of it leaves one alone.
SELECT team_id
FROM billstack.connections
WHERE to_regnamespace('stripe_' || team_id) IS NULL
ORDER BY team_id;

-- name: forget_backfills
-- What they had read is gone: none goes on, none is adopted, and none proves anything.
UPDATE billstack.backfills
SET state = 'canceled', finished_at = coalesce(finished_at, now())
WHERE team_id = %(team_id)s AND state <> 'canceled';

-- name: forget_reconciles
UPDATE billstack.reconciles
SET state = 'canceled', finished_at = coalesce(finished_at, now())
WHERE team_id = %(team_id)s AND state <> 'canceled';

-- name: forget_proofs
DELETE FROM billstack.type_proofs
WHERE team_id = %(team_id)s;

-- name: forget_numbers
DELETE FROM billstack.kept_numbers
WHERE team_id = %(team_id)s;

-- name: holders
-- The sessions whose open transactions lock a team's tables.
SELECT DISTINCT
    coalesce(nullif(pg_stat_activity.application_name, ''), pg_stat_activity.usename, 'a client'),
    pg_stat_activity.pid,
    date_trunc('second', pg_stat_activity.xact_start)
FROM pg_locks
JOIN pg_class ON pg_class.oid = pg_locks.relation
JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
JOIN pg_stat_activity ON pg_stat_activity.pid = pg_locks.pid
WHERE pg_namespace.nspname = %(schema)s
    AND pg_locks.granted
    AND pg_locks.pid <> pg_backend_pid()
    AND pg_stat_activity.xact_start < now() - interval '1 second'
ORDER BY 3
LIMIT 3;
