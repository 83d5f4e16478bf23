-- Alerts of teams that want them.

-- name: settings
SELECT webhook_url, webhook_secret, changed_at,
    ARRAY(
        SELECT (SELECT users.email FROM billstack.users WHERE users.id = alert_recipients.user_id)
        FROM billstack.alert_recipients
        WHERE alert_recipients.team_id = alert_settings.team_id
        ORDER BY 1
    ) AS emails
FROM billstack.alert_settings
WHERE team_id = %(team_id)s;

-- name: put_settings
INSERT INTO billstack.alert_settings (team_id, webhook_url, webhook_secret)
VALUES (%(team_id)s, %(webhook_url)s, %(webhook_secret)s)
ON CONFLICT (team_id) DO UPDATE
SET webhook_url = excluded.webhook_url, webhook_secret = excluded.webhook_secret, changed_at = now();

-- name: drop_recipients
DELETE FROM billstack.alert_recipients
WHERE team_id = %(team_id)s;

-- name: add_recipients
-- Returns the addresses that are members'.
WITH chosen AS (
    SELECT members.user_id, users.email
    FROM billstack.members
    JOIN billstack.users ON users.id = members.user_id
    WHERE members.team_id = %(team_id)s
        AND lower(users.email) = ANY (ARRAY(SELECT lower(email) FROM unnest(%(emails)s::text[]) AS given (email)))
),
added AS (
    INSERT INTO billstack.alert_recipients (team_id, user_id)
    SELECT %(team_id)s, user_id
    FROM chosen
)
SELECT lower(email)
FROM chosen;

-- name: delete_settings
DELETE FROM billstack.alert_settings
WHERE team_id = %(team_id)s
RETURNING team_id;

-- name: claim_look
-- One scheduler looks at a time, and once in a while. The others wait for it, and find nothing to do.
UPDATE billstack.alert_looks
SET looked_at = clock_timestamp()
WHERE looked_at < clock_timestamp() - %(every_s)s * interval '1 second'
RETURNING looked_at;

