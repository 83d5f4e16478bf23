-- The Stripe account behind a team.

-- name: get
SELECT team_id, account_id, account_name, livemode, secret_key, publishable_key, webhook_secret, endpoint_id, key_valid,
    connected_at, disconnected_at, last_event_at, coalesce(api_version, %(default_version)s) AS api_version
FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: webhook_secrets
-- While a secret is being rolled at Stripe, the previous one stays valid for at most a day.
SELECT webhook_secret,
    CASE WHEN previous_secret_until > now() THEN previous_webhook_secret END AS previous_webhook_secret,
    endpoint_secret
FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: set_endpoint
-- Returns no row if the team was disconnected while Stripe created the endpoint, or now has another account.
UPDATE billstack.connections
SET endpoint_id = %(endpoint_id)s,
    endpoint_secret = %(endpoint_secret)s,
    secrets_changed_at = now(),
    refused_deliveries = 0,
    refused_since = NULL,
    refused_at = NULL
WHERE team_id = %(team_id)s
    AND account_id = %(account_id)s
    AND livemode = %(livemode)s
    AND secret_key IS NOT NULL
RETURNING team_id;

-- name: add_refused
-- For many teams at once. An accepted delivery since the last refusal restarts the count. Refusals from before the
-- secrets changed, or around that moment, are no news.
UPDATE billstack.connections
SET refused_deliveries = added.count + CASE WHEN refused_at > coalesce(delivered_at, '-infinity') THEN refused_deliveries ELSE 0 END,
    refused_since = CASE WHEN refused_at > coalesce(delivered_at, '-infinity') THEN refused_since ELSE now() END,
    refused_at = now()
FROM unnest(%(team_ids)s::text[], %(counts)s::bigint[]) AS added (team_id, count)
WHERE connections.team_id = added.team_id
    AND connections.secret_key IS NOT NULL
    AND coalesce(secrets_changed_at, '-infinity') < now() - interval '10 seconds';

-- name: is_refused
-- Whether the last delivery had a wrong signature.
SELECT coalesce(refused_at > coalesce(delivered_at, '-infinity'), false)
FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: sweeps_due
-- Whether a connected team's first backfill is done and its events were not read recently.
SELECT team_id
FROM billstack.connections
WHERE secret_key IS NOT NULL
    AND sweep_due_at <= now()
    AND EXISTS (SELECT FROM billstack.backfills WHERE backfills.team_id = connections.team_id AND state = 'ready')
LIMIT 1;

-- name: claim_sweeps
-- Such teams, the longest due first. Several jobs may ask. Due times are spread, so that they do not come due together
-- again. A team that Stripe delivers to is swept rarely, only for what a delivery missed; but often if it mirrors types
-- without events, whose newest objects the same job lists.
UPDATE billstack.connections
SET sweep_due_at = now() + (0.75 + random() / 2) * interval '1 second' * CASE
    WHEN EXISTS (
        SELECT
        FROM billstack.mirrored_types
        WHERE mirrored_types.team_id = connections.team_id AND stopped_at IS NULL AND type = ANY (%(reread_types)s)
    ) THEN %(every_s)s
    WHEN delivered_at > greatest(refused_at, missed_at, now() - %(rarely_s)s * interval '4 seconds') THEN %(rarely_s)s
    ELSE %(every_s)s
END
WHERE team_id = ANY (
    ARRAY(
        SELECT team_id
        FROM billstack.connections
        WHERE secret_key IS NOT NULL
            AND sweep_due_at <= now()
            AND EXISTS (SELECT FROM billstack.backfills WHERE backfills.team_id = connections.team_id AND state = 'ready')
        ORDER BY sweep_due_at
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    )
)
RETURNING team_id;

-- name: webhook_missed
-- The sweep found events that Stripe should have delivered. The team is swept often again, until the next delivery.
UPDATE billstack.connections
SET missed_at = now(), sweep_due_at = least(sweep_due_at, now() + %(every_s)s * interval '1 second')
WHERE team_id = %(team_id)s;

