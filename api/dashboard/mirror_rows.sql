-- Reads one team's mirror for the explore pages. {team} is the team's schema, {table} a type's table, and {columns} are those
-- of the type's row in the registry. A list consists of a select, the wanted conditions and an end. In all of them,
-- `object` is the row's table.

-- name: has_table
SELECT 1
FROM pg_class
WHERE relnamespace = to_regnamespace(%(schema)s) AND relname = %(table)s

-- name: plain
SELECT object.id, object.created, object.deleted_at, object.synced_at, {columns}
FROM {team}.{table} AS object
WHERE true

-- name: of_customers
SELECT object.id, object.created, object.deleted_at, object.synced_at, customer.email AS customer_email, {columns}
FROM {team}.{table} AS object
LEFT JOIN {team}.customers AS customer ON customer.id = object.customer
WHERE true

-- name: customers
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.email, object.name, object.currency, object.balance, object.delinquent
FROM {team}.customers AS object
WHERE true

-- name: products
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.name, object.active, object.description
FROM {team}.products AS object
WHERE true

-- name: prices
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.product, product.name AS product_name, object.nickname, object.currency,
    coalesce(object.unit_amount, object.unit_amount_decimal) AS unit_amount,
    concat_ws(' ', nullif(object.recurring_interval_count, 1), object.recurring_interval) AS every,
    object.active
FROM {team}.prices AS object
LEFT JOIN {team}.products AS product ON product.id = object.product
WHERE true

-- name: subscriptions
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.customer, customer.email AS customer_email, object.status,
    object.product, product.name AS product_name, object.quantity, object.current_period_end, object.cancel_at_period_end
FROM {team}.subscriptions AS object
LEFT JOIN {team}.customers AS customer ON customer.id = object.customer
LEFT JOIN {team}.products AS product ON product.id = object.product
WHERE true

-- name: invoices
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.number, object.customer, object.customer_email, object.subscription, object.status,
    object.currency, object.total, object.amount_remaining, object.due_date
FROM {team}.invoices AS object
WHERE true

-- name: charges
SELECT object.id, object.created, object.deleted_at, object.synced_at,
    object.customer, customer.email AS customer_email, object.status,
    object.currency, object.amount, object.amount_refunded, coalesce(object.failure_message, object.description) AS note
FROM {team}.charges AS object
LEFT JOIN {team}.customers AS customer ON customer.id = object.customer
WHERE true

-- name: where_id
    AND object.id = %(id)s

-- name: where_status
    AND object.status = %(status)s

-- name: where_active
    AND object.active = %(active)s

-- name: find
-- Ids have no fixed shape, so the text is searched in all of them. The ids found form an array: Postgres then uses
-- indexes to find the rows, however many it expects.
    AND object.id = ANY (ARRAY(
        SELECT known.id FROM {team}.{table} AS known WHERE known.id = ANY (%(texts)s)

-- name: or_customer
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.customer = ANY (%(texts)s)

-- name: or_product
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.product = ANY (%(texts)s)

-- name: or_charge
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.charge = ANY (%(texts)s)

-- name: or_code
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.code = ANY (%(texts)s)

-- name: or_coupon
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.coupon = ANY (%(texts)s)

-- name: or_invoice
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.invoice = ANY (%(texts)s)

-- name: or_lookup_key
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.lookup_key = ANY (%(texts)s)

-- name: or_source
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE known.source = ANY (%(texts)s)

-- name: or_email
        UNION ALL SELECT known.id FROM {team}.{table} AS known WHERE lower(known.email) = lower(%(find)s)

-- name: or_customer_email
        UNION ALL SELECT known.id FROM {team}.{table} AS known
        WHERE known.customer = ANY (ARRAY(SELECT people.id FROM {team}.customers AS people WHERE lower(people.email) = lower(%(find)s)))

-- name: end_find
    ))

-- name: where_reference
    AND object.{reference} = %(reference)s

-- name: where_price
    AND jsonb_path_query_array(object.raw, '$.items.data[*].price.id') ? %(reference)s

-- name: where_from_day
    AND object.created >= %(from_day)s::date::timestamp AT TIME ZONE 'UTC'

-- name: where_to_day
-- With all of that day.
    AND object.created < (%(to_day)s::date + 1)::timestamp AT TIME ZONE 'UTC'

-- name: where_least
-- In whole units of each row's currency.
    AND billstack.whole_units({amount}, object.currency) >= %(least)s

-- name: where_most
    AND billstack.whole_units({amount}, object.currency) <= %(most)s

-- The pages of a list. Each order has the condition for what follows a row in it. Rows without a creation time count as
-- the newest, those without an amount as the smallest.

-- name: by_newest
ORDER BY object.created DESC, object.id DESC
LIMIT %(limit)s

-- name: after_newest
    AND (object.created, object.id) < (to_timestamp(%(at)s::double precision), %(after_id)s)

-- name: after_newest_undated
    AND (object.created IS NOT NULL OR object.id < %(after_id)s)

-- name: by_oldest
ORDER BY object.created, object.id
LIMIT %(limit)s

-- name: after_oldest
-- Without the rows that have no creation time, which come last: with them it would be no range of the index.
    AND (object.created, object.id) > (to_timestamp(%(at)s::double precision), %(after_id)s)

-- name: undated
    AND object.created IS NULL

-- name: after_oldest_undated
    AND object.created IS NULL AND object.id > %(after_id)s

-- name: by_largest
ORDER BY coalesce(billstack.whole_units({amount}, object.currency), '-Infinity') DESC, object.id DESC
LIMIT %(limit)s

-- name: after_largest
    AND (coalesce(billstack.whole_units({amount}, object.currency), '-Infinity'), object.id)
        < (%(at)s::numeric, %(after_id)s)

-- name: by_smallest
ORDER BY coalesce(billstack.whole_units({amount}, object.currency), '-Infinity'), object.id
LIMIT %(limit)s

-- name: after_smallest
    AND (coalesce(billstack.whole_units({amount}, object.currency), '-Infinity'), object.id)
        > (%(at)s::numeric, %(after_id)s)

-- name: count
-- Up to a limit: more are not counted.
SELECT count(*)
FROM (
    SELECT
    FROM {team}.{table} AS object
    WHERE true

-- name: end_count
    LIMIT %(limit)s
) AS found

-- name: live
-- Live rows of a whole table, without reading it.
SELECT coalesce(sum(live), 0)::bigint
FROM (
    SELECT live FROM billstack.row_counts WHERE schema_name = %(schema)s AND table_name = %(table)s
    UNION ALL
    SELECT live FROM billstack.row_count_changes WHERE schema_name = %(schema)s AND table_name = %(table)s
) AS counted

-- name: references
SELECT {references}
FROM {team}.{table}
WHERE id = %(id)s

-- name: raw
SELECT jsonb_pretty(raw)
FROM {team}.{table}
WHERE id = %(id)s
