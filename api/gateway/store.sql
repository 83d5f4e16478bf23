-- How the web reads a team's mirror. {team} is the team's schema, {table} the table of one object type. A list is a
-- `page` or `cursor`, any `where_…`, one of `after` and `before`, and an order (api/gateway/selection.py joins them). Where
-- objects share a second, it is `seconds` instead, with its own ends, which puts them into Stripe's order.

-- name: page
-- `hidden` are fields that Stripe shows only where they are expanded. Text is made of the page's rows only: in one SELECT, a
-- plan that sorts would make it of all that it sorts. The last of {limit} rows has none: it only tells that there are more.
SELECT
    page.id,
    CASE WHEN row_number() OVER as_found < {limit} THEN (page.raw - %(hidden)s::text[])::text END,
    page.created
FROM (
    SELECT mirror.id, mirror.raw, mirror.created
    FROM {team}.{table} AS mirror
    WHERE mirror.deleted_at IS NULL

-- name: seconds
-- The same, with the objects' places in their seconds (sync/mirror/shared_seconds.py). Whole seconds are read and sorted. An
-- object without a place came with an event, so it is newer than those that were listed: its place is 0. Each place is
-- looked up by itself, because a join with a table that nobody has analyzed compared each with each.
SELECT
    page.id,
    CASE WHEN row_number() OVER as_found < %(limit)s THEN (page.raw - %(hidden)s::text[])::text END,
    page.created,
    page.place
FROM (
    SELECT seconds.id, seconds.raw, seconds.created, seconds.place
    FROM (
        SELECT mirror.id, mirror.raw, mirror.created, coalesce((
            SELECT place
            FROM {team}.shared_seconds
            WHERE type = %(type_name)s AND shared_seconds.id = mirror.id AND second IN (0, extract(epoch FROM mirror.created))
        ), 0) AS place
        FROM {team}.{table} AS mirror
        WHERE mirror.deleted_at IS NULL

-- name: cursor
-- Whether the list has the cursor's object, and how many objects its second has.
SELECT (
    SELECT count(*)
    FROM {team}.{table} AS other
    WHERE other.created = mirror.created AND other.deleted_at IS NULL
)
FROM {team}.{table} AS mirror
WHERE mirror.deleted_at IS NULL
    AND mirror.id = %(cursor)s

-- name: after
-- The scalar sub-select makes this a condition of the index, which `<` with a whole row from a sub-select is not.
    AND (mirror.created, mirror.id) < ((SELECT created FROM {team}.{table} WHERE id = %(cursor)s), %(cursor)s)

-- name: before
    AND (mirror.created, mirror.id) > ((SELECT created FROM {team}.{table} WHERE id = %(cursor)s), %(cursor)s)

-- name: newest_first
-- The limit is a part of the text: for one that it does not know, Postgres would plan to read a tenth of the table.
    ORDER BY mirror.created DESC, mirror.id DESC
    LIMIT {limit}
) AS page
WINDOW as_found AS (ORDER BY page.created DESC, page.id DESC)
ORDER BY page.created DESC, page.id DESC

-- name: oldest_first
    ORDER BY mirror.created, mirror.id
    LIMIT {limit}
) AS page
WINDOW as_found AS (ORDER BY page.created, page.id)
ORDER BY page.created, page.id

-- name: seconds_until_cursor
        AND mirror.created <= (SELECT created FROM {team}.{table} WHERE id = %(cursor)s)

-- name: seconds_from_cursor
        AND mirror.created >= (SELECT created FROM {team}.{table} WHERE id = %(cursor)s)

-- name: newest_seconds
        ORDER BY mirror.created DESC
        FETCH FIRST (%(rows_at_least)s) ROWS WITH TIES
    ) AS seconds

-- name: oldest_seconds
        ORDER BY mirror.created
        FETCH FIRST (%(rows_at_least)s) ROWS WITH TIES
    ) AS seconds

-- name: after_place
    WHERE (seconds.created, -seconds.place, seconds.id) <

-- name: before_place
    WHERE (seconds.created, -seconds.place, seconds.id) >

