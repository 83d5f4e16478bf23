-- What comparisons repaired. {team} is the team's schema, {table} the type's table.

-- name: state
SELECT raw, deleted_at IS NOT NULL
FROM {team}.{table}
WHERE id = %(id)s;

-- name: record
INSERT INTO billstack.repairs (team_id, reconcile_id, type, object_id, kind, fields, more_fields)
VALUES (%(team_id)s, %(reconcile_id)s, %(type)s, %(object_id)s, %(kind)s, %(fields)s, %(more_fields)s)
RETURNING id;

-- name: forget
DELETE FROM billstack.repairs
WHERE id = ANY (%(repair_ids)s);

-- name: list
SELECT id, reconcile_id, type, object_id, kind, at, fields, more_fields
FROM billstack.repairs
WHERE team_id = %(team_id)s AND id < %(before_repair)s
ORDER BY id DESC
LIMIT %(limit)s;
