"""The first visit makes the first user, once, by a link that the server prints; and leaving every device at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import pytest

from api.http.context import EXTENSION
from api.people.set_up import print_link

SET_UP = "/api/auth/set-up"
FIRST = {"email": "founder@example.com", "password": "correct horse", "team": "Acme"}


@pytest.fixture
def new_link(app):
    def create():
        result = app.test_cli_runner().invoke(args=["set-up-link"])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    return create


@pytest.fixture
def first(new_link):
    return FIRST | {"token": token_of(new_link())}


def token_of(link):
    return parse_qs(urlsplit(link).query)["token"][0]


def test_the_first_visit_makes_an_owner_and_signs_them_in(client, first):
    answer = client.post(SET_UP, json=first)

    assert answer.status_code == 201
    session = client.get("/api/auth/session").json
    assert session["user"]["email"] == FIRST["email"]
    assert session["teams"] == [{"id": answer.json["teamId"], "name": "Acme", "role": "owner"}]


def test_the_first_user_is_an_operator(client, first):
    client.post(SET_UP, json=first)

    assert client.get("/operators").status_code == 200


@pytest.mark.parametrize("token", [None, "", "x", "\u00ff" * 40])
def test_whoever_has_no_link_sets_nothing_up(client, database, new_link, token):
    new_link()

    answer = client.post(
        SET_UP, json=FIRST | ({} if token is None else {"token": token}), headers={"Host": "evil.test"}
    )

    assert answer.status_code in (400, 403)
    assert database.execute("SELECT count(*) FROM billstack.users").fetchone() == (0,)
    assert token == "" or (answer.status_code, answer.json["code"]) == (403, "set_up_link_required")


def test_a_link_works_once(client, database, first):
    assert client.post(SET_UP, json=first).status_code == 201
    database.execute("DELETE FROM billstack.users")

    assert client.post(SET_UP, json=first).status_code == 403


def test_a_link_that_is_a_week_old_works_no_more(client, database, first):
    database.execute("UPDATE billstack.one_time_links SET expires_at = now()")

    assert client.post(SET_UP, json=first).status_code == 403


def test_a_link_for_something_else_sets_nothing_up(client, database, first):
    database.execute("UPDATE billstack.one_time_links SET purpose = 'new_password'")

    assert client.post(SET_UP, json=first).status_code == 403


def test_only_the_digest_of_a_link_is_stored(database, first):
    (stored,) = database.execute("SELECT one_time_links::text FROM billstack.one_time_links").fetchone()

    assert first["token"] not in stored


def test_every_link_works_until_one_did(client, database, new_link):
    """Each web process prints one."""
    links = [new_link(), new_link()]

    assert client.post(SET_UP, json=FIRST | {"token": token_of(links[0])}).status_code == 201

    assert database.execute("SELECT count(*) FROM billstack.one_time_links").fetchone() == (0,)


def test_the_page_shows_the_form_to_whoever_has_the_link(client, new_link):
    link = urlsplit(new_link())

    with_link = client.get(f"{link.path}?{link.query}", headers={"Accept": "text/html"}).text
    without = client.get(f"{link.path}?token=x", headers={"Accept": "text/html"}).text

    assert token_of(link.geturl()) in with_link
    assert "<form" not in without
    assert "set-up-link" in without


def test_no_link_is_printed_once_somebody_has_a_user(app, owner):
    result = app.test_cli_runner().invoke(args=["set-up-link"])

    assert result.exit_code == 1
    assert "set up already" in result.stderr


def test_the_web_prints_the_link_in_its_log(app, client, log_lines):
    print_link(app.extensions[EXTENSION], threading.Event())

    (line,) = [each for each in log_lines() if each["event"] == "set_up.waits"]
    assert line["open"].startswith("http://billstack.test/set-up?token=")
    assert client.post(SET_UP, json=FIRST | {"token": token_of(line["open"])}).status_code == 201


def test_the_web_prints_none_once_somebody_has_a_user(app, owner, log_lines):
    print_link(app.extensions[EXTENSION], threading.Event())

    assert [each for each in log_lines() if each["event"] == "set_up.waits"] == []


def test_a_web_that_ends_before_postgres_is_there_prints_none(new_app, settings):
    away = new_app(replace(settings, database_url="postgresql://127.0.0.1:1/none?connect_timeout=1"))
    gives_up = threading.Event()
    printing = threading.Thread(target=print_link, args=(away.extensions[EXTENSION], gives_up))
    printing.start()

    gives_up.set()

    printing.join(timeout=30)
    assert not printing.is_alive()


def test_there_is_no_second_first_visit(client, owner):
    answer = client.post(SET_UP, json=FIRST)

    assert (answer.status_code, answer.json["code"]) == (409, "already_set_up")


def test_of_several_first_visits_at_once_one_succeeds(app, database, new_link):
    links = [new_link() for _ in range(6)]

    def visit(number):
        body = FIRST | {"email": f"p{number}@example.com", "token": token_of(links[number])}
        return app.test_client().post(SET_UP, json=body).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(visit, range(6)))

    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]
    assert database.execute("SELECT count(*) FROM billstack.users").fetchone() == (1,)
    assert database.execute("SELECT count(*) FROM billstack.teams").fetchone() == (1,)


@pytest.mark.parametrize("change", [{"password": "short"}, {"email": "nobody"}, {"team": ""}])
def test_what_is_wrong_with_it_is_named(client, first, change):
    answer = client.post(SET_UP, json=first | change)

    assert answer.status_code == 400
    assert list(answer.json["details"]["fields"]) == list(change)


def test_signing_out_everywhere_ends_every_session_of_this_user_alone(app, owner, new_member, sign_in):
    elsewhere = app.test_client()
    sign_in(elsewhere, owner.email)
    somebody = new_member()

    assert owner.client.post("/api/auth/sign-out-everywhere", json={}).status_code == 204

    assert owner.client.get("/api/auth/session").status_code == 401
    assert elsewhere.get("/api/auth/session").status_code == 401
    assert somebody.client.get("/api/auth/session").status_code == 200
