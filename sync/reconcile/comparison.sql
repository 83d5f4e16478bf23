-- Compares one type's rows with Stripe's lists. Only reads. {team} is the team's schema, {table} the type's table.

-- name: slice_end
-- The second of the row that comes this many rows after a given second.
SELECT extract(epoch FROM created)::bigint
FROM {team}.{table}
WHERE created >= to_timestamp(%(start)s)
ORDER BY created
OFFSET %(rows)s
LIMIT 1;

-- name: differing
-- The page's objects that the mirror lacks or has otherwise. `completed` is as in mirror_page.
WITH listed AS MATERIALIZED (
    SELECT object ->> 'id' AS id,
        CASE jsonb_typeof(part)
            WHEN 'array' THEN jsonb_set(jsonb_set(object, ARRAY[%(list)s, 'has_more'], 'false'), ARRAY[%(list)s, 'data'], part)
            WHEN 'object' THEN part
            ELSE object
        END AS raw
    FROM jsonb_array_elements(%(page)s -> 'data') AS object
    CROSS JOIN LATERAL (SELECT %(completed)s -> (object ->> 'id') AS part) AS completed
    WHERE part IS DISTINCT FROM 'null'
)
SELECT listed.id, CASE WHEN known.id IS NULL THEN 'missing' ELSE 'stale' END
FROM listed
LEFT JOIN {team}.{table} AS known ON known.id = listed.id
WHERE known.id IS NULL OR known.raw <> listed.raw OR known.deleted_at IS NOT NULL;

-- name: unlisted
-- Live rows of a range that Stripe's lists did not contain: deleted there, or left out of its lists. A set difference,
-- as in `suspects`: `<> ALL` would compare each row with each id.
SELECT id
FROM {team}.{table}
WHERE deleted_at IS NULL
    AND created >= to_timestamp(%(start)s)
    AND created < to_timestamp(%(end)s)
EXCEPT
SELECT unnest(%(listed)s::text[]);

-- name: undated
SELECT id
FROM {team}.{table}
WHERE deleted_at IS NULL AND created IS NULL;

-- name: unknown_prices
SELECT named.id
FROM unnest(%(ids)s::text[]) AS named (id)
WHERE NOT EXISTS (SELECT FROM {team}.prices WHERE prices.id = named.id);

-- name: is_live
SELECT 1
FROM {team}.{table}
WHERE id = %(id)s AND deleted_at IS NULL;