-- name: look
-- Finds what is wrong with all teams that want alerts, records what began and what is over, and writes the notices, at
-- once. Each part reads one row of an index or a few, so a thousand teams cost milliseconds.
WITH found AS MATERIALIZED (
    SELECT alert_settings.team_id, problem.kind, problem.details
    FROM billstack.alert_settings
    JOIN billstack.connections ON connections.team_id = alert_settings.team_id AND connections.secret_key IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT 'key_refused' AS kind, jsonb_build_object('accountId', connections.account_id) AS details
        WHERE NOT connections.key_valid
        UNION ALL
        -- While the next one runs, nothing is over.
        SELECT 'backfill_failed', jsonb_build_object('backfillId', latest.id, 'error', latest.error)
        FROM (
            SELECT id, state, error
            FROM billstack.backfills
            WHERE backfills.team_id = alert_settings.team_id AND state IN ('ready', 'error')
            ORDER BY requested_at DESC, id
            LIMIT 1
        ) AS latest
        WHERE latest.state = 'error'
        UNION ALL
        -- Over once a comparison finds nothing, or a backfill has read everything again.
        SELECT 'drift_found', jsonb_build_object('reconcileId', latest.id, 'objects', drifted.objects)
        FROM (
            SELECT id, found, requested_at
            FROM billstack.reconciles
            WHERE reconciles.team_id = alert_settings.team_id AND state = 'done'
            ORDER BY requested_at DESC
            LIMIT 1
        ) AS latest
        CROSS JOIN LATERAL (
            SELECT sum((of_type.value -> drift.kind ->> 'count')::bigint)::bigint AS objects
            FROM jsonb_each(latest.found) AS of_type
            CROSS JOIN (VALUES ('missing'), ('stale'), ('notDeleted')) AS drift (kind)
        ) AS drifted
        WHERE drifted.objects > 0
            AND NOT EXISTS (
                SELECT
                FROM billstack.backfills
                WHERE backfills.team_id = alert_settings.team_id
                    AND requested_at > latest.requested_at
                    AND state = 'ready'
                    AND created_after IS NULL
            )
        UNION ALL
        -- Of the events that happened first. Also if nobody reads Stripe's list, which happens every few minutes.
        SELECT 'events_behind', jsonb_build_object('since', extract(epoch FROM behind.since)::bigint)
        FROM (
            SELECT least(
                (
                    SELECT min(received_at)
                    FROM (
                        SELECT received_at
                        FROM billstack.events
                        WHERE events.team_id = alert_settings.team_id AND state IN ('pending', 'failed')
                        ORDER BY created
                        LIMIT 100
                    ) AS oldest
                ),
                CASE
                    WHEN EXISTS (
                        SELECT FROM billstack.backfills WHERE backfills.team_id = alert_settings.team_id AND state = 'ready'
                    )
                    THEN connections.sweep_due_at
                END
            ) AS since
        ) AS behind
        WHERE behind.since < now() - %(behind_s)s * interval '1 second'
        UNION ALL
        SELECT 'schema_outdated', jsonb_build_object('version', tables.version, 'needed', %(version)s::integer)
        FROM (
            SELECT least(
                coalesce(substring(obj_description(pg_namespace.oid, 'pg_namespace') FROM '^billstack ([0-9]+)$')::integer, 0),
                (SELECT schema_version.version FROM billstack.schema_version)
            ) AS version
            FROM pg_namespace
            WHERE pg_namespace.nspname = ('stripe_' || alert_settings.team_id)::name
        ) AS tables
        WHERE tables.version < %(version)s
    ) AS problem
),
began AS (
    INSERT INTO billstack.alerts AS known (team_id, kind, is_on, since, details)
    SELECT found.team_id, found.kind, true, now(), found.details
    FROM found
    WHERE NOT EXISTS (
        SELECT FROM billstack.alerts WHERE alerts.team_id = found.team_id AND alerts.kind = found.kind AND alerts.is_on
    )
    ON CONFLICT (team_id, kind) DO UPDATE
    SET is_on = true, since = excluded.since, over_at = NULL, details = excluded.details
    WHERE NOT known.is_on
    RETURNING team_id, kind, is_on, since, over_at, details
),
ended AS (
    UPDATE billstack.alerts
    SET is_on = false, over_at = now()
    WHERE is_on
        AND NOT EXISTS (SELECT FROM found WHERE found.team_id = alerts.team_id AND found.kind = alerts.kind)
    RETURNING team_id, kind, is_on, since, over_at, details
),
changed AS (
    SELECT team_id, kind, is_on, since, over_at, details FROM began
    UNION ALL
    SELECT team_id, kind, is_on, since, over_at, details FROM ended
),
told AS (
    INSERT INTO billstack.alert_notices (id, team_id, channel, kind, is_on, since, over_at, details)
    SELECT 'alert_' || replace(gen_random_uuid()::text, '-', ''), team_id, channel, kind, is_on, since, over_at, details
    FROM changed
    JOIN (
        SELECT team_id, 'webhook' AS channel FROM billstack.alert_settings WHERE webhook_url IS NOT NULL
        UNION ALL
        SELECT DISTINCT team_id, 'email' FROM billstack.alert_recipients
    ) AS receivers USING (team_id)
    RETURNING team_id
)
SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM told);

-- name: claim
-- Notices that are due. Nobody else gets them for a while; a sender that dies leaves them to the next. What is over is
-- told after what began, however often that had to be tried.
WITH due AS MATERIALIZED (
    SELECT id
    FROM billstack.alert_notices AS notice
    WHERE state = 'waiting'
        AND next_attempt_at <= clock_timestamp()
        AND NOT EXISTS (
            SELECT
            FROM billstack.alert_notices AS earlier
            WHERE earlier.team_id = notice.team_id
                AND earlier.channel = notice.channel
                AND earlier.kind = notice.kind
                AND earlier.state = 'waiting'
                AND earlier.created_at < notice.created_at
        )
    ORDER BY next_attempt_at
    LIMIT %(limit)s
    FOR UPDATE OF notice SKIP LOCKED
)
UPDATE billstack.alert_notices AS notice
SET next_attempt_at = clock_timestamp() + %(claim_s)s * interval '1 second', attempts = attempts + 1
FROM due, billstack.teams, billstack.alert_settings
WHERE notice.id = due.id AND teams.id = notice.team_id AND alert_settings.team_id = notice.team_id
RETURNING notice.id, notice.team_id, teams.name AS team, channel, kind, is_on, since, over_at, details, attempts, webhook_url,
    webhook_secret,
    ARRAY(
        SELECT (SELECT users.email FROM billstack.users WHERE users.id = alert_recipients.user_id)
        FROM billstack.alert_recipients
        WHERE alert_recipients.team_id = notice.team_id
        ORDER BY 1
    ) AS emails;

