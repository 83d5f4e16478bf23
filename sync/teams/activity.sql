-- What came in, by the hour.

-- name: since
-- By the primary key: a month of a busy team is some thousand rows.
SELECT date_trunc(%(span)s, hour, 'UTC') AS at,
    coalesce(sum(count) FILTER (WHERE what <> 'event'), 0)::bigint AS objects,
    coalesce(sum(count) FILTER (WHERE what = 'event'), 0)::bigint AS events
FROM billstack.activity
WHERE team_id = %(team_id)s AND hour >= %(since)s
GROUP BY 1
ORDER BY 1;

-- name: prune
DELETE FROM billstack.activity
WHERE hour < now() - %(kept)s;
