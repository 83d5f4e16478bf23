-- The statements of api/people/store.py: users, their sessions, teams and memberships.

-- name: find_caller
-- One indexed read per request: the session's user and their role in the team (NULL: no such team).
SELECT users.id, users.email, users.created_at, users.is_operator, members.role,
    sessions.last_seen_at < now() - %(extend_after)s AS is_stale
FROM billstack.sessions
JOIN billstack.users ON users.id = sessions.user_id
LEFT JOIN billstack.members ON members.user_id = users.id AND members.team_id = %(team_id)s
WHERE sessions.token_sha256 = %(token_sha256)s
    AND sessions.expires_at > now()
    AND sessions.created_at > now() - %(longest)s

-- name: set_operator
UPDATE billstack.users
SET is_operator = %(is_operator)s
WHERE id = %(user_id)s AND is_operator <> %(is_operator)s
RETURNING id

-- name: has_users
SELECT EXISTS (SELECT 1 FROM billstack.users)

-- name: create_session
INSERT INTO billstack.sessions (token_sha256, user_id, expires_at, address, agent)
VALUES (%(token_sha256)s, %(user_id)s, now() + %(lifetime)s, %(address)s, %(agent)s)

-- name: extend_session
UPDATE billstack.sessions
SET last_seen_at = now(), expires_at = least(now() + %(lifetime)s, created_at + %(longest)s),
    address = %(address)s, agent = %(agent)s
WHERE token_sha256 = %(token_sha256)s

-- name: delete_session
DELETE FROM billstack.sessions
WHERE token_sha256 = %(token_sha256)s

-- name: list_sessions
-- The id reveals nothing about the cookie, which is two digests away.
SELECT left(encode(sha256(token_sha256), 'hex'), 24) AS id, created_at, last_seen_at, expires_at, address, agent,
    token_sha256 = %(token_sha256)s AS is_current
FROM billstack.sessions
WHERE user_id = %(user_id)s AND expires_at > now() AND created_at > now() - %(longest)s
ORDER BY last_seen_at DESC, token_sha256

-- name: end_session
DELETE FROM billstack.sessions
WHERE user_id = %(user_id)s AND left(encode(sha256(token_sha256), 'hex'), 24) = %(id)s
RETURNING user_id

-- name: delete_sessions_of_user
DELETE FROM billstack.sessions
WHERE user_id = %(user_id)s

-- name: delete_expired_sessions
DELETE FROM billstack.sessions
WHERE user_id = %(user_id)s AND expires_at <= now()

-- name: normal_email
-- The one normal form of an address. Python's lower() differs for some letters, which were then counted as two
-- addresses.
SELECT lower(%(email)s)

-- name: find_user
SELECT id, email, created_at, password_hash
FROM billstack.users
WHERE lower(email) = lower(%(email)s)

-- name: get_user
SELECT id, email, created_at, password_hash
FROM billstack.users
WHERE id = %(user_id)s

-- name: create_user
INSERT INTO billstack.users (id, email, password_hash)
VALUES (%(id)s, %(email)s, %(password_hash)s)

-- name: set_password
UPDATE billstack.users
SET password_hash = %(password_hash)s
WHERE id = %(user_id)s

-- name: list_teams
-- The first team is the person's starting page: the one that they joined first, even if another team is older.
SELECT teams.id, teams.name, members.role
FROM billstack.members
JOIN billstack.teams ON teams.id = members.team_id
WHERE members.user_id = %(user_id)s
ORDER BY members.created_at, teams.id

-- name: list_accounts
SELECT connections.account_id, connections.livemode, teams.name
FROM billstack.members
JOIN billstack.teams ON teams.id = members.team_id
JOIN billstack.connections ON connections.team_id = teams.id
WHERE members.user_id = %(user_id)s
ORDER BY teams.name, teams.id

-- name: find_team
-- Names are not unique. The oldest team of the name is meant.
SELECT id
FROM billstack.teams
WHERE name = %(name)s
ORDER BY created_at, id
LIMIT 1

-- name: create_team
INSERT INTO billstack.teams (id, name)
VALUES (%(id)s, %(name)s)

-- name: add_member
INSERT INTO billstack.members (team_id, user_id, role)
VALUES (%(team_id)s, %(user_id)s, coalesce(%(role)s, 'owner'))
ON CONFLICT (team_id, user_id) DO UPDATE
SET role = coalesce(%(role)s, members.role)

-- name: count_owned
SELECT count(*)
FROM billstack.members
WHERE user_id = %(user_id)s AND role = 'owner'

-- name: list_members
SELECT users.id AS user_id, users.email, members.role, members.created_at
FROM billstack.members
JOIN billstack.users ON users.id = members.user_id
WHERE members.team_id = %(team_id)s
ORDER BY members.created_at, users.id

-- name: find_member
SELECT users.id AS user_id, users.email, members.role, members.created_at
FROM billstack.members
JOIN billstack.users ON users.id = members.user_id
WHERE members.team_id = %(team_id)s AND members.user_id = %(user_id)s

-- name: remove_member
DELETE FROM billstack.members
WHERE team_id = %(team_id)s AND user_id = %(user_id)s

-- name: has_other_owner
SELECT EXISTS (
    SELECT 1
    FROM billstack.members
    WHERE team_id = %(team_id)s AND user_id <> %(user_id)s AND role = 'owner'
)

-- name: lock_members
-- Serializes changes of a team's members. Otherwise two owners who leave at once would each see the other one stay.
SELECT id
FROM billstack.teams
WHERE id = %(team_id)s
FOR NO KEY UPDATE

-- name: lock_people
-- Held to the end of the transaction. Otherwise two commands at once would both create the same team.
SELECT name
FROM billstack.locks
WHERE name = 'people'
FOR UPDATE
