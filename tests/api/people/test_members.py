"""Members over HTTP: owners decide, and one of them stays."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def members(owner):
    return f"/api/billstack/teams/{owner.team_id}/members"


@pytest.fixture
def admin(owner, new_member):
    return new_member("admin", team_id=owner.team_id)


def roles(owner, members):
    return {each["email"]: each["role"] for each in owner.client.get(members).json["members"]}


def test_a_role_is_changed(owner, members, admin):
    answer = owner.client.patch(f"{members}/{admin.user_id}", json={"role": "viewer"})

    assert answer.json["member"]["role"] == "viewer"
    assert admin.client.post(f"/api/billstack/teams/{owner.team_id}/projects", json={"name": "x"}).status_code == 403


def test_a_member_is_removed(owner, members, admin):
    assert owner.client.delete(f"{members}/{admin.user_id}", json={}).status_code == 204
    assert admin.client.get(members).status_code == 404
    assert owner.client.delete(f"{members}/{admin.user_id}", json={}).status_code == 404


@pytest.mark.parametrize("role", ["admin", "viewer"])
def test_only_owners_decide(owner, members, new_member, role):
    member = new_member(role, team_id=owner.team_id)

    assert member.client.post(members, json={"email": owner.email, "role": "viewer"}).status_code == 403
    assert member.client.patch(f"{members}/{member.user_id}", json={"role": "owner"}).status_code == 403
    assert member.client.delete(f"{members}/{owner.user_id}", json={}).status_code == 403
    assert member.client.get(members).status_code == 200


def test_the_last_owner_stays(owner, members, admin):
    address = f"{members}/{owner.user_id}"

    leave, step_down = owner.client.delete(address, json={}), owner.client.patch(address, json={"role": "admin"})

    assert (leave.status_code, leave.json["code"]) == (409, "last_owner")
    assert (step_down.status_code, step_down.json["code"]) == (409, "last_owner")
    assert owner.client.patch(address, json={"role": "owner"}).status_code == 200


def test_an_owner_who_is_not_the_last_may_leave(owner, members, new_member):
    other = new_member("owner", team_id=owner.team_id)

    assert other.client.delete(f"{members}/{other.user_id}", json={}).status_code == 204
    assert roles(owner, members) == {owner.email: "owner"}


def test_two_owners_who_leave_together_leave_one(owner, members, new_member, database):
    for _ in range(5):
        other = new_member("owner", team_id=owner.team_id)
        both, barrier = [owner, other], threading.Barrier(2)

        def leave(member, barrier=barrier):
            barrier.wait()
            return member.client.patch(f"{members}/{member.user_id}", json={"role": "viewer"}).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(leave, both)) == [200, 409]
        owners = database.execute("SELECT user_id FROM billstack.members WHERE role = 'owner'").fetchall()
        assert len(owners) == 1
        database.execute("UPDATE billstack.members SET role = 'viewer'")
        database.execute("UPDATE billstack.members SET role = 'owner' WHERE user_id = %s", (owner.user_id,))


def test_another_teams_member_is_404(owner, members, new_member):
    stranger = new_member()

    assert owner.client.patch(f"{members}/{stranger.user_id}", json={"role": "viewer"}).status_code == 404
    assert owner.client.delete(f"{members}/{stranger.user_id}", json={}).status_code == 404
