"""One's own password and sessions: changed, set by a link, listed, ended one by one; the old password opens nothing."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.api.conftest import PASSWORD

PASSWORD_OF_MINE = "/api/auth/password"
NEW_PASSWORD_BY_LINK = "/api/auth/new-password"
SESSION, SESSIONS = "/api/auth/session", "/api/auth/sessions"
NEW = "a horse of another colour"
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def link_of(app):
    def create(email):
        result = app.test_cli_runner().invoke(args=["reset-link", "--email", email])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    return create


def token_of(link):
    return parse_qs(urlsplit(link).query)["token"][0]


def change(client, current=PASSWORD, new=NEW):
    return client.post(PASSWORD_OF_MINE, json={"currentPassword": current, "newPassword": new})


def test_a_changed_password_is_the_only_one(owner, client, sign_in):
    assert change(owner.client).status_code == 204

    assert sign_in(client, owner.email).status_code == 401
    assert sign_in(client, owner.email, NEW).status_code == 200


def test_changing_it_signs_out_everywhere_but_here(app, owner, sign_in):
    elsewhere = app.test_client()
    sign_in(elsewhere, owner.email)
    kept = app.test_client()
    kept.set_cookie("billstack_session", owner.client.get_cookie("billstack_session").value)

    change(owner.client)

    assert owner.client.get(SESSION).status_code == 200
    assert elsewhere.get(SESSION).status_code == 401
    assert kept.get(SESSION).status_code == 401, "also who copied this browser's cookie"


def test_a_session_that_was_due_to_slide_stays_signed_in(owner, database):
    """The cookie of the session that ended would have come after that of the new one."""
    database.execute("UPDATE billstack.sessions SET last_seen_at = now() - interval '2 minutes'")

    change(owner.client)

    assert owner.client.get(SESSION).status_code == 200


def test_changing_it_needs_the_current_one(owner, client, sign_in):
    answer = change(owner.client, current="not mine")

    assert (answer.status_code, answer.json["code"]) == (403, "wrong_credentials")
    assert sign_in(client, owner.email).status_code == 200


def test_the_current_one_is_not_guessed_endlessly(owner):
    answers = [change(owner.client, current=f"guess {n}").status_code for n in range(15)]

    assert answers == [403] * 10 + [429] * 5


@pytest.mark.parametrize("new", ["short", "password", "x" * 1025])
def test_a_bad_new_one_is_named(owner, new):
    answer = change(owner.client, new=new)

    assert (answer.status_code, list(answer.json["details"]["fields"])) == (400, ["newPassword"])


def test_a_link_sets_a_new_password_once_and_ends_every_session(owner, client, link_of, sign_in):
    token = token_of(link_of(owner.email.upper()))

    answers = [client.post(NEW_PASSWORD_BY_LINK, json={"token": token, "password": NEW}).status_code for _ in range(2)]

    assert answers == [204, 404]
    assert owner.client.get(SESSION).status_code == 401
    assert sign_in(client, owner.email).status_code == 401
    assert sign_in(client, owner.email, NEW).status_code == 200


def test_a_refused_password_does_not_use_the_link_up(owner, client, link_of):
    token = token_of(link_of(owner.email))

    refused = client.post(NEW_PASSWORD_BY_LINK, json={"token": token, "password": "password"})
    good = client.post(NEW_PASSWORD_BY_LINK, json={"token": token, "password": NEW})

    assert (refused.status_code, good.status_code) == (400, 204)


@pytest.mark.parametrize("void", ["expired", "replaced", "password changed", "made up", "set-up"])
def test_a_link_that_is_no_good_any_more_is_404(app, owner, client, link_of, database, void):
    token = token_of(link_of(owner.email))
    if void == "expired":
        database.execute("UPDATE billstack.one_time_links SET expires_at = now()")
    if void == "replaced":
        client.post(NEW_PASSWORD_BY_LINK, json={"token": token_of(link_of(owner.email)), "password": NEW})
    if void == "password changed":
        change(owner.client)
    if void == "made up":
        token = "x" * 43
    if void == "set-up":
        database.execute("UPDATE billstack.one_time_links SET purpose = 'set_up'")

    answer = client.post(NEW_PASSWORD_BY_LINK, json={"token": token, "password": NEW + "!"})

    assert (answer.status_code, answer.json["code"]) == (404, "link_not_found")
    assert client.get("/new-password", query_string={"token": token}, headers=BROWSER).status_code == 404


def test_the_link_opens_a_page(owner, client, link_of):
    link = urlsplit(link_of(owner.email))

    page = client.get(f"{link.path}?{link.query}", headers=BROWSER).text

    assert token_of(link.geturl()) in page
    assert owner.email not in page


def test_one_sees_where_one_is_signed_in(app, owner, sign_in, new_member):
    new_member()
    phone = app.test_client()
    phone.environ_base |= {"REMOTE_ADDR": "192.0.2.1", "HTTP_USER_AGENT": "Mozilla/5.0 (iPhone) Safari/604.1"}
    sign_in(phone, owner.email)

    sessions = owner.client.get(SESSIONS).json["sessions"]

    assert [each["isCurrent"] for each in sessions] == [False, True]
    assert (sessions[0]["address"], sessions[0]["agent"]) == ("192.0.2.1", "Mozilla/5.0 (iPhone) Safari/604.1")
    page = owner.client.get("/account", headers=BROWSER).text
    assert "Safari on iPhone" in page
    assert page.count("/api/auth/sessions/") == 1


def test_one_signs_out_on_another_device(app, owner, sign_in):
    phone = app.test_client()
    sign_in(phone, owner.email)
    (other,) = [each for each in owner.client.get(SESSIONS).json["sessions"] if not each["isCurrent"]]

    answers = [owner.client.delete(f"{SESSIONS}/{other['id']}", json={}).status_code for _ in range(2)]

    assert answers == [204, 404]
    assert phone.get(SESSION).status_code == 401
    assert owner.client.get(SESSION).status_code == 200


def test_nobody_ends_anothers_session(owner, new_member):
    (session,) = owner.client.get(SESSIONS).json["sessions"]

    assert new_member().client.delete(f"{SESSIONS}/{session['id']}", json={}).status_code == 404
    assert owner.client.get(SESSION).status_code == 200


def test_the_id_of_a_session_does_not_tell_its_cookie(owner):
    (session,) = owner.client.get(SESSIONS).json["sessions"]

    client = owner.client
    client.set_cookie("billstack_session", session["id"])

    assert client.get(SESSION).status_code == 401


@pytest.mark.parametrize("agent", ["\u00ff" * 1000, "a\tb", ""])
def test_an_odd_agent_signs_in(app, owner, sign_in, agent):
    client = app.test_client()
    client.environ_base["HTTP_USER_AGENT"] = agent

    assert sign_in(client, owner.email).status_code == 200
    assert client.get("/account", headers=BROWSER).status_code == 200
