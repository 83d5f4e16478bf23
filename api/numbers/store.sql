-- Numbers of a team's business, from the views of its mirror (part 3 of schema.sql). With a project_id, only of the
-- customers of that project; with NULL, of all.

-- name: currencies
-- A canceled subscription is lost only if it had ever begun to count: one that ended within its trial had not.
SELECT currency,
    coalesce(round(sum(amount) FILTER (WHERE counts)), 0)::bigint AS mrr,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'mrr') AS active_subscriptions,
    coalesce(round(sum(amount) FILTER (WHERE counts AND began_at > %(since)s)), 0)::bigint AS new_mrr,
    coalesce(round(sum(amount) FILTER (WHERE was_lost)), 0)::bigint AS churned_mrr,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'mrr' AND began_at > %(since)s) AS began,
    count(DISTINCT subscription) FILTER (WHERE was_lost) AS lost,
    count(DISTINCT subscription) FILTER (WHERE counts_as = 'mrr' AND began_at <= %(since)s) AS stayed,
    count(DISTINCT subscription) FILTER (WHERE was_lost AND began_at <= %(since)s) AS left
FROM {team}.subscription_mrr
CROSS JOIN LATERAL (
    SELECT coalesce(status = 'canceled' AND ended_at > %(since)s AND began_at < ended_at, false) AS was_lost
) AS judged
WHERE currency IS NOT NULL
    AND (
        %(project_id)s::text IS NULL
        OR customer IN (
            SELECT stripe_customer_id
            FROM billstack.project_customers
            WHERE team_id = %(team_id)s AND project_id = %(project_id)s
        )
    )
GROUP BY currency
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

-- name: moves
-- By month, how many subscriptions began to count and how many ended; those of before the first month count on it.
WITH runs AS (
    SELECT DISTINCT subscription, began_at, ended_at
    FROM {team}.subscription_mrr
    WHERE currency = %(currency)s AND (counts_as = 'mrr' OR status = 'canceled' AND began_at < ended_at)
)
SELECT greatest(date_trunc('month', at AT TIME ZONE 'UTC')::date, %(first)s) AS month, sum(change)::bigint
FROM runs
CROSS JOIN LATERAL (VALUES (began_at, 1), (ended_at, -1)) AS moves (at, change)
WHERE at IS NOT NULL
GROUP BY month
ORDER BY month;

-- name: revenue
SELECT month, charged, refunded, net
FROM {team}.revenue_by_month
WHERE currency = %(currency)s AND month >= %(first)s
ORDER BY month;

-- name: failed_payments
SELECT count(*)
FROM {team}.charges
WHERE status = 'failed' AND deleted_at IS NULL AND created >= %(since)s;
