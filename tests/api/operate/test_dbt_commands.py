"""The command that makes a team's views for dbt, and removes them."""

import json

from sync.database.dbt import VIEWS
from tests.api.gateway.mirror_filling import connect_team


def test_the_views_are_made_made_again_and_removed(app, owner, database):
    connect_team(database, owner.team_id)
    run = app.test_cli_runner().invoke
    schema = f"stripe_{owner.team_id}_dbt"

    for _ in range(2):
        made = run(args=["dbt-views", "--team", owner.team_id])
        assert made.exit_code == 0, made.output
        assert json.loads(made.stdout) == {"schema": schema}
    found = database.execute("SELECT count(*) FROM pg_views WHERE schemaname = %s", (schema,)).fetchone()
    removed = [json.loads(run(args=["dbt-views", "--team", "Team", "--remove"]).stdout) for _ in range(2)]

    assert found == (len(VIEWS),)
    assert removed == [{"removed": True}, {"removed": False}]
    actions = database.execute(
        "SELECT action FROM billstack.audit_log WHERE action LIKE 'access.dbt%' ORDER BY id"
    ).fetchall()
    assert [action for (action,) in actions] == ["access.dbt_views_made"] * 2 + ["access.dbt_views_removed"] * 2
    database.execute(f'DROP SCHEMA "stripe_{owner.team_id}" CASCADE')


def test_a_purge_takes_them_along(app, owner, database):
    connect_team(database, owner.team_id)
    app.test_cli_runner().invoke(args=["dbt-views", "--team", owner.team_id])

    answer = owner.client.delete(f"{owner.stripe}/connect?purge=true", headers={"Content-Type": "application/json"})

    assert answer.status_code == 204
    assert database.execute(
        "SELECT count(*) FROM pg_namespace WHERE nspname LIKE %s", (f"%{owner.team_id}%",)
    ).fetchone() == (0,)


def test_a_team_without_a_mirror_is_told_so(app, owner):
    result = app.test_cli_runner().invoke(args=["dbt-views", "--team", owner.team_id])

    assert result.exit_code == 1
    assert "has no mirror yet" in result.output
