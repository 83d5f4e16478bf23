-- Finds objects of one team by what a person remembers of them. Each block is one branch of a UNION ALL. {team} is the
-- team's schema, {table} a type's table, {title} the column that names its objects.

-- name: by_id
-- Ids have no shape, so every type is asked.
SELECT {kind} AS kind, id, {title} AS title, NULL AS detail, deleted_at IS NOT NULL AS is_deleted
FROM {team}.{table}
WHERE id = ANY (%(texts)s)


-- name: by_number
-- These operators compare by bytes, as the indexes do. No text goes on with a greater letter than the last of Unicode.
(
    SELECT 'invoices', id, number, customer_email, deleted_at IS NOT NULL
    FROM {team}.invoices
    WHERE lower(left(number, 200)) ~>=~ lower(%(find)s) AND lower(left(number, 200)) ~<~ (lower(%(find)s) || chr(1114111))
    ORDER BY lower(left(number, 200)) USING ~<~
    LIMIT %(limit)s
)

-- name: by_email
(
    SELECT 'customers', id, email, name, deleted_at IS NOT NULL
    FROM {team}.customers
    WHERE lower(email) ~>=~ lower(%(find)s) AND lower(email) ~<~ (lower(%(find)s) || chr(1114111))
    ORDER BY lower(email) USING ~<~
    LIMIT %(limit)s
)

-- name: by_name
(
    SELECT 'customers', id, email, name, deleted_at IS NOT NULL
    FROM {team}.customers
    WHERE lower(left(name, 200)) ~>=~ lower(%(find)s) AND lower(left(name, 200)) ~<~ (lower(%(find)s) || chr(1114111))
    ORDER BY lower(left(name, 200)) USING ~<~
    LIMIT %(limit)s
)

-- name: by_last_name
(
    SELECT 'customers', id, email, name, deleted_at IS NOT NULL
    FROM {team}.customers
    WHERE lower(left(substring(name FROM '[^[:space:]]+$'), 200)) ~>=~ lower(%(find)s)
        AND lower(left(substring(name FROM '[^[:space:]]+$'), 200)) ~<~ (lower(%(find)s) || chr(1114111))
    ORDER BY lower(left(substring(name FROM '[^[:space:]]+$'), 200)) USING ~<~
    LIMIT %(limit)s
)
