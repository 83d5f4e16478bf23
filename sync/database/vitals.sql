-- name: vitals
-- The state of all teams together, for metrics, which name no team.
SELECT
    (SELECT count(*) FROM billstack.connections WHERE secret_key IS NOT NULL)::integer AS connected,
    (SELECT count(*) FROM billstack.connections WHERE secret_key IS NOT NULL AND NOT key_valid)::integer AS refused_keys,
    proofs.unproven::integer,
    proofs.oldest_s,
    (SELECT count(*) FROM billstack.backfills WHERE state = 'running')::integer AS backfills,
    parts.held::integer,
    parts.free::integer,
    parts.dead::integer,
    current_setting('max_connections')::integer AS most_connections
FROM (
    -- A team is as current as its least current type. Comparisons and backfills prove a type.
    SELECT
        count(*) FILTER (WHERE known_until IS NULL) AS unproven,
        greatest(0, extract(epoch FROM now()) - min(known_until))::float8 AS oldest_s
    FROM (
        SELECT connections.team_id, greatest(min(type_proofs.known_until), max(extract(epoch FROM compared.requested_at)))
            AS known_until
        FROM billstack.connections
        LEFT JOIN billstack.type_proofs ON type_proofs.team_id = connections.team_id
        LEFT JOIN LATERAL (
            SELECT requested_at
            FROM billstack.reconciles
            WHERE reconciles.team_id = connections.team_id AND state = 'done'
            ORDER BY requested_at DESC
            LIMIT 1
        ) AS compared ON true
        WHERE connections.secret_key IS NOT NULL
        GROUP BY connections.team_id
    ) AS teams
) AS proofs
CROSS JOIN (
    SELECT
        count(*) FILTER (WHERE held) AS held,
        count(*) FILTER (WHERE NOT held) AS free,
        count(*) FILTER (
            WHERE held
                AND renewed_at < clock_timestamp() - %(silent_s)s * interval '1 second'
                AND billstack.session_ended(session)
        ) AS dead
    FROM billstack.leases
    JOIN billstack.backfills ON backfills.id = leases.backfill_id AND backfills.state = 'running'
    WHERE NOT leases.done AND leases.part <> 'finish'
) AS parts;

-- name: connections
-- Anybody who may connect chooses an application name, so only ours are reported.
SELECT CASE WHEN application_name = ANY (%(ours)s) THEN application_name ELSE 'others' END AS name, count(*)::integer
FROM pg_stat_activity
WHERE backend_type = 'client backend'
GROUP BY 1;