-- name: swept_until
-- Before the first sweep, this is the start of the first backfill, whose end replayed the events since then.
SELECT coalesce(
    swept_until,
    (SELECT min(started) FROM billstack.backfills WHERE backfills.team_id = connections.team_id AND state = 'ready')
)
FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: set_swept
UPDATE billstack.connections
SET swept_until = greatest(swept_until, %(until)s), sweep_error = NULL
WHERE team_id = %(team_id)s;

-- name: sweep_again
UPDATE billstack.connections
SET sweep_due_at = now()
WHERE team_id = %(team_id)s;

-- name: set_unread
UPDATE billstack.connections
SET unread_until = %(until)s
WHERE team_id = %(team_id)s;

-- name: set_sweep_error
UPDATE billstack.connections
SET sweep_error = %(error)s
WHERE team_id = %(team_id)s;

-- name: set_key_valid
-- Compare and set: a late answer to an old key says nothing about its successor. Writes only changes.
UPDATE billstack.connections
SET key_valid = %(valid)s
WHERE team_id = %(team_id)s AND secret_key = %(sealed_key)s AND key_valid <> %(valid)s;

-- name: lock
-- Only one at a time connects a team, disconnects it, or begins work that needs its key. Rows that refer to the team
-- may still be written: their writers would wait here while holding other locks.
SELECT id
FROM billstack.teams
WHERE id = %(team_id)s
FOR NO KEY UPDATE;

-- name: put
INSERT INTO billstack.connections
    (team_id, account_id, account_name, livemode, secret_key, publishable_key, webhook_secret, api_version)
VALUES (
    %(team_id)s, %(account_id)s, %(account_name)s, %(livemode)s, %(secret_key)s, %(publishable_key)s,
    %(webhook_secret)s, nullif(%(api_version)s, %(default_version)s)
)
ON CONFLICT (team_id) DO UPDATE
SET account_id = excluded.account_id,
    account_name = excluded.account_name,
    livemode = excluded.livemode,
    secret_key = excluded.secret_key,
    api_version = excluded.api_version,
    publishable_key = coalesce(excluded.publishable_key, connections.publishable_key),
    webhook_secret = coalesce(excluded.webhook_secret, connections.webhook_secret),
    previous_webhook_secret = CASE
        WHEN excluded.webhook_secret IS NULL THEN connections.previous_webhook_secret
        ELSE connections.webhook_secret
    END,
    previous_secret_until = CASE
        WHEN excluded.webhook_secret IS NULL THEN connections.previous_secret_until
        ELSE now() + interval '1 day'
    END,
    key_valid = true,
    own_key_sha256 = CASE
        WHEN connections.own_key_sha256 IS NOT NULL
            AND NOT EXISTS (  -- a key names one team: the one that let it in first
                SELECT
                FROM billstack.connections AS others
                WHERE others.own_key_sha256 = decode(%(own_key_sha256)s, 'hex') AND others.team_id <> %(team_id)s
            )
        THEN decode(%(own_key_sha256)s, 'hex')
    END,
    connected_at = now(),
    disconnected_at = NULL,
    secrets_changed_at = CASE WHEN excluded.webhook_secret IS NULL THEN connections.secrets_changed_at ELSE now() END,
    refused_deliveries = CASE WHEN excluded.webhook_secret IS NULL THEN connections.refused_deliveries ELSE 0 END,
    refused_since = CASE WHEN excluded.webhook_secret IS NULL THEN connections.refused_since END,
    refused_at = CASE WHEN excluded.webhook_secret IS NULL THEN connections.refused_at END;

-- name: forget_keys
UPDATE billstack.connections
SET secret_key = NULL,
    own_key_sha256 = NULL,
    own_key_since = NULL,
    own_key_used_at = NULL,
    publishable_key = NULL,
    webhook_secret = NULL,
    previous_webhook_secret = NULL,
    previous_secret_until = NULL,
    endpoint_id = NULL,
    endpoint_secret = NULL,
    delivered_version = NULL,
    delivered_at = NULL,
    delivery_lag_s = NULL,
    refused_deliveries = 0,
    refused_since = NULL,
    refused_at = NULL,
    sweep_error = NULL,
    disconnected_at = now()
WHERE team_id = %(team_id)s;

-- name: delete
DELETE FROM billstack.connections
WHERE team_id = %(team_id)s;

-- name: delete_backfills
DELETE FROM billstack.backfills
WHERE team_id = %(team_id)s;

