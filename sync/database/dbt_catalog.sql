-- What sync/database/dbt.py asks the catalog, and what it does besides creating views.

-- name: find_schema
SELECT nspname
FROM pg_namespace
WHERE nspname = %(schema)s;

-- name: make_schema
CREATE SCHEMA IF NOT EXISTS {dbt};

-- name: drop_schema
DROP SCHEMA IF EXISTS {dbt} CASCADE;

-- name: drop_view
DROP VIEW {dbt}.{view};

-- name: mark
COMMENT ON VIEW {dbt}.{view} IS {comment};

-- name: grant
GRANT USAGE ON SCHEMA {dbt} TO {reader};
GRANT SELECT ON ALL TABLES IN SCHEMA {dbt} TO {reader};

-- name: comments
SELECT relname, obj_description(oid, 'pg_class')
FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'v' AND obj_description(oid, 'pg_class') IS NOT NULL;

-- name: tables
SELECT relname
FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'r';
