"""The first visit makes the first user, once; and leaving every device at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

SET_UP = "/api/auth/set-up"
FIRST = {"email": "founder@example.com", "password": "correct horse", "team": "Acme"}


def test_the_first_visit_makes_an_owner_and_signs_them_in(client):
    answer = client.post(SET_UP, json=FIRST)

    assert answer.status_code == 201
    session = client.get("/api/auth/session").json
    assert session["user"]["email"] == FIRST["email"]
    assert session["teams"] == [{"id": answer.json["teamId"], "name": "Acme", "role": "owner"}]


def test_there_is_no_second_first_visit(client, owner):
    answer = client.post(SET_UP, json=FIRST)

    assert (answer.status_code, answer.json["code"]) == (409, "already_set_up")


def test_of_several_first_visits_at_once_one_succeeds(app, database):
    def visit(number):
        return app.test_client().post(SET_UP, json=FIRST | {"email": f"p{number}@example.com"}).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = list(pool.map(visit, range(6)))

    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]
    assert database.execute("SELECT count(*) FROM billstack.users").fetchone() == (1,)
    assert database.execute("SELECT count(*) FROM billstack.teams").fetchone() == (1,)


@pytest.mark.parametrize("change", [{"password": "short"}, {"email": "nobody"}, {"team": ""}])
def test_what_is_wrong_with_it_is_named(client, change):
    answer = client.post(SET_UP, json=FIRST | change)

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
