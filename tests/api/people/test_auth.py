"""Signing in and out, and how long a session lives."""

import hashlib
import time
from dataclasses import replace

import pytest

from api.people.passwords import hash_password, is_password

SESSION = "/api/auth/session"
SIGN_IN = "/api/auth/sign-in"
SIGN_OUT = "/api/auth/sign-out"
COOKIE = "billstack_session"


def test_sign_in_answers_the_user_and_their_teams(owner, client, sign_in):
    answer = sign_in(client, owner.email)

    assert answer.status_code == 200
    assert answer.json["user"]["id"] == owner.user_id
    assert answer.json["user"]["email"] == owner.email
    assert answer.json["user"]["createdAt"].endswith("Z")
    assert answer.json["teams"] == [{"id": owner.team_id, "name": "Team", "role": "owner"}]


def test_the_session_answers_what_sign_in_answered(owner, client, sign_in):
    signed_in = sign_in(client, owner.email)

    assert client.get(SESSION).json == signed_in.json


def test_password_hashes_never_leave(owner):
    assert "password" not in owner.client.get(SESSION).text


def test_an_email_address_signs_in_whatever_its_case(owner, client, sign_in):
    assert sign_in(client, owner.email.upper()).status_code == 200


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(owner, client, sign_in):
    cookie = sign_in(client, owner.email).headers["Set-Cookie"]

    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=2592000" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie


def test_the_cookie_is_secure_where_the_public_url_is_https(owner, new_app, settings, sign_in):
    https = new_app(replace(settings, public_url="https://billstack.test"))

    assert "Secure" in sign_in(https.test_client(), owner.email).headers["Set-Cookie"]


@pytest.fixture
def https(new_app, settings):
    """The same database behind an https address."""
    return new_app(replace(settings, public_url="https://billstack.test"))


def test_under_https_no_other_host_can_set_the_cookies(owner, https, sign_in):
    client = https.test_client()

    cookies = sign_in(client, owner.email).headers.getlist("Set-Cookie")

    assert [each.partition("=")[0] for each in cookies] == ["__Host-billstack_session", "__Host-billstack_device"]
    for each in cookies:
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(each.split("; "))
        assert "Domain" not in each
    assert client.get(SESSION).status_code == 200


def test_a_session_from_before_https_goes_on_and_gets_the_new_name(owner, https, database):
    client = https.test_client()
    client.set_cookie(COOKIE, owner.client.get_cookie(COOKIE).value)
    database.execute("UPDATE billstack.sessions SET last_seen_at = now() - interval '2 minutes'")

    answer = client.get(SESSION)

    assert answer.status_code == 200
    names = {each.partition("=")[0]: each for each in answer.headers.getlist("Set-Cookie")}
    assert names.keys() == {COOKIE, f"__Host-{COOKIE}"}
    assert "Max-Age=0" in names[COOKIE]


def test_the_cookie_of_another_host_does_not_replace_a_session(owner, new_member, https):
    """Another host of the domain can set the plain name: signing the victim in as somebody else."""
    attacker, client = new_member(), https.test_client()
    client.set_cookie(f"__Host-{COOKIE}", owner.client.get_cookie(COOKIE).value)
    client.set_cookie(COOKIE, attacker.client.get_cookie(COOKIE).value)

    answer = client.get(SESSION)

    assert answer.json["user"]["id"] == owner.user_id


def test_a_form_of_another_site_is_refused_under_either_name(owner, https):
    client = https.test_client()
    client.set_cookie(f"__Host-{COOKIE}", owner.client.get_cookie(COOKIE).value)

    answer = client.post(SIGN_OUT, headers={"Origin": "https://evil.example"})

    assert (answer.status_code, answer.json["code"]) == (403, "cross_site")


