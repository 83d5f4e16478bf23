"""The endpoints of a team's database role: what they answer, and what they keep to themselves."""

import shlex
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from api.account.database_access import whereabouts
from api.http.context import EXTENSION
from sync.database.schema import drop_team_schema
from sync.teams.database_access import DatabaseAccess
from tests.api.gateway.mirror_filling import connect_team

BROWSER = {"Accept": "text/html"}


@pytest.fixture
def address(owner, database):
    connect_team(database, owner.team_id)
    yield f"/api/billstack/teams/{owner.team_id}/database-access"
    DatabaseAccess(database, owner.team_id).remove()
    drop_team_schema(database, owner.team_id)


def test_what_is_answered_connects(owner, address):
    answer = owner.client.post(address, json={})

    assert answer.status_code == 201
    with psycopg.connect(answer.json["url"]) as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (0,)
        assert connection.info.user == answer.json["user"] == f"stripe_{owner.team_id}_reader"
        assert connection.info.host == answer.json["host"]
        assert connection.info.port == answer.json["port"]
        assert connection.info.dbname == answer.json["database"]
        assert connection.execute("SHOW search_path").fetchone() == (answer.json["schema"],)
    program, conninfo = shlex.split(answer.json["psql"])
    assert program == "psql"
    with psycopg.connect(conninfo, password=answer.json["password"]) as connection:
        assert connection.info.user == answer.json["user"]
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_password_is_shown_once_and_logged_nowhere(owner, address, log_lines):
    password = owner.client.post(address, json={}).json["password"]

    shown = owner.client.get(address).text
    page = owner.client.get(f"/teams/{owner.team_id}/psql", headers=BROWSER).text

    assert password not in shown + page
    assert password not in str(log_lines())


def test_again_it_is_another_password(owner, address):
    first, second = (owner.client.post(address, json={}) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json["password"] != second.json["password"]
    assert first.json["user"] == second.json["user"]


def test_it_is_known_whether_there_is_one(owner, address):
    before = owner.client.get(address).json
    owner.client.post(address, json={})

    after = owner.client.get(address).json

    assert (before["exists"], before["createdAt"], before["passwordSetAt"]) == (False, None, None)
    assert after["exists"]
    assert after["createdAt"].endswith("Z")
    assert {"host", "port", "database", "user", "schema", "psql"} <= after.keys()


def test_removed_it_is_gone(owner, address):
    owner.client.post(address, json={})

    answers = [owner.client.delete(address, json={}).status_code for _ in range(2)]

    assert answers == [204, 404]
    assert not owner.client.get(address).json["exists"]


def test_a_team_without_a_mirror_is_409(owner):
    answer = owner.client.post(f"/api/billstack/teams/{owner.team_id}/database-access", json={})

    assert (answer.status_code, answer.json["code"]) == (409, "not_connected")


@pytest.fixture
def plain_url(database, database_url):
    """DATABASE_URL of a user who owns nothing and may not create roles."""
    database.execute("CREATE ROLE billstack_test_plain LOGIN PASSWORD 'x' IN ROLE pg_read_all_data")
    name = urlsplit(database_url).path.strip("/")
    # PUBLIC's is gone where another database's test on this server made a reader.
    database.execute(f"GRANT CONNECT ON DATABASE {name} TO billstack_test_plain")
    info = database.info
    yield f"postgresql://billstack_test_plain:x@/{name}?host={info.host}&port={info.port}"
    database.execute("DROP OWNED BY billstack_test_plain")
    database.execute("DROP ROLE billstack_test_plain")


def test_a_user_who_may_not_create_roles_gets_the_sql(owner, address, new_app, settings, plain_url, database):
    database.execute("GRANT USAGE ON SCHEMA billstack TO billstack_test_plain")
    database.execute("GRANT UPDATE ON ALL TABLES IN SCHEMA billstack TO billstack_test_plain")
    client = new_app(replace(settings, database_url=plain_url)).test_client()
    client.set_cookie("billstack_session", owner.client.get_cookie("billstack_session").value)

    answer = client.post(address, json={})

    assert (answer.status_code, answer.json["code"]) == (409, "may_not_create_roles")
    assert f'CREATE ROLE "stripe_{owner.team_id}_reader" LOGIN NOSUPERUSER' in answer.json["details"]["sql"]
    assert f'GRANT USAGE ON SCHEMA "stripe_{owner.team_id}"' in answer.json["details"]["sql"]


def test_over_the_network_the_mode_of_encryption_is_ours(app, address, owner):
    class Info:
        host, port, dbname = "db.example.com", 6432, "bill stack"

        def get_parameters(self):
            return {"sslmode": "verify-full", "application_name": "billstack"}

    class Connection:
        info = Info()

    with app.extensions[EXTENSION].pool.connection() as connection:
        access = DatabaseAccess(connection, owner.team_id)

    _, conninfo = shlex.split(whereabouts(Connection(), access)["psql"])

    assert conninfo_to_dict(conninfo) == {
        "host": "db.example.com",
        "port": "6432",
        "dbname": "bill stack",
        "user": access.role,
        "sslmode": "verify-full",
    }


def test_a_viewer_sees_it_and_changes_nothing(owner, address, new_member):
    viewer = new_member("viewer", team_id=owner.team_id)
    owner.client.post(address, json={})

    assert viewer.client.get(address).json["exists"]
    assert viewer.client.post(address, json={}).status_code == 403
    assert viewer.client.delete(address, json={}).status_code == 403
