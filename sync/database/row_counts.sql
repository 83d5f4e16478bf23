-- How many live rows the mirrored tables have (schema.sql, billstack.row_counts).

-- name: fold
-- Several schedulers may fold: each change is folded once. The order prevents deadlocks.
WITH folded AS (
    DELETE FROM billstack.row_count_changes
    RETURNING schema_name, table_name, live
)
INSERT INTO billstack.row_counts AS counted (schema_name, table_name, live)
SELECT schema_name, table_name, sum(live)
FROM folded
GROUP BY schema_name, table_name
ORDER BY schema_name, table_name
ON CONFLICT (schema_name, table_name) DO UPDATE
SET live = counted.live + excluded.live;

-- name: live
SELECT coalesce(
        (SELECT live FROM billstack.row_counts WHERE schema_name = %(schema)s AND table_name = %(table_name)s), 0
    ) + coalesce(
        (
            SELECT sum(live)
            FROM billstack.row_count_changes
            WHERE schema_name = %(schema)s AND table_name = %(table_name)s
        ), 0
    );

-- name: forget_counts
DELETE FROM billstack.row_counts
WHERE schema_name = %(schema)s;

-- name: forget_changes
DELETE FROM billstack.row_count_changes
WHERE schema_name = %(schema)s;

-- name: forget_table_count
DELETE FROM billstack.row_counts
WHERE schema_name = %(schema)s AND table_name = %(table_name)s;

-- name: forget_table_changes
DELETE FROM billstack.row_count_changes
WHERE schema_name = %(schema)s AND table_name = %(table_name)s;
