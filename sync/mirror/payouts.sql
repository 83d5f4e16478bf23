-- Which balance transactions each payout is made of (sync/mirror/payouts.py). {team} is the team's schema.

-- name: unread
-- Payouts whose list Stripe can tell and that we have not read since we know the payout as it is now.
SELECT payouts.id, payouts.as_of_until
FROM {team}.payouts
LEFT JOIN {team}.payout_readings AS reading ON reading.payout = payouts.id
WHERE payouts.deleted_at IS NULL
    AND payouts.automatic
    AND payouts.reconciliation_status = 'completed'
    AND reading.payout_as_of IS DISTINCT FROM payouts.as_of_until
ORDER BY payouts.created DESC, payouts.id
LIMIT %(limit)s;

-- name: unequal
-- The page's objects that the mirror lacks or has otherwise.
SELECT listed.object ->> 'id'
FROM jsonb_array_elements(%(page)s -> 'data') AS listed (object)
LEFT JOIN {team}.balance_transactions AS known ON known.id = listed.object ->> 'id'
WHERE known.id IS NULL OR known.raw <> listed.object OR known.deleted_at IS NOT NULL;

-- name: lock_payout
-- None if the payout has changed since the list was requested. Two readers write one after the other; the second one's next
-- statement sees what the first has written.
SELECT id
FROM {team}.payouts
WHERE id = %(payout)s AND as_of_until = %(as_of)s AND deleted_at IS NULL
FOR NO KEY UPDATE;

-- name: put_contents
-- `refusal` is NULL unless Stripe refused the list.
WITH gone AS (
    DELETE FROM {team}.payout_balance_transactions
    WHERE payout = %(payout)s
        AND balance_transaction = ANY (ARRAY(
            SELECT balance_transaction
            FROM {team}.payout_balance_transactions
            WHERE payout = %(payout)s
            EXCEPT
            SELECT unnest(%(transactions)s::text[])
        ))
),
added AS (
    INSERT INTO {team}.payout_balance_transactions (payout, balance_transaction)
    SELECT %(payout)s, unnest(%(transactions)s::text[])
    ON CONFLICT DO NOTHING
)
INSERT INTO {team}.payout_readings AS reading (payout, payout_as_of, transactions, missing, refusal)
SELECT
    %(payout)s,
    %(as_of)s,
    cardinality(%(transactions)s::text[]),
    (
        SELECT count(*)
        FROM (
            SELECT unnest(%(transactions)s::text[])
            EXCEPT
            SELECT id
            FROM {team}.balance_transactions
            WHERE id = ANY (%(transactions)s::text[]) AND deleted_at IS NULL
        ) AS unmirrored
    ),
    %(refusal)s
ON CONFLICT (payout) DO UPDATE
SET payout_as_of = excluded.payout_as_of,
    transactions = excluded.transactions,
    missing = excluded.missing,
    refusal = excluded.refusal;
