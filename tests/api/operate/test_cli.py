"""`flask --app api init-db` and `create-user`."""

import json
import os
import secrets
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.app import read_settings
from scripts.local.servers import at_database
from sync.database.schema import check_version

ROOT = Path(__file__).parents[3]
# Several at once on a busy machine: each imports the whole application.
COMMAND_TIMEOUT_S = 180
EMAIL, PASSWORD = "ada@example.com", "correct horse"


@pytest.fixture
def run(app):
    """Runs a command of this application in this process."""
    runner = app.test_cli_runner()
    return lambda *arguments: runner.invoke(args=list(arguments))


@pytest.fixture
def create_user(run):
    def create(**options):
        options = {"email": EMAIL, "password": PASSWORD} | options
        result = run("create-user", *(f"--{name}={value}" for name, value in options.items()))
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return create


@pytest.fixture
def empty_database_url(postgres_server):
    """Without `schema.sql`."""
    name = f"empty_{secrets.token_hex(4)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield at_database(postgres_server.url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def test_create_user_prints_one_line_of_json(run):
    result = run("create-user", "--email", EMAIL, "--password", PASSWORD)

    assert result.stdout.count("\n") == 1
    assert set(json.loads(result.stdout)) == {"userId", "teamId"}


def test_the_new_user_signs_in_as_owner_of_the_team(create_user, client, sign_in):
    created = create_user(team="Acme")

    answer = sign_in(client, EMAIL, PASSWORD)

    assert answer.json["user"]["id"] == created["userId"]
    assert answer.json["teams"] == [{"id": created["teamId"], "name": "Acme", "role": "owner"}]


def test_the_same_command_again_changes_nothing(create_user, owner, database):
    first = create_user(team="Acme")
    before = _people(database)

    again = create_user(team="Acme", email=EMAIL.upper())

    assert again == first
    assert _people(database) == before


def test_a_known_user_joins_another_team(create_user, client, sign_in):
    create_user(team="Acme")
    create_user(team="Umbrella", role="viewer")

    teams = sign_in(client, EMAIL, PASSWORD).json["teams"]

    assert [(team["name"], team["role"]) for team in teams] == [("Acme", "owner"), ("Umbrella", "viewer")]


def test_a_second_user_joins_a_known_team(create_user):
    first = create_user(team="Acme")
    second = create_user(team="Acme", email="bob@example.com")

    assert second["teamId"] == first["teamId"]
    assert second["userId"] != first["userId"]


def test_a_role_changes_only_when_it_is_said(create_user, client, sign_in):
    create_user(role="viewer")
    create_user()
    assert sign_in(client, EMAIL, PASSWORD).json["teams"][0]["role"] == "viewer"

    create_user(role="admin")
    assert sign_in(client, EMAIL, PASSWORD).json["teams"][0]["role"] == "admin"


def test_a_new_password_replaces_the_old_one_and_ends_its_sessions(create_user, client, sign_in):
    create_user()
    sign_in(client, EMAIL, PASSWORD)

    create_user(password="another password")

    assert client.get("/api/auth/session").status_code == 401
    assert sign_in(client, EMAIL, PASSWORD).status_code == 401
    assert sign_in(client, EMAIL, "another password").status_code == 200


def test_the_same_password_leaves_the_sessions(create_user, client, sign_in):
    create_user()
    sign_in(client, EMAIL, PASSWORD)

    create_user()

    assert client.get("/api/auth/session").status_code == 200


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("email", "ada", "--email must be an e-mail address"),
        ("email", "", "--email must be 1 to 254 characters long"),
        ("password", "short", "--password must be 8 to 1024 characters long"),
        ("team", "", "--team must be 1 to 100 characters long"),
        ("role", "king", "'king' is not one of 'owner', 'admin', 'viewer'"),
    ],
)
def test_bad_input_is_said_clearly(run, database, option, value, sentence):
    options = {"email": EMAIL, "password": PASSWORD, option: value}

    result = run("create-user", *(f"--{name}={value}" for name, value in options.items()))

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert _people(database) == []


def test_the_password_comes_by_standard_input(app, client, sign_in, run):
    runner = app.test_cli_runner()

    made = runner.invoke(args=["create-user", "--email", EMAIL], input=f"{PASSWORD}\n")

    assert made.exit_code == 0, made.output
    assert made.stderr == ""
    assert sign_in(client, EMAIL, PASSWORD).status_code == 200
    assert PASSWORD not in made.output


def test_a_password_among_the_options_works_with_a_warning(run):
    result = run("create-user", "--email", EMAIL, "--password", PASSWORD)

    assert result.exit_code == 0
    assert "every user of this machine can see --password" in result.stderr


def test_a_new_user_needs_a_password_and_a_known_one_keeps_theirs(app, database, client, sign_in):
    runner = app.test_cli_runner()

    refused = runner.invoke(args=["create-user", "--email", EMAIL], input="")
    assert (refused.exit_code, _people(database)) == (2, [])
    runner.invoke(args=["create-user", "--email", EMAIL], input=PASSWORD)
    again = runner.invoke(args=["create-user", "--email", EMAIL, "--team", "Umbrella"], input="")

    assert again.exit_code == 0, again.output
    assert sign_in(client, EMAIL, PASSWORD).status_code == 200