-- name: place_of_cursor
    (
        (SELECT created FROM {team}.{table} WHERE id = %(cursor)s),
        -coalesce((
            SELECT place
            FROM {team}.shared_seconds
            JOIN {team}.{table} AS listed ON listed.id = shared_seconds.id
            WHERE shared_seconds.type = %(type_name)s
                AND shared_seconds.id = %(cursor)s
                AND second IN (0, extract(epoch FROM listed.created))
        ), 0),
        %(cursor)s
    )

-- name: newest_place_first
    ORDER BY seconds.created DESC, seconds.place, seconds.id DESC
    LIMIT %(limit)s
) AS page
WINDOW as_found AS (ORDER BY page.created DESC, page.place, page.id DESC)
ORDER BY page.created DESC, page.place, page.id DESC

-- name: oldest_place_first
    ORDER BY seconds.created, seconds.place DESC, seconds.id
    LIMIT %(limit)s
) AS page
WINDOW as_found AS (ORDER BY page.created, page.place DESC, page.id)
ORDER BY page.created, page.place DESC, page.id

-- name: where_created_from
    AND mirror.created >= to_timestamp(%(created_from)s::double precision)

-- name: where_created_to
    AND mirror.created <= to_timestamp(%(created_to)s::double precision)

-- name: where_amount_from
    AND mirror.amount >= %(amount_from)s::bigint

-- name: where_amount_to
    AND mirror.amount <= %(amount_to)s::bigint

-- name: where_active
    AND mirror.active = %(active)s

-- name: where_charge
    AND mirror.charge = %(charge)s

-- name: where_code
    AND mirror.code = %(code)s

-- name: where_collection_method
    AND mirror.raw ->> 'collection_method' = %(collection_method)s

-- name: where_coupon
    AND mirror.coupon = %(coupon)s

-- name: where_currency
    AND mirror.currency = %(currency)s

-- name: where_customer
    AND mirror.customer = %(customer)s

-- name: where_destination
    AND mirror.destination = %(destination)s

-- name: where_disputed
    AND mirror.disputed = %(disputed)s

-- name: where_email_words
-- Could match in Stripe's search. Of letters outside ASCII it is not known how search compares them.
    AND (
        lower(mirror.email) LIKE %(email_like)s AND lower(mirror.email) ~ %(email_words)s
        OR octet_length(mirror.email) <> char_length(mirror.email)
    )

-- name: where_email
-- Exactly, as Stripe does; the second line is for the index.
    AND mirror.email = %(email)s
    AND lower(mirror.email) = lower(%(email)s)

-- name: where_ids
    AND mirror.id = ANY (%(ids)s)

-- name: where_inclusive
    AND mirror.inclusive = %(inclusive)s

-- name: where_invoice
    AND mirror.invoice = %(invoice)s

-- name: where_lookup_key
    AND mirror.lookup_key = %(lookup_key)s

-- name: where_lookup_keys
    AND mirror.lookup_key = ANY (%(lookup_keys)s)

-- name: where_metadata_like
    AND lower(mirror.metadata::text) LIKE ALL (%(metadata_like)s::text[])

-- name: where_not_canceled
    AND mirror.status <> 'canceled'

-- name: where_payment_intent
    AND mirror.payment_intent = %(payment_intent)s

-- name: where_payment_link
    AND mirror.payment_link = %(payment_link)s

-- name: where_payment_method
    AND mirror.payment_method = %(payment_method)s

-- name: where_payout
    AND mirror.id = ANY (ARRAY(
        SELECT balance_transaction
        FROM {team}.payout_balance_transactions
        WHERE payout = %(payout)s
    ))

-- name: known_payout
-- Its list was read since the payout is as it is now, and all of it is in the mirror (sync/mirror/payouts.py).
SELECT true
FROM {team}.payouts
JOIN {team}.payout_readings AS reading ON reading.payout = payouts.id AND reading.payout_as_of = payouts.as_of_until
WHERE payouts.id = %(payout)s AND payouts.deleted_at IS NULL AND reading.missing = 0 AND reading.refusal IS NULL

-- name: where_person
-- A project's customer is named by its own id or by the id of the Stripe customer behind it, which may look like the former.
    AND mirror.customer = ANY (ARRAY(
        SELECT stripe_customer_id
        FROM billstack.project_customers
        WHERE project_id = %(project_id)s AND %(person)s IN (id, stripe_customer_id)
    ))

