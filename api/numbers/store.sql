-- Numbers of a team's business, from the views of its mirror (part 3 of schema.sql). With a project_id, only of the
-- customers of that project; with NULL, of all.

-- name: currencies
-- The view is read once: it opens the JSON of every subscription. A canceled subscription is lost only if it had ever
-- begun to count: one that ended within its trial had not. `moves`: by month, how many more began to count than ended;
-- those of before the first month count on it.
WITH subscriptions AS MATERIALIZED (
    SELECT currency,
        subscription,
        sum(amount) AS amount,
        sum(amount) FILTER (WHERE counts) AS counted,
        bool_or(counts_as = 'mrr') AS runs,
        bool_or(status = 'canceled' AND began_at < ended_at) AS ran,
        min(began_at) AS began_at,
        min(ended_at) AS ended_at
    FROM {team}.subscription_mrr
    WHERE currency IS NOT NULL
        AND (
            %(project_id)s::text IS NULL
            OR subscription = ANY (ARRAY(
                SELECT id
                FROM {team}.subscriptions
                WHERE customer = ANY (ARRAY(
                    SELECT stripe_customer_id
                    FROM billstack.project_customers
                    WHERE team_id = %(team_id)s AND project_id = %(project_id)s
                ))
            ))
        )
    GROUP BY currency, subscription
),
totals AS (
    SELECT currency,
        coalesce(round(sum(counted)), 0)::bigint AS mrr,
        count(*) FILTER (WHERE runs) AS active_subscriptions,
        coalesce(round(sum(counted) FILTER (WHERE began_at > %(since)s)), 0)::bigint AS new_mrr,
        coalesce(round(sum(amount) FILTER (WHERE ran AND ended_at > %(since)s)), 0)::bigint AS churned_mrr,
        count(*) FILTER (WHERE runs AND began_at > %(since)s) AS began,
        count(*) FILTER (WHERE ran AND ended_at > %(since)s) AS lost,
        count(*) FILTER (WHERE runs AND began_at <= %(since)s) AS stayed,
        count(*) FILTER (WHERE ran AND ended_at > %(since)s AND began_at <= %(since)s) AS left
    FROM subscriptions
    GROUP BY currency
),
by_month AS (
    SELECT currency,
        greatest(date_trunc('month', at AT TIME ZONE 'UTC')::date, %(first)s) AS month,
        sum(change)::bigint AS change
    FROM subscriptions
    CROSS JOIN LATERAL (VALUES (began_at, 1), (ended_at, -1)) AS moves (at, change)
    WHERE (runs OR ran) AND at IS NOT NULL
    GROUP BY currency, month
)
SELECT currency, mrr, active_subscriptions, new_mrr, churned_mrr, began, lost, stayed, totals.left,
    (
        SELECT coalesce(jsonb_object_agg(month, change), jsonb_build_object())
        FROM by_month
        WHERE by_month.currency = totals.currency
    ) AS moves
FROM totals
ORDER BY currency;

-- name: statuses
SELECT status, count(*)
FROM {team}.subscriptions
WHERE deleted_at IS NULL
    AND status IS NOT NULL
    AND (
        %(project_id)s::text IS NULL
        OR customer IN (
            SELECT stripe_customer_id
            FROM billstack.project_customers
            WHERE team_id = %(team_id)s AND project_id = %(project_id)s
        )
    )
GROUP BY status;

-- name: new_customers
-- By day; those of before the first day, and those whose day is unknown, count on the first.
SELECT coalesce(greatest((created AT TIME ZONE 'UTC')::date, %(first)s), %(first)s) AS day, count(*)
FROM {team}.customers
WHERE deleted_at IS NULL
GROUP BY day
ORDER BY day;

-- name: new_people
SELECT greatest((created_at AT TIME ZONE 'UTC')::date, %(first)s) AS day, count(*)
FROM billstack.project_customers
WHERE team_id = %(team_id)s AND project_id = %(project_id)s
GROUP BY day
ORDER BY day;

-- name: events
-- What was applied is counted by the hour; what waits or failed is few, and stands in indexes of its own.
SELECT (
        SELECT coalesce(sum(count), 0)::bigint
        FROM billstack.activity
        WHERE team_id = %(team_id)s AND hour >= %(since)s AND what = 'event'
    ) AS processed,
    (
        SELECT count(*)
        FROM billstack.events
        WHERE team_id = %(team_id)s AND state IN ('pending', 'failed') AND to_timestamp(created) >= %(since)s
    ) AS waiting,
    (
        SELECT count(*)
        FROM billstack.events
        WHERE team_id = %(team_id)s AND state = 'failed' AND to_timestamp(created) >= %(since)s
    ) AS failed;

-- name: revenue
SELECT currency, jsonb_object_agg(month, net)
FROM {team}.revenue_by_month
WHERE month >= %(first)s
GROUP BY currency;

-- name: failed_payments
SELECT count(*)
FROM {team}.charges
WHERE status = 'failed' AND deleted_at IS NULL AND created >= %(since)s;
