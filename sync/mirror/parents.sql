-- Types that Stripe lists under the objects of another type. {table} is the type's table, {parent_table} the other
-- type's, and {parent} the column that names the parent (sync/mirror/parents.py).

-- name: parents
-- In the order in which they are read.
SELECT id
FROM {team}.{parent_table}
WHERE deleted_at IS NULL AND id > %(after)s
ORDER BY id
LIMIT %(limit)s;

-- name: parents_since
-- Those whose present row a snapshot may not have shown. `seen_from` is the oldest transaction that was not over then.
SELECT id
FROM {team}.{parent_table}
WHERE deleted_at IS NULL AND id > %(after)s AND age(xmin) <= age(%(seen_from)s::text::xid8::xid)
ORDER BY id
LIMIT %(limit)s;

-- name: changed_parents
SELECT id, extract(epoch FROM synced_at)::bigint
FROM {team}.{parent_table}
WHERE deleted_at IS NULL AND synced_at >= to_timestamp(%(since)s)
ORDER BY synced_at, id
LIMIT %(limit)s;

-- name: version_and_parent
-- The version as in store.sql.
SELECT concat_ws(' ', xmin, as_of, as_of_until, extract(epoch FROM synced_at)), {parent}
FROM {team}.{table}
WHERE id = %(id)s;

-- name: has_live_parent
SELECT 1
FROM {team}.{parent_table}
WHERE id = %(parent_id)s AND deleted_at IS NULL;

-- name: unlisted
-- A set difference, as in MirrorStore.suspects.
SELECT id
FROM {team}.{table}
WHERE {parent} = ANY (%(parents)s) AND deleted_at IS NULL
EXCEPT
SELECT unnest(%(listed)s::text[]);

-- name: orphans
SELECT id
FROM {team}.{table}
WHERE deleted_at IS NULL
    AND ({parent} IS NULL OR {parent} = ANY (ARRAY(
        SELECT {parent}
        FROM {team}.{table}
        WHERE deleted_at IS NULL
        EXCEPT
        SELECT id
        FROM {team}.{parent_table}
        WHERE deleted_at IS NULL
    )));

-- name: bury_children
UPDATE {team}.{table}
SET deleted_at = to_timestamp(%(as_of)s),
    as_of = greatest(as_of, %(as_of)s),
    as_of_until = greatest(as_of_until, %(as_of)s),
    synced_at = now()
WHERE {parent} = %(parent_id)s AND deleted_at IS NULL AND as_of <= %(as_of)s;

-- name: live_children
SELECT id
FROM {team}.{table}
WHERE {parent} = %(parent_id)s AND deleted_at IS NULL
ORDER BY id;

-- name: tables
SELECT relname
FROM pg_class
WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s) AND relname = ANY (%(names)s);
