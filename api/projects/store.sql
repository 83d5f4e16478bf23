-- The statements of api/projects/store.py: a team's projects.

-- name: create_project
INSERT INTO billstack.projects (id, team_id, name)
VALUES (%(id)s, %(team_id)s, %(name)s)
RETURNING id, name, created_at, updated_at

-- name: list_projects
SELECT id, name, created_at, updated_at
FROM billstack.projects
WHERE team_id = %(team_id)s
ORDER BY created_at, id

-- name: find_project
SELECT id, name, created_at, updated_at
FROM billstack.projects
WHERE team_id = %(team_id)s AND id = %(project_id)s

-- name: rename_project
UPDATE billstack.projects
SET name = %(name)s, updated_at = CASE WHEN name = %(name)s THEN updated_at ELSE now() END
WHERE team_id = %(team_id)s AND id = %(project_id)s
RETURNING id, name, created_at, updated_at

-- name: delete_project
DELETE FROM billstack.projects
WHERE team_id = %(team_id)s AND id = %(project_id)s
RETURNING id, name, created_at, updated_at