-- name: where_price
-- Of any of its items, by the index on just this expression.
    AND jsonb_path_query_array(mirror.raw, '$.items.data[*].price.id') ? %(price)s

-- name: where_product
    AND mirror.product = %(product)s

-- name: where_project
-- What belongs to no customer of the project is none of its business. Each row is looked up by the index while the page is
-- read in its order; as an IN, on tables that were never analyzed, Postgres 15 compared each row with each person.
    AND (
        SELECT true
        FROM billstack.project_customers
        WHERE project_id = %(project_id)s AND stripe_customer_id = mirror.customer
    )

-- name: where_small_project
-- The few rows of a project of few people would be far apart in that order.
    AND mirror.customer = ANY (ARRAY(
        SELECT stripe_customer_id
        FROM billstack.project_customers
        WHERE project_id = %(project_id)s
    ))

-- name: is_small_project
SELECT count(*) <= %(people)s
FROM (
    SELECT
    FROM billstack.project_customers
    WHERE project_id = %(project_id)s
    LIMIT %(people)s + 1
) AS people

-- name: where_shippable
    AND coalesce(billstack.as_boolean(mirror.raw -> 'shippable'), false) = %(shippable)s

-- name: where_source
    AND mirror.source = %(source)s

-- name: where_statuses
    AND mirror.status = ANY (%(statuses)s)

-- name: where_subscription
    AND mirror.subscription = %(subscription)s

-- name: where_total_from
    AND mirror.total >= %(total_from)s::bigint

-- name: where_total_to
    AND mirror.total <= %(total_to)s::bigint

-- name: where_transfer_group
    AND mirror.raw ->> 'transfer_group' = %(transfer_group)s

-- name: where_type
    AND mirror.raw ->> 'type' = %(type)s

-- name: where_url
    AND mirror.raw ->> 'url' = %(url)s

-- name: where_table_is_small
-- Once, before anything is read. What no index finds is looked for in tables up to a size only.
    AND (SELECT pg_relation_size(to_regclass('{team}.{table}')) <= %(most_bytes)s::bigint)

-- name: is_small
SELECT pg_relation_size(to_regclass('{team}.{table}')) <= %(most_bytes)s::bigint

-- name: objects
SELECT id, (raw - %(hidden)s::text[])::text, deleted_at IS NOT NULL
FROM {team}.{table}
WHERE id = ANY (%(ids)s)

-- name: object
-- As `objects`, of one id.
SELECT id, (raw - %(hidden)s::text[])::text, deleted_at IS NOT NULL
FROM {team}.{table}
WHERE id = %(id)s

-- name: standing
-- What each type's right_as_of is made of (api/account/mirror_shown.py), in one JSON. `types` NULL: of all types.
SELECT json_build_object(
    'isConnected', connections.secret_key IS NOT NULL,
    'apiVersion', connections.api_version,
    'added', ARRAY(
        SELECT type
        FROM billstack.mirrored_types
        WHERE mirrored_types.team_id = connections.team_id AND stopped_at IS NULL
    ),
    'sweptUntil', connections.swept_until,
    'unreadUntil', connections.unread_until,
    'proofs', (
        SELECT json_object_agg(type, json_build_object(
            'knownUntil', proven.until,
            'unapplied', (
                SELECT created
                FROM billstack.events
                WHERE events.team_id = connections.team_id AND state IN ('pending', 'failed') AND created > proven.until
                ORDER BY created
                LIMIT 1
            )
        ))
        FROM billstack.type_proofs
        CROSS JOIN LATERAL (
            SELECT greatest(known_until, CASE WHEN equal.found ? type THEN equal.upper END) AS until
        ) AS proven
        WHERE type_proofs.team_id = connections.team_id
            AND (%(types)s::text[] IS NULL OR type_proofs.type = ANY (%(types)s))
    )
)::text
FROM billstack.connections
LEFT JOIN LATERAL (
    SELECT upper, found
    FROM billstack.reconciles
    WHERE reconciles.team_id = connections.team_id AND state = 'done'
    ORDER BY requested_at DESC
    LIMIT 1
) AS equal ON true
WHERE connections.team_id = %(team_id)s
