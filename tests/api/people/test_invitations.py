"""Nobody comes into a team without having accepted, and an invitation tells nobody who has an account."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlsplit

import pytest

from api.people.invitations import _MOST_OPEN
from api.people.teams import MOST_OWNED

ACCEPT = "/api/auth/accept-invitation"
BROWSER = {"Accept": "text/html"}
NEW_PASSWORD = "a horse of another colour"


@pytest.fixture
def members(owner):
    return f"/api/billstack/teams/{owner.team_id}/members"


@pytest.fixture
def invite(owner, members):
    def create(email, role="viewer"):
        answer = owner.client.post(members, json={"email": email, "role": role})
        assert answer.status_code == 201, answer.json
        return answer.json

    return create


def token_of(invitation):
    return parse_qs(urlsplit(invitation["link"]).query)["token"][0]


def shape(value):
    return {key: shape(each) for key, each in value.items()} if isinstance(value, dict) else type(value)


def roles(owner, members):
    return {each["email"]: each["role"] for each in owner.client.get(members).json["members"]}


def test_the_answer_is_the_same_for_known_and_unknown_addresses(owner, members, new_member):
    known = new_member().email

    answers = [owner.client.post(members, json={"email": each, "role": "viewer"}) for each in (known, "x9@example.com")]

    assert [each.status_code for each in answers] == [201, 201]
    assert shape(answers[0].json) == shape(answers[1].json)
    assert answers[0].json["invitation"].keys() == {"id", "email", "role", "createdAt", "expiresAt"}


def test_the_page_of_a_link_is_the_same_for_known_and_unknown_addresses(client, invite, new_member):
    known = new_member(email="known@example.com").email

    pages = [
        client.get("/invitation", query_string={"token": token_of(invite(each))}, headers=BROWSER).text.replace(
            each, ""
        )
        for each in (known, "other@example.com")
    ]

    without_tokens = [page.partition('name="token"')[0].partition("next=")[0] for page in pages]
    assert without_tokens[0] == without_tokens[1]
    assert [page.count("<form") for page in pages] == [1, 1]


def test_nobody_is_added_without_their_consent(owner, members, invite, new_member):
    person = new_member()

    invite(person.email)

    assert person.email not in roles(owner, members)
    assert person.client.get(members).status_code == 404
    assert [team["id"] for team in person.client.get("/api/auth/session").json["teams"]] == [person.team_id]


def test_an_invited_person_accepts_with_their_session(owner, members, invite, new_member):
    person = new_member(email="Ada@example.com")

    answer = person.client.post(ACCEPT, json={"token": token_of(invite("ada@EXAMPLE.com", "admin"))})

    assert answer.json == {"team": {"id": owner.team_id, "name": "Team", "role": "admin"}}
    assert roles(owner, members)["Ada@example.com"] == "admin"
    assert owner.client.get(members).json["invitations"] == []


def test_an_older_team_does_not_become_the_start_page(owner, invite, new_member):
    person = new_member()

    person.client.post(ACCEPT, json={"token": token_of(invite(person.email))})

    assert [team["id"] for team in person.client.get("/api/auth/session").json["teams"]] == [
        person.team_id,
        owner.team_id,
    ]
    assert person.client.get("/", headers=BROWSER).headers["Location"] == f"/teams/{person.team_id}/overview"


def test_a_person_without_an_account_makes_one_by_the_link(owner, members, invite, client, sign_in):
    token = token_of(invite("new@example.com"))

    assert client.post(ACCEPT, json={"token": token}).status_code == 401
    answer = client.post(ACCEPT, json={"token": token, "password": NEW_PASSWORD})

    assert answer.status_code == 200
    assert client.get("/api/auth/session").json["user"]["email"] == "new@example.com"
    assert roles(owner, members)["new@example.com"] == "viewer"
    assert sign_in(client, "new@example.com", NEW_PASSWORD).status_code == 200


def test_a_link_gives_nobody_anothers_account(invite, new_member, client, sign_in):
    person = new_member()
    token = token_of(invite(person.email))

    answer = client.post(ACCEPT, json={"token": token, "password": NEW_PASSWORD})

    assert (answer.status_code, answer.json["code"]) == (409, "account_exists")
    assert "Set-Cookie" not in answer.headers
    assert sign_in(client, person.email, NEW_PASSWORD).status_code == 401
    assert person.client.post(ACCEPT, json={"token": token}).status_code == 200, "the invitation is still good"


def test_somebody_else_cannot_accept(owner, members, invite, new_member):
    other = new_member()

    answer = other.client.post(ACCEPT, json={"token": token_of(invite("ada@example.com"))})

    assert (answer.status_code, answer.json["code"]) == (403, "other_address")
    assert roles(owner, members) == {owner.email: "owner"}


@pytest.mark.parametrize("what", ["used", "withdrawn", "expired", "replaced", "made up"])
def test_a_link_that_is_no_good_any_more_is_404(owner, members, invite, new_member, database, what):
    person = new_member()
    made = invite(person.email)
    token = token_of(made)
    if what == "used":
        person.client.post(ACCEPT, json={"token": token})
    if what == "withdrawn":
        address = f"{members}/invitations/{made['invitation']['id']}"
        assert [owner.client.delete(address, json={}).status_code for _ in range(2)] == [204, 404]
    if what == "expired":
        database.execute("UPDATE billstack.invitations SET expires_at = now()")
    if what == "replaced":
        invite(person.email)
    if what == "made up":
        token = "x" * 43

    answer = person.client.post(ACCEPT, json={"token": token})

    assert (answer.status_code, answer.json["code"]) == (404, "invitation_not_found")
    page = person.client.get("/invitation", query_string={"token": token}, headers=BROWSER)
    assert page.status_code == 404


def test_of_several_who_accept_at_once_one_account_is_made(app, invite, database):
    token = token_of(invite("new@example.com"))

    def accept(_):
        return app.test_client().post(ACCEPT, json={"token": token, "password": NEW_PASSWORD}).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(accept, range(4)))

    assert statuses[0] == 200
    assert set(statuses[1:]) <= {404, 409}
    found = database.execute("SELECT count(*) FROM billstack.users WHERE email = 'new@example.com'").fetchone()
    assert found == (1,)


def test_only_the_digest_of_a_link_is_stored(invite, database):
    made = invite("new@example.com")

    (stored,) = database.execute("SELECT invitations::text FROM billstack.invitations").fetchone()

    assert token_of(made) not in stored


def test_a_member_is_not_invited(owner, members, new_member):
    admin = new_member("admin", team_id=owner.team_id)

    answer = owner.client.post(members, json={"email": admin.email.upper(), "role": "owner"})

    assert (answer.status_code, answer.json["code"]) == (409, "already_member")


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_only_owners_invite(owner, members, invite, new_member, role):
    made = invite("new@example.com")
    member = new_member(role, team_id=owner.team_id)

    assert member.client.post(members, json={"email": "x@example.com", "role": "viewer"}).status_code == 403
    assert member.client.delete(f"{members}/invitations/{made['invitation']['id']}", json={}).status_code == 403


def test_another_teams_invitation_is_404(invite, new_member):
    made, stranger = invite("new@example.com"), new_member()

    address = f"/api/billstack/teams/{stranger.team_id}/members/invitations/{made['invitation']['id']}"

    assert stranger.client.delete(address, json={}).status_code == 404


def test_a_team_has_no_endless_invitations(owner, members, database):
    database.execute(
        """
        INSERT INTO billstack.invitations (id, team_id, email, role, token_sha256, expires_at)
        SELECT 'inv_' || n, %s, n || '@example.com', 'viewer', n::text::bytea, now() + interval '1 day'
        FROM generate_series(1, %s) AS n
        """,
        (owner.team_id, _MOST_OPEN),
    )

    answer = owner.client.post(members, json={"email": "x@example.com", "role": "viewer"})

    assert (answer.status_code, answer.json["code"]) == (409, "too_many_invitations")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a@b"},
        {"email": "a@example.com", "role": "god"},
        {"email": 5, "role": "viewer"},
        *(
            {"email": email, "role": "viewer"}
            for email in ("a@b", "a@b.", "a@.b", "a@b..c", "@b.c", "a b@c.d", "a@b@c.d")
        ),
    ],
)
def test_bad_fields_are_400(owner, members, body):
    assert owner.client.post(members, json=body).status_code == 400


# Teams ----------------------------------------------------------------------------------------------------------------


def test_anybody_who_is_signed_in_makes_a_team_and_owns_it(new_member):
    viewer = new_member("viewer")

    answer = viewer.client.post("/api/billstack/teams", json={"name": "Mine"})

    assert answer.status_code == 201
    assert viewer.client.get("/api/auth/session").json["teams"][1] == answer.json["team"]
    assert answer.json["team"]["role"] == "owner"


def test_nobody_makes_endless_teams(owner):
    answers = [owner.client.post("/api/billstack/teams", json={"name": "x"}) for _ in range(MOST_OWNED)]

    assert [each.status_code for each in answers] == [201] * (MOST_OWNED - 1) + [409]


def test_switching_teams_stays_on_the_same_kind_of_page(owner, new_member):
    other = owner.client.post("/api/billstack/teams", json={"name": "Other"}).json["team"]["id"]
    project = owner.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "x"}).json["project"]
    pages = {
        "members": "members",
        "api-keys": "api-keys",
        "explore/invoices": "explore/invoices",
        f"projects/{project['id']}": "projects",
    }

    for here, there in pages.items():
        page = owner.client.get(f"/teams/{owner.team_id}/{here}", headers=BROWSER).text
        assert f'href="/teams/{other}/{there}"' in page, here


def test_the_operators_page_does_not_switch_the_team(new_member):
    someone = new_member(is_operator=True)
    other = someone.client.post("/api/billstack/teams", json={"name": "Other"}).json["team"]["id"]

    someone.client.get(f"/teams/{other}/members", headers=BROWSER)
    page = someone.client.get("/operators", headers=BROWSER).text

    assert f'href="/teams/{other}/members"' in page
    assert someone.client.get("/", headers=BROWSER).headers["Location"] == f"/teams/{other}/overview"


def test_a_team_that_one_left_is_no_start_page(owner, new_member, database):
    other = owner.client.post("/api/billstack/teams", json={"name": "Other"}).json["team"]["id"]
    owner.client.get(f"/teams/{other}/members", headers=BROWSER)
    database.execute("DELETE FROM billstack.members WHERE team_id = %s", (other,))

    assert owner.client.get("/", headers=BROWSER).headers["Location"] == f"/teams/{owner.team_id}/overview"
