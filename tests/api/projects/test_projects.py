"""Projects over HTTP."""

import re

import pytest


@pytest.fixture
def projects(owner):
    return f"/api/billstack/teams/{owner.team_id}/projects"


@pytest.fixture
def project(owner, projects):
    return owner.client.post(projects, json={"name": "Shop"}).json["project"]


def test_a_project_is_created(owner, projects):
    answer = owner.client.post(projects, json={"name": "Shop"})

    project = answer.json["project"]
    assert answer.status_code == 201
    assert project["name"] == "Shop"
    assert re.fullmatch(r"proj_[a-z0-9]{20}", project["id"])
    assert project["createdAt"].endswith("Z")


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": 5}, {"name": "x" * 101}, {"name": "x", "colour": "red"}])
def test_a_bad_name_is_400(owner, projects, body):
    assert owner.client.post(projects, json=body).status_code == 400


def test_projects_are_listed_oldest_first(owner, projects):
    names = ["One", "Two", "Three"]
    for name in names:
        owner.client.post(projects, json={"name": name})

    assert [project["name"] for project in owner.client.get(projects).json["projects"]] == names


def test_a_project_is_shown_and_renamed(owner, projects, project):
    address = f"{projects}/{project['id']}"

    renamed = owner.client.patch(address, json={"name": "Store"}).json["project"]

    assert renamed["name"] == "Store"
    assert owner.client.get(address).json == {"project": renamed}


def test_a_deleted_project_is_gone_with_its_keys(owner, projects, project, client):
    keys = f"/api/billstack/teams/{owner.team_id}/api-keys"
    raw_key = owner.client.post(keys, json={"name": "x", "projectId": project["id"]}).json["rawKey"]

    answer = owner.client.delete(f"{projects}/{project['id']}", json={})

    assert answer.status_code == 204
    assert owner.client.get(f"{projects}/{project['id']}").status_code == 404
    assert owner.client.get(keys).json == {"keys": []}
    headers = {"Authorization": f"Bearer {raw_key}"}
    assert client.get(f"{projects}/{project['id']}/customers", headers=headers).status_code == 401


@pytest.mark.parametrize("project_id", ["proj_0", "%00", "x", "proj_%27", "PROJ_A"])
def test_what_is_no_project_is_404(owner, projects, project_id):
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", {})):
        assert owner.client.open(f"{projects}/{project_id}", method=method, json=body).status_code == 404
    assert owner.client.get(f"{projects}/{project_id}/customers").status_code == 404


def test_another_teams_project_is_404(owner, project, new_member):
    stranger = new_member()
    address = f"/api/billstack/teams/{stranger.team_id}/projects/{project['id']}"

    for path, method in (("", "GET"), ("", "PATCH"), ("", "DELETE"), ("/customers", "GET"), ("/products", "GET")):
        assert stranger.client.open(address + path, method=method, json={"name": "x"}).status_code == 404
