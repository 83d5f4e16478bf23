"""The stream of a team's status over HTTP: who gets it, what it carries, and that it costs one read for all."""

import json
import time

import pytest

from api.account.live_status import HUB
from api.account.status_hub import BUSY_S, HELLO, Hub


@pytest.fixture
def app(new_app, settings):
    """One of each test's own: its hub is closed or replaced."""
    return new_app(settings)


@pytest.fixture
def open_stream(app):
    """Opens one, and closes it at the end of the test."""
    opened = []

    def begin(member):
        answer = member.client.get(f"{member.stripe}/status/stream", buffered=False)
        opened.append(answer)
        return answer

    yield begin
    app.extensions[HUB].close()
    for answer in opened:
        answer.close()


def first_pieces(answer, count):
    pieces = iter(answer.response)
    return [next(pieces) for _ in range(count)]


def test_it_carries_what_the_status_answers(owner, open_stream):
    answer = open_stream(owner)

    hello, news = first_pieces(answer, 2)
    assert answer.status_code == 200
    assert answer.mimetype == "text/event-stream"
    assert hello == HELLO
    assert json.loads(news.removeprefix(b"data: ")) == owner.client.get(f"{owner.stripe}/status").json


def test_nothing_on_the_way_keeps_it(owner, open_stream):
    headers = open_stream(owner).headers

    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Accel-Buffering"] == "no"


def test_a_viewer_may_watch(owner, new_member, open_stream):
    assert open_stream(new_member("viewer", team_id=owner.team_id)).status_code == 200


def test_nobody_else_may(owner, new_member, client):
    address = f"{owner.stripe}/status/stream"

    assert client.get(address).status_code == 401
    assert new_member().client.get(address).status_code == 404
    assert client.get(address, headers={"Authorization": f"Bearer bs_{'0' * 48}"}).status_code == 403


def test_many_viewers_are_one_read(app, owner, open_stream):
    reads = []
    hub = app.extensions[HUB] = Hub(
        lambda team_id: reads.append(team_id) or {"syncStatus": "ready", "lastReconcile": None}
    )
    began = time.monotonic()
    answers = [open_stream(owner) for _ in range(20)]

    for answer in answers:
        assert len(first_pieces(answer, 2)) == 2
    hub.close()
    took_s = time.monotonic() - began

    # Those that came while the first read ran share the second one, a second later.
    assert 1 <= len(reads) <= 2 + took_s / BUSY_S


def test_beyond_the_cap_it_says_when_to_come_again(app, owner, open_stream):
    app.extensions[HUB] = Hub(lambda team_id: {"syncStatus": "ready", "lastReconcile": None}, most=1)
    first, second = open_stream(owner), open_stream(owner)

    assert (first.status_code, second.status_code) == (200, 503)
    assert second.json["code"] == "too_many_streams"
    assert int(second.headers["Retry-After"]) > 0
    first.close()  # gives its place back, although nothing of it was read
    assert open_stream(owner).status_code == 200


def test_a_question_for_the_head_takes_no_place(app, owner, open_stream):
    app.extensions[HUB] = Hub(lambda team_id: {"syncStatus": "ready", "lastReconcile": None}, most=1)

    for _ in range(3):
        with owner.client.head(f"{owner.stripe}/status/stream") as answer:
            assert answer.status_code == 200


def test_who_signed_out_gets_no_next_stream(owner, open_stream):
    assert open_stream(owner).status_code == 200
    owner.client.post("/api/auth/sign-out-everywhere", json={})

    assert open_stream(owner).status_code == 401


def test_a_stream_is_one_line_at_its_end(log_lines, app, owner):
    answer = owner.client.get(f"{owner.stripe}/status/stream", buffered=False, headers={"X-Request-Id": "live-1"})
    first_pieces(answer, 2)
    at_first = [line for line in log_lines() if line.get("request_id") == "live-1"]
    app.extensions[HUB].close()
    answer.close()

    (line,) = [line for line in log_lines() if line.get("request_id") == "live-1"]
    assert at_first == []
    assert (line["event"], line["level"], line["team"]) == ("stream.ended", "info", owner.team_id)
    assert line["duration_ms"] > 0
