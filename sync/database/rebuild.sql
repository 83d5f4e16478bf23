-- Rebuilds tables while the old ones are in use. {team} is a team's schema; {next} holds the new tables until they
-- replace the old ones.

-- name: shapes
-- A hash of each table's columns, ordered by name (an added column is last in its table), and the names of its indexes
-- and triggers; for a view of ours, a hash of its definition.
SELECT pg_namespace.nspname,
    pg_class.relname,
    pg_class.relkind = 'v',
    CASE pg_class.relkind
    WHEN 'v' THEN md5(replace(pg_get_viewdef(pg_class.oid), pg_namespace.nspname || '.', ''))
    ELSE (
        SELECT md5(string_agg(
            concat_ws(' ', attname, format_type(atttypid, atttypmod), attgenerated, attnotnull, pg_get_expr(adbin, adrelid)),
            E'\n'
            ORDER BY attname
        ))
        FROM pg_attribute
        LEFT JOIN pg_attrdef ON pg_attrdef.adrelid = pg_attribute.attrelid AND pg_attrdef.adnum = pg_attribute.attnum
        WHERE pg_attribute.attrelid = pg_class.oid AND pg_attribute.attnum > 0 AND NOT pg_attribute.attisdropped
    )
    END,
    ARRAY(
        SELECT indexes.relname::text
        FROM pg_index
        JOIN pg_class AS indexes ON indexes.oid = pg_index.indexrelid
        WHERE pg_index.indrelid = pg_class.oid
    ),
    ARRAY(
        SELECT tgname::text
        FROM pg_trigger
        WHERE tgrelid = pg_class.oid AND NOT tgisinternal
    )
FROM pg_namespace
JOIN pg_class ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_namespace.nspname = ANY (%(schemas)s)
    AND (
        pg_class.relkind = 'r'
        OR pg_class.relkind = 'v' AND obj_description(pg_class.oid, 'pg_class') LIKE 'BillStack: %%'
    );

-- name: columns_to_copy
-- Columns that both tables store. The others are generated again or get their default.
SELECT old.attname
FROM pg_attribute AS old
JOIN pg_attribute AS new ON new.attname = old.attname
WHERE old.attrelid = %(old)s::regclass
    AND new.attrelid = %(new)s::regclass
    AND old.attnum > 0
    AND NOT old.attisdropped
    AND old.attgenerated = ''
    AND new.attgenerated = ''
ORDER BY old.attnum;

-- name: snapshot
-- Rows written from now on, or not committed yet, have at least this transaction id.
SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text;

-- name: grants
-- Rights of others than the owner. NULL is PUBLIC.
SELECT pg_roles.rolname, privileges.privilege_type
FROM pg_class
CROSS JOIN aclexplode(pg_class.relacl) AS privileges
LEFT JOIN pg_roles ON pg_roles.oid = privileges.grantee
WHERE pg_class.oid = %(table)s::regclass AND privileges.grantee <> pg_class.relowner;

-- name: other_indexes
-- Those that an administrator has added.
SELECT indexdef
FROM pg_indexes
WHERE schemaname = %(schema)s AND tablename = %(table)s AND NOT indexname = ANY (%(ours)s);

-- name: copy_rows
INSERT INTO {next}.{table} ({columns})
SELECT {columns}
FROM {team}.{table};

-- name: try_lock
LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE;

-- name: forget_changed
-- Copies rows that changed during the first copy once more.
DELETE FROM {next}.{table} AS copied
USING {team}.{table} AS mirror
WHERE mirror.id = copied.id AND age(mirror.xmin) <= age(%(since)s::xid);

-- name: copy_changed
INSERT INTO {next}.{table} ({columns})
SELECT {columns}
FROM {team}.{table} AS mirror
WHERE age(mirror.xmin) <= age(%(since)s::xid);

-- name: drop_table
DROP TABLE {team}.{table};

-- name: drop_views
DROP VIEW {views};

-- name: move_table
ALTER TABLE {next}.{table} SET SCHEMA {team};

-- name: analyze
ANALYZE {next}.{table};

-- name: drop_next
DROP SCHEMA IF EXISTS {next} CASCADE;

-- name: forget_count
DELETE FROM billstack.row_counts
WHERE schema_name = %(schema)s AND table_name = %(table_name)s;

-- name: forget_count_changes
DELETE FROM billstack.row_count_changes
WHERE schema_name = %(schema)s AND table_name = %(table_name)s;

-- name: move_count
UPDATE billstack.row_counts
SET schema_name = %(schema)s
WHERE schema_name = %(next_schema)s AND table_name = %(table_name)s;

-- name: move_count_changes
UPDATE billstack.row_count_changes
SET schema_name = %(schema)s
WHERE schema_name = %(next_schema)s AND table_name = %(table_name)s;
