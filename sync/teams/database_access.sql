-- The role that a team uses to read its mirror. {role} is the team's own, {database} the one that we are connected to.
-- Both are bound when the store is built (sync/teams/database_access.py). Part 3 of schema.sql grants its rights.

-- name: find
-- A role without access to the schema is a leftover and reads nothing.
SELECT access.created_at, access.password_set_at
FROM pg_roles
LEFT JOIN billstack.database_access AS access ON access.team_id = %(team_id)s
WHERE rolname = %(role)s
    AND has_schema_privilege(pg_roles.oid, to_regnamespace(%(schema)s), 'USAGE');

-- name: has_mirror
SELECT to_regnamespace(%(schema)s) IS NOT NULL
FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: is_mighty
-- The rights of a role of that name, if there is one: somebody may have given it too many.
SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
FROM pg_roles
WHERE rolname = %(role)s;

-- name: create_role
CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 10;

-- name: join_role
-- Only a member of the role, or a superuser, can end its sessions and take its rights away.
GRANT {role} TO CURRENT_USER;

-- name: set_up_role
-- Defaults against mistakes. The role can change them for itself, but not its grants.
GRANT CONNECT ON DATABASE {database} TO {role};
ALTER ROLE {role} SET search_path = {schema};
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '5min';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '5min';

-- name: limit_files
-- How much a sort may write to disk. Only a superuser may set it, and the role cannot change it.
ALTER ROLE {role} SET temp_file_limit = '1GB';

-- name: set_password
-- Sends the verifier, not the password, because the statement may appear in Postgres' log.
ALTER ROLE {role} LOGIN PASSWORD %(verifier)s;

-- name: note
INSERT INTO billstack.database_access (team_id)
VALUES (%(team_id)s)
ON CONFLICT (team_id) DO UPDATE
SET password_set_at = now()
RETURNING created_at, password_set_at;

-- name: close_to_public
-- A reader has all rights of PUBLIC. So this takes from PUBLIC what could be used to write: temporary tables, CREATE in
-- `public` (as before Postgres 15), large objects and records in the WAL, and the way into other databases of our own
-- user. Roles that can already sign in keep that, by name. Rights that are not ours to take stay, and `holes` finds
-- them.
DO $$
DECLARE
    others text := (
        SELECT string_agg(quote_ident(rolname), ', ')
        FROM pg_roles
        WHERE rolcanlogin AND NOT rolsuper AND rolname !~ '^stripe_team_.*_reader$'
    );
    privilege text;
BEGIN
    FOR privilege IN
        SELECT format('TEMPORARY ON DATABASE %I', datname)
        FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS granted
        WHERE datname = current_database()
            AND granted.grantee = 0
            AND granted.privilege_type = 'TEMPORARY'
            AND pg_has_role(datdba, 'USAGE')
        UNION ALL
        SELECT 'CREATE ON SCHEMA public'
        FROM pg_namespace, aclexplode(nspacl) AS granted
        WHERE nspname = 'public'
            AND granted.grantee = 0
            AND granted.privilege_type = 'CREATE'
            AND pg_has_role(nspowner, 'USAGE')
        UNION ALL
        SELECT format('EXECUTE ON FUNCTION %s', pg_proc.oid::regprocedure)
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) AS granted
        WHERE pronamespace = 'pg_catalog'::regnamespace
            AND proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')
            AND granted.grantee = 0
            AND pg_has_role(proowner, 'USAGE')
        UNION ALL
        -- Only databases that we own, even as a superuser: another application makes its roles as it likes. Not this
        -- database, so that later roles can reach it. Readers are granted access by name anyway.
        SELECT format('CONNECT ON DATABASE %I', datname)
        FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) AS granted
        WHERE granted.grantee = 0
            AND granted.privilege_type = 'CONNECT'
            AND datname <> current_database()
            AND datdba = current_user::regrole
    LOOP
        BEGIN
            EXECUTE format('REVOKE %s FROM PUBLIC', privilege);
            IF others IS NOT NULL THEN
                EXECUTE format('GRANT %s TO %s', privilege, others);
            END IF;
        EXCEPTION
            -- The database was dropped in the meantime, or somebody else is changing its rights.
            WHEN invalid_catalog_name OR internal_error THEN NULL;
        END;
    END LOOP;
END
$$;

-- name: holes
-- What the role may do beyond reading its mirror.
SELECT
    has_database_privilege(%(role)s, current_database(), 'TEMPORARY') AS temporary_tables,
    ARRAY(
        SELECT quote_ident(nspname)
        FROM pg_namespace
        WHERE nspname !~ '^pg_' AND has_schema_privilege(%(role)s, pg_namespace.oid, 'CREATE')
        ORDER BY nspname
    ) AS open_schemas,
    has_function_privilege(%(role)s, 'pg_catalog.lo_create(oid)', 'EXECUTE') AS large_objects,
    ARRAY(
        SELECT quote_ident(datname)
        FROM pg_database
        WHERE datallowconn
            AND datname <> current_database()
            AND has_database_privilege(%(role)s, pg_database.oid, 'CONNECT')
        ORDER BY datname
    ) AS other_databases,
    ARRAY(
        SELECT format('%%I.%%I', nspname, relname)
        FROM pg_class
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE relkind IN ('r', 'p', 'v', 'm', 'f')
            AND nspname !~ '^pg_'
            AND nspname NOT IN ('information_schema', %(schema)s)
            AND has_schema_privilege(%(role)s, pg_namespace.oid, 'USAGE')
            AND has_table_privilege(%(role)s, pg_class.oid, 'SELECT')
        ORDER BY 1
        LIMIT 5
    ) AS readable;

-- name: close_role
ALTER ROLE {role} NOLOGIN PASSWORD NULL;

-- name: end_sessions
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE usename = %(role)s;

-- name: take_rights
DROP OWNED BY {role};

-- name: drop_role
DROP ROLE {role};

-- name: forget
DELETE FROM billstack.database_access
WHERE team_id = %(team_id)s;
