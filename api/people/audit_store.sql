-- The statements of api/people/audit_store.py.

-- name: record
INSERT INTO billstack.audit_log (team_id, actor_id, actor, action, target, details, address, request_id)
VALUES (%(team_id)s, %(actor_id)s, %(actor)s, %(action)s, %(target)s, %(details)s, %(address)s, %(request_id)s)

-- name: list_of_team
SELECT id, at, team_id, actor_id, actor, action, target, details, address
FROM billstack.audit_log
WHERE team_id = %(team_id)s AND id < %(before)s
ORDER BY id DESC
LIMIT %(limit)s

-- name: list_all
SELECT id, at, team_id, actor_id, actor, action, target, details, address
FROM billstack.audit_log
WHERE id < %(before)s
ORDER BY id DESC
LIMIT %(limit)s