-- name: add_test
-- A notice for each channel, claimed by its maker.
INSERT INTO billstack.alert_notices (id, team_id, channel, kind, is_on, since, details, attempts, next_attempt_at)
SELECT 'alert_' || replace(gen_random_uuid()::text, '-', ''), team_id, channel.name, 'test', true, now(), '{}', 1,
    clock_timestamp() + %(claim_s)s * interval '1 second'
FROM billstack.alert_settings
CROSS JOIN LATERAL (
    SELECT 'webhook' AS name WHERE alert_settings.webhook_url IS NOT NULL
    UNION ALL
    SELECT 'email' WHERE EXISTS (SELECT FROM billstack.alert_recipients WHERE alert_recipients.team_id = alert_settings.team_id)
) AS channel
WHERE team_id = %(team_id)s
RETURNING id, team_id, (SELECT teams.name FROM billstack.teams WHERE teams.id = alert_notices.team_id) AS team, channel, kind, is_on,
    since, over_at, details, attempts,
    (SELECT settings.webhook_url FROM billstack.alert_settings AS settings WHERE settings.team_id = alert_notices.team_id),
    (SELECT settings.webhook_secret FROM billstack.alert_settings AS settings WHERE settings.team_id = alert_notices.team_id),
    ARRAY(
        SELECT (SELECT users.email FROM billstack.users WHERE users.id = alert_recipients.user_id)
        FROM billstack.alert_recipients
        WHERE alert_recipients.team_id = alert_notices.team_id
        ORDER BY 1
    ) AS emails;

-- name: count_tests
SELECT count(*)
FROM billstack.alert_notices
WHERE team_id = %(team_id)s AND kind = 'test' AND created_at > now() - interval '1 hour';

-- name: end_notice
UPDATE billstack.alert_notices
SET state = %(state)s, error = %(error)s, ended_at = clock_timestamp()
WHERE id = %(id)s;

-- name: postpone
UPDATE billstack.alert_notices
SET error = %(error)s, next_attempt_at = clock_timestamp() + %(wait_s)s * interval '1 second'
WHERE id = %(id)s;

-- name: alerts
SELECT kind, is_on, since, over_at, details
FROM billstack.alerts
WHERE team_id = %(team_id)s
ORDER BY is_on DESC, since DESC, kind;

-- name: notices
SELECT id, channel, kind, is_on, created_at, state, attempts, next_attempt_at, ended_at, error
FROM billstack.alert_notices
WHERE team_id = %(team_id)s
ORDER BY created_at DESC, id
LIMIT %(limit)s;

-- name: prune
DELETE FROM billstack.alert_notices
WHERE id IN (
    SELECT id
    FROM billstack.alert_notices
    WHERE created_at < now() - %(kept)s AND state <> 'waiting'
    ORDER BY created_at
    LIMIT 1000
);

-- name: sealed
SELECT team_id, webhook_url, webhook_secret
FROM billstack.alert_settings
WHERE webhook_url IS NOT NULL OR webhook_secret IS NOT NULL
ORDER BY team_id
FOR UPDATE;

-- name: reseal
UPDATE billstack.alert_settings
SET webhook_url = coalesce(%(webhook_url)s, webhook_url), webhook_secret = coalesce(%(webhook_secret)s, webhook_secret)
WHERE team_id = %(team_id)s;
