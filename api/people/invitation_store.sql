-- The statements of api/people/invitation_store.py. Addresses are compared by Postgres' lower(), as everywhere.

-- name: create
-- A person who is invited again gets a new link, and the previous one stops working.
INSERT INTO billstack.invitations AS invitation (id, team_id, email, role, token_sha256, expires_at)
VALUES (%(id)s, %(team_id)s, %(email)s, %(role)s, %(token_sha256)s, now() + %(lifetime)s)
ON CONFLICT (team_id, lower(email)) DO UPDATE
SET role = excluded.role, token_sha256 = excluded.token_sha256, created_at = now(), expires_at = excluded.expires_at
RETURNING id, team_id, email, role, created_at, expires_at

-- name: list_open
SELECT id, team_id, email, role, created_at, expires_at
FROM billstack.invitations
WHERE team_id = %(team_id)s AND expires_at > now()
ORDER BY created_at, id

-- name: find
SELECT invitations.id, team_id, email, role, invitations.created_at, expires_at, teams.name AS team_name,
    lower(email) = lower(%(as_email)s) AS is_theirs
FROM billstack.invitations
JOIN billstack.teams ON teams.id = team_id
WHERE token_sha256 = %(token_sha256)s AND expires_at > now()

-- name: take
-- If several requests accept at once, one of them finds the invitation.
DELETE FROM billstack.invitations
WHERE id = %(id)s AND token_sha256 = %(token_sha256)s
RETURNING id

-- name: withdraw
DELETE FROM billstack.invitations
WHERE id = %(id)s AND team_id = %(team_id)s
RETURNING id

-- name: is_member
SELECT EXISTS (
    SELECT 1
    FROM billstack.members
    JOIN billstack.users ON users.id = members.user_id
    WHERE members.team_id = %(team_id)s AND lower(users.email) = lower(%(email)s)
)