-- name: delete_reconciles
DELETE FROM billstack.reconciles
WHERE team_id = %(team_id)s;

-- name: delete_repairs
DELETE FROM billstack.repairs
WHERE team_id = %(team_id)s;

-- name: delete_events
DELETE FROM billstack.events
WHERE team_id = %(team_id)s;

-- name: delete_activity
DELETE FROM billstack.activity
WHERE team_id = %(team_id)s;

-- name: delete_proofs
DELETE FROM billstack.type_proofs
WHERE team_id = %(team_id)s;

-- name: delete_numbers
DELETE FROM billstack.kept_numbers
WHERE team_id = %(team_id)s;

-- name: delete_mirrored_types
DELETE FROM billstack.mirrored_types
WHERE team_id = %(team_id)s;

-- name: status
-- Everything that GET status needs from Postgres, in one indexed read: the connection, the last backfill that was not
-- canceled with its types, the last backfill of all, the mirror's contents and how far they are known, the last
-- comparison with Stripe, and up to a thousand failed events.
SELECT
    connections.account_id,
    connections.account_name,
    connections.livemode,
    coalesce(connections.api_version, %(default_version)s) AS api_version,
    connections.secret_key IS NOT NULL AS connected,
    connections.key_valid,
    current_setting('transaction_read_only')::boolean AS is_read_only,
    connections.last_event_at,
    connections.delivered_version,
    connections.delivered_at,
    connections.delivery_lag_s,
    connections.refused_deliveries,
    connections.refused_since,
    connections.refused_at,
    connections.endpoint_id,
    connections.endpoint_id IS NOT NULL OR connections.webhook_secret IS NOT NULL AS has_webhook,
    connections.sweep_error,
    connections.unread_until IS NOT NULL
        AND NOT EXISTS (
            SELECT
            FROM billstack.backfills
            WHERE backfills.team_id = connections.team_id
                AND state = 'ready'
                AND objects @> (%(default_types)s::text[] || added.types)
                AND backfills.created_after IS NULL
                AND backfills.requested_at > to_timestamp(unread_until)
        )
        AND NOT EXISTS (
            SELECT
            FROM billstack.reconciles
            WHERE reconciles.team_id = connections.team_id
                AND state = 'done'
                AND reconciles.requested_at > to_timestamp(unread_until)
        ) AS events_unread,
    added.types AS added_types,
    failed.events AS failed_events,
    failed.error AS failed_event_error,
    to_regnamespace(%(schema)s) IS NOT NULL AS schema_exists,
    (
        SELECT max(finished_at)
        FROM billstack.backfills
        WHERE backfills.team_id = connections.team_id AND state = 'ready'
    ) AS last_synced_at,
    shown.id,
    shown.objects,
    shown.created_after,
    shown.state,
    shown.requested_at,
    shown.finished_at,
    shown.error,
    shown.warnings,
    (
        SELECT jsonb_object_agg(
            type,
            jsonb_build_object('synced', synced, 'status', status, 'progress', progress, 'error', error)
        )
        FROM billstack.backfill_types
        WHERE backfill_types.backfill_id = shown.id
    ) AS types,
    (
        SELECT sum(written)
        FROM billstack.backfill_types
        WHERE backfill_types.backfill_id = shown.id
    ) AS written,
    CASE WHEN shown.state = 'running' THEN (
        -- When each type last moved, its holder, and the holder's last renewal, all on Postgres' clock.
        SELECT jsonb_object_agg(leases.part, jsonb_build_object(
            'held', held,
            'done', done,
            'silentS', extract(epoch FROM clock_timestamp() - renewed_at),
            'stillS', extract(epoch FROM clock_timestamp() - moved_at),
            'renewed', extract(epoch FROM renewed_at),
            'holder', holder,
            'pooled', session IS NULL,
            'ended', held
                AND renewed_at < clock_timestamp() - %(silent_s)s * interval '1 second'
                AND billstack.session_ended(session)
        ))
        FROM billstack.leases
        LEFT JOIN billstack.backfill_types
            ON backfill_types.backfill_id = leases.backfill_id AND backfill_types.type = leases.part
        WHERE leases.backfill_id = shown.id
    ) END AS parts,
    latest.run AS last_run,
    (
        SELECT jsonb_object_agg(table_name, live)
        FROM (
            SELECT table_name, sum(live) AS live
            FROM (
                SELECT table_name, live FROM billstack.row_counts WHERE schema_name = %(schema)s
                UNION ALL
                SELECT table_name, live FROM billstack.row_count_changes WHERE schema_name = %(schema)s
            ) AS counted
            GROUP BY table_name
        ) AS tables
    ) AS live_rows,
    (
        SELECT jsonb_object_agg(type, jsonb_build_object(
            'completedAt', extract(epoch FROM completed_at),
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
    ) AS proofs,
    connections.swept_until,
    connections.unread_until,
    equal.finished_at AS compared_at,
    equal.found AS compared_found,
    compared.id AS reconcile_id,
    compared.state AS reconcile_state,
    compared.requested_at AS reconcile_requested_at,
    compared.finished_at AS reconcile_finished_at,
    compared.found AS reconcile_found,
    compared.error AS reconcile_error
FROM billstack.connections
CROSS JOIN LATERAL (
    SELECT ARRAY(
        SELECT mirrored_types.type
        FROM billstack.mirrored_types
        WHERE mirrored_types.team_id = connections.team_id AND stopped_at IS NULL
    ) AS types
) AS added
CROSS JOIN LATERAL (
    SELECT count(*) AS events, (array_agg(oldest.error))[1] AS error
    FROM (
        SELECT error
        FROM billstack.events
        WHERE events.team_id = connections.team_id AND state = 'failed'
        ORDER BY created
        LIMIT 1000
    ) AS oldest
) AS failed
LEFT JOIN LATERAL (
    SELECT id, objects, created_after, state, requested_at, finished_at, error, warnings
    FROM billstack.backfills
    WHERE backfills.team_id = connections.team_id AND state <> 'canceled'
    ORDER BY requested_at DESC, id
    LIMIT 1
) AS shown ON true
LEFT JOIN LATERAL (
    SELECT id, state, requested_at, finished_at, found, error
    FROM billstack.reconciles
    WHERE reconciles.team_id = connections.team_id
    ORDER BY requested_at DESC
    LIMIT 1
) AS compared ON true
LEFT JOIN LATERAL (
    SELECT finished_at, upper, found
    FROM billstack.reconciles
    WHERE reconciles.team_id = connections.team_id AND state = 'done'
    ORDER BY requested_at DESC
    LIMIT 1
) AS equal ON true
LEFT JOIN LATERAL (
    SELECT jsonb_build_object(
        'id', id,
        'status', CASE state WHEN 'running' THEN 'syncing' ELSE state END,
        'objects', objects,
        'createdAfter', extract(epoch FROM created_after),
        'startedAt', extract(epoch FROM requested_at),
        'finishedAt', extract(epoch FROM finished_at),
        'error', error,
        'written', counts.written,
        'result', counts.types
    ) AS run
    FROM billstack.backfills
    CROSS JOIN LATERAL (
        SELECT sum(written) AS written, jsonb_object_agg(
            type,
            jsonb_build_object('synced', synced, 'status', status, 'progress', progress, 'error', backfill_types.error)
        ) AS types
        FROM billstack.backfill_types
        WHERE backfill_types.backfill_id = backfills.id
    ) AS counts
    WHERE backfills.team_id = connections.team_id
    ORDER BY requested_at DESC, id
    LIMIT 1
) AS latest ON true
WHERE connections.team_id = %(team_id)s;

-- name: sealed_teams
SELECT team_id
FROM billstack.connections
ORDER BY team_id;

-- name: sealed
SELECT secret_key, webhook_secret, previous_webhook_secret, endpoint_secret
FROM billstack.connections
WHERE team_id = %(team_id)s
FOR UPDATE;

-- name: reseal
-- NULL: the secret is encrypted correctly, or there is none.
UPDATE billstack.connections
SET secret_key = coalesce(%(secret_key)s, secret_key),
    webhook_secret = coalesce(%(webhook_secret)s, webhook_secret),
    previous_webhook_secret = coalesce(%(previous_webhook_secret)s, previous_webhook_secret),
    endpoint_secret = coalesce(%(endpoint_secret)s, endpoint_secret)
WHERE team_id = %(team_id)s;