def test_operators_are_made_and_unmade_on_the_command_line(run, create_user, client, sign_in):
    create_user()
    sign_in(client, EMAIL, PASSWORD)
    assert client.get("/operators").status_code == 403

    made = json.loads(run("operator", "--email", EMAIL.upper()).stdout)
    assert (made["isOperator"], client.get("/operators").status_code) == (True, 200)

    ended = json.loads(run("operator", "--email", EMAIL, "--revoke").stdout)
    assert (ended, client.get("/operators").status_code) == (made | {"isOperator": False}, 403)


def test_a_user_is_made_an_operator_with_their_creation(run, client, sign_in):
    run("create-user", "--email", EMAIL, "--password", PASSWORD, "--operator")
    run("create-user", "--email", EMAIL, "--password", PASSWORD)  # it is not taken by leaving it out
    sign_in(client, EMAIL, PASSWORD)

    assert client.get("/operators").status_code == 200


def test_nobody_is_made_an_operator_by_a_typing_error(run, create_user):
    create_user()

    result = run("operator", "--email", "adda@example.com")

    assert result.exit_code == 1
    assert "there is no user adda@example.com" in result.stderr


def test_ids_are_as_the_contract_says(create_user):
    created = create_user()

    assert created["teamId"].startswith("team_")
    assert created["teamId"].removeprefix("team_").isalnum()
    assert created["teamId"].islower()


def test_commands_at_the_same_moment_make_one_team(environment, database):
    """From several hosts, as a deploy would."""
    commands = [
        _start("create-user", "--email", f"p{n}@example.com", "--password", PASSWORD, env=environment) for n in range(2)
    ]
    answers = [json.loads(command.communicate(timeout=COMMAND_TIMEOUT_S)[0]) for command in commands]

    assert len({answer["teamId"] for answer in answers}) == 1
    assert len({answer["userId"] for answer in answers}) == 2


def test_init_db_sets_up_an_empty_database_from_several_hosts_at_once(environment, empty_database_url):
    commands = [_start("init-db", env=environment | {"DATABASE_URL": empty_database_url}) for _ in range(2)]
    outputs = [command.communicate(timeout=COMMAND_TIMEOUT_S) for command in commands]

    assert [command.returncode for command in commands] == [0, 0], outputs
    with psycopg.connect(empty_database_url) as connection:
        check_version(connection)


@pytest.fixture
def run_on(new_app, settings):
    """Runs a command on another database, in this process."""

    def run(database_url, *arguments):
        app = new_app(replace(settings, database_url=database_url, database_direct_url=database_url))
        return app.test_cli_runner().invoke(args=list(arguments))

    return run


def test_init_db_refuses_a_newer_database(run_on, new_database):
    url = new_database()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE billstack.schema_version SET version = version + 1")

    result = run_on(url, "init-db")

    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "deploy the newer program" in result.stderr


@pytest.mark.parametrize("command", [("init-db",), ("create-user", "--email", EMAIL, "--password", PASSWORD)])
def test_a_command_without_postgres_says_so(run_on, command):
    result = run_on("postgresql://127.0.0.1:1/none", *command)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: Postgres cannot be reached through DATABASE_URL")


def test_a_complaint_is_all_that_a_command_prints(environment):
    command = _start("init-db", env=environment | {"DATABASE_URL": "postgresql://127.0.0.1:1/none"})
    output, complaint = command.communicate(timeout=COMMAND_TIMEOUT_S)

    assert (command.returncode, output) == (1, "")
    assert complaint.startswith("Error: Postgres cannot be reached through DATABASE_URL")
    assert "Traceback" not in complaint


def test_a_missing_setting_stops_the_process_in_one_line(environment):
    del environment["BILLSTACK_PUBLIC_URL"]

    command = _start("init-db", env=environment)
    _, complaint = command.communicate(timeout=COMMAND_TIMEOUT_S)

    assert command.returncode == 1
    assert complaint.startswith("billstack: BILLSTACK_PUBLIC_URL is not set: it should be ")
    assert complaint.count("\n") == 1


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "BILLSTACK_SECRET_KEY", "BILLSTACK_PUBLIC_URL"])
def test_the_line_names_the_setting_that_is_missing(environment, monkeypatch, name):
    for each, value in environment.items():
        monkeypatch.setenv(each, value)
    monkeypatch.delenv(name)

    with pytest.raises(SystemExit) as stopped:
        read_settings()

    assert stopped.value.code.startswith(f"billstack: {name} is not set: it should be ")
    assert "\n" not in stopped.value.code


def _start(*arguments, env):
    return subprocess.Popen(
        [Path(sys.executable).with_name("flask"), "--app", "api", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _people(database):
    return database.execute(
        "SELECT users.*, members.* FROM billstack.users LEFT JOIN billstack.members ON user_id = users.id ORDER BY 1"
    ).fetchall()
