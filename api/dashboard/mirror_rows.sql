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

-- name: where_customer
    AND object.customer = %(customer)s

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

-- name: before
    AND (object.created, object.id) < (to_timestamp(%(before_created)s), %(before_id)s)

-- name: before_undated
-- Rows without a creation time come first.
    AND (object.created IS NOT NULL OR object.id < %(before_id)s)

-- name: page
ORDER BY object.created DESC, object.id DESC
LIMIT %(limit)s

-- name: raw
SELECT jsonb_pretty(raw)
FROM {team}.{table}
WHERE id = %(id)s
