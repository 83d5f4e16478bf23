-- What happened to a customer, from one team's mirror ({team}). Each block but the last is a branch of a UNION ALL.

-- name: customers
SELECT created AS at, 'created' AS what, 'customers' AS kind, id, NULL::bigint AS amount, currency
FROM {team}.customers
WHERE id = %(customer)s AND created IS NOT NULL

-- name: subscriptions
SELECT at, what, 'subscriptions', id, NULL, currency
FROM {team}.subscriptions
CROSS JOIN LATERAL (VALUES (created, 'subscribed'), (ended_at, 'canceled')) AS moments (at, what)
WHERE customer = %(customer)s AND at IS NOT NULL AND deleted_at IS NULL

-- name: charges
SELECT created, CASE status WHEN 'succeeded' THEN 'paid' ELSE 'failed' END, 'charges', id, amount, currency
FROM {team}.charges
WHERE customer = %(customer)s AND created IS NOT NULL AND status IN ('succeeded', 'failed') AND deleted_at IS NULL

-- name: refunds
SELECT created, 'refunded', 'refunds', id, amount, currency
FROM {team}.refunds
WHERE charge = ANY (ARRAY(SELECT charges.id FROM {team}.charges WHERE charges.customer = %(customer)s))
    AND created IS NOT NULL
    AND coalesce(status, 'succeeded') NOT IN ('failed', 'canceled')
    AND deleted_at IS NULL

-- name: refunded_charges
-- A team that does not mirror refunds knows that a payment was refunded, but not when: it stands beside the payment.
SELECT created, 'refunded_since', 'charges', id, amount_refunded, currency
FROM {team}.charges
WHERE customer = %(customer)s AND created IS NOT NULL AND amount_refunded > 0 AND deleted_at IS NULL

-- name: without_refunds
-- Nor does a mirror whose refunds were not read yet.
    AND id <> ALL (ARRAY(
        SELECT refunds.charge
        FROM {team}.refunds
        WHERE charge = ANY (ARRAY(SELECT charges.id FROM {team}.charges WHERE charges.customer = %(customer)s))
    ))

-- name: newest
ORDER BY at DESC, what DESC, id
LIMIT %(limit)s