def test_browsers_keep_to_https_once_it_is_there(https, client):
    assert https.test_client().get("/healthz").headers["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in client.get("/healthz").headers


def test_a_session_ends_however_much_it_is_used(owner, database):
    database.execute(
        "UPDATE billstack.sessions SET created_at = now() - interval '89 days', last_seen_at = '-infinity'"
    )
    assert owner.client.get(SESSION).status_code == 200
    (left,) = database.execute("SELECT expires_at - now() <= interval '1 day' FROM billstack.sessions").fetchone()
    assert left, "it slides no further than its end"

    database.execute("UPDATE billstack.sessions SET created_at = now() - interval '90 days', expires_at = 'infinity'")
    assert owner.client.get(SESSION).status_code == 401


def test_only_the_digest_of_the_cookie_is_stored(owner, database):
    token = owner.client.get_cookie(COOKIE).value

    stored = [row[0] for row in database.execute("SELECT token_sha256 FROM billstack.sessions")]

    assert stored == [hashlib.sha256(token.encode()).digest()]


def test_passwords_are_argon2id_hashes(owner, database):
    (stored,) = database.execute("SELECT password_hash FROM billstack.users").fetchone()

    assert stored.startswith("$argon2id$")


@pytest.mark.parametrize("email", ["person0@example.com", "nobody@example.com"])
def test_a_wrong_password_and_an_unknown_address_answer_the_same(owner, client, sign_in, email):
    answer = sign_in(client, email, "wrong")

    assert answer.status_code == 401
    assert answer.json == {"error": "the e-mail address or the password is wrong", "code": "wrong_credentials"}
    assert "Set-Cookie" not in answer.headers


def test_an_unknown_user_takes_as_long_as_a_known_one():
    known = hash_password("something")

    spent_on_known, spent_on_nobody = _cpu_s(known), _cpu_s(None)

    assert spent_on_nobody > spent_on_known / 2


def test_nobodys_password_signs_nobody_in():
    assert not is_password("nobody's password", None)


def test_sign_out_revokes_the_session_where_it_is_kept(owner):
    token = owner.client.get_cookie(COOKIE).value

    answer = owner.client.post(SIGN_OUT, json={})
    owner.client.set_cookie(COOKIE, token)  # somebody kept a copy

    assert answer.status_code == 204
    assert owner.client.get(SESSION).status_code == 401


def test_sign_out_takes_the_cookie_back(owner):
    owner.client.post(SIGN_OUT, json={})

    assert owner.client.get_cookie(COOKIE) is None


def test_sign_out_without_a_session_is_fine(client):
    assert client.post(SIGN_OUT).status_code == 204


def test_signing_out_of_one_browser_leaves_the_other(owner, client, sign_in):
    sign_in(client, owner.email)

    client.post(SIGN_OUT, json={})

    assert owner.client.get(SESSION).status_code == 200


def test_signing_in_again_ends_the_session_before(owner, database, sign_in):
    sign_in(owner.client, owner.email)

    assert database.execute("SELECT count(*) FROM billstack.sessions").fetchone() == (1,)


def test_a_session_revoked_in_postgres_is_over(owner, database):
    database.execute("DELETE FROM billstack.sessions")

    assert owner.client.get(SESSION).status_code == 401


def test_an_expired_session_is_over(owner, database):
    database.execute("UPDATE billstack.sessions SET expires_at = now() - interval '1 second'")

    assert owner.client.get(SESSION).status_code == 401


def test_a_session_slides_with_use(owner, database):
    database.execute(
        "UPDATE billstack.sessions SET last_seen_at = now() - interval '2 minutes', expires_at = now() + interval '1 day'"
    )

    answer = owner.client.get(SESSION)

    assert "Max-Age=2592000" in answer.headers["Set-Cookie"]
    (days,) = database.execute("SELECT extract(day FROM expires_at - now()) FROM billstack.sessions").fetchone()
    assert days >= 29


def test_a_session_that_was_just_extended_is_not_written_again(owner, database):
    before = database.execute("SELECT xmin, expires_at FROM billstack.sessions").fetchone()

    answer = owner.client.get(SESSION)

    assert database.execute("SELECT xmin, expires_at FROM billstack.sessions").fetchone() == before
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("token", ["", "nonsense", "x" * 3000, "\u00ff\u20ac", "a\x01b"])
def test_a_cookie_that_is_no_session_is_401(client, token):
    client.set_cookie(COOKIE, token)

    answer = client.get(SESSION)

    assert answer.status_code == 401
    assert answer.json["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "email is required; password is required"),
        ({"email": "a@b"}, "password is required"),
        ({"email": 5, "password": "p"}, "email must be text"),
        ({"email": None, "password": "p"}, "email must not be null: leave it out instead"),
        ({"email": "a@b", "password": ["p"]}, "password must be text"),
        ({"email": "a@b", "password": ""}, "password must be 1 to 1024 characters long"),
        ({"email": "a@b", "password": "p" * 1025}, "password must be 1 to 1024 characters long"),
        ({"email": "a b", "password": "p"}, "email must be an e-mail address"),
        ({"email": "a@b\n", "password": "p"}, "email must be an e-mail address"),
        ({"email": "a\0@b", "password": "p"}, "email must not contain NUL or broken characters"),
        ({"email": "a@b", "password": "\ud800"}, "password must not contain NUL or broken characters"),
        (
            {"email": "a@b", "password": "p", "remember": True},
            "remember is not a known key: allowed are email, password",
        ),
    ],
)
def test_a_bad_body_names_the_field_and_what_is_allowed(client, body, sentence):
    answer = client.post(SIGN_IN, json=body)

    assert answer.status_code == 400
    assert answer.json["error"] == sentence
    assert answer.json["code"] == "invalid_field"


@pytest.mark.parametrize(
    "text", ["{", "[]", '"text"', "5", "null", "[" * 100_000, b"\xff\xfe", '{"email": NaN}', '{"email": ' + "9" * 5000]
)
def test_a_body_that_is_no_json_object_is_400(client, text):
    answer = client.post(SIGN_IN, data=text, content_type="application/json")

    assert answer.status_code == 400
    assert set(answer.json) <= {"error", "code", "details"}


def test_a_form_is_refused_instead_of_ignored(client):
    answer = client.post(SIGN_IN, data={"email": "a@b", "password": "p"})

    assert answer.status_code == 400
    assert answer.json["code"] == "not_json"
    assert "application/json" in answer.json["error"]


def _cpu_s(password_hash):
    """What one check takes of this thread. Other processes can only make a check longer, so the shortest counts."""
    spent = []
    for _ in range(5):
        began = time.thread_time()
        is_password("wrong", password_hash)
        spent.append(time.thread_time() - began)
    return min(spent)
