"""What one caller can cost the others has a bound."""

from dataclasses import replace

import pytest

from api.account.status_hub import MOST_OF_SESSION, MOST_OF_TEAM, Hub, HubFull


def test_unknown_keys_are_not_sent_back_by_the_megabyte(client):
    """0.87 MB of them gave 9.8 MB."""
    answer = client.post("/api/auth/sign-in", json={f"{number:04}{'x' * 200}": 1 for number in range(4000)})

    assert answer.status_code == 400
    assert "is not a known key" in answer.json["error"]
    assert "more fields are wrong" in answer.json["error"]
    assert len(answer.data) < 20_000


def test_one_wrong_field_is_named_as_before(client):
    answer = client.post("/api/auth/sign-in", json={"emial": "x", "email": "a@b.c", "password": "x"})

    assert answer.json["error"].startswith("emial is not a known key")
    assert list(answer.json["details"]["fields"]) == ["emial"]


@pytest.fixture
def hub():
    hub = Hub(lambda team_id: {}, run=lambda work: None)
    yield hub
    hub.close()


def watch(hub, team_id, session):
    try:
        return hub.watch(team_id, session=session)
    except HubFull:
        return None


def test_a_session_has_so_many_streams_and_gets_a_place_back(hub):
    """506 streams of one session took every place."""
    opened = [watch(hub, f"team_{number}", "one") for number in range(MOST_OF_SESSION + 1)]

    assert opened[-1] is None
    assert watch(hub, "team_0", "another")
    hub.leave(opened[0])
    assert watch(hub, "team_0", "one")


def test_a_team_has_so_many_streams(hub):
    opened = [watch(hub, "team_a", f"session {number}") for number in range(MOST_OF_TEAM + 1)]

    assert opened[-1] is None
    assert watch(hub, "team_b", "one")


def test_metrics_ask_for_the_token_that_is_set(new_app, settings):
    client = new_app(replace(settings, metrics_token="a-token-of-ours-0123")).test_client()

    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a-token-of-ours-0124"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer a-token-of-ours-0123"}).status_code == 200


def test_without_one_metrics_answer_anybody(client):
    assert client.get("/metrics").status_code == 200
