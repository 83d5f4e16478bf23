"""A team's requests beyond a few wait for each other, and for nobody else; others never wait for them."""

import pytest

from api.http.running_requests import (
    MOST_ALONE,
    MOST_BESIDE_OTHERS,
    MOST_GOING_ON,
    MOST_WAITING,
    Lane,
    RunningRequests,
    lane_of,
)
from api.http.seats import IS_REFUSED

NOISY, QUIET = Lane(b"team_noisy", "session"), Lane(b"team_quiet", "session")


def request_to(path: str, headers: str = "Host: x\r\n", body: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\n{headers}\r\n{body}".encode()


@pytest.mark.parametrize(
    ("path", "team", "kind"),
    [
        ("/api/webhooks/stripe/team_a", b"team_a", "webhooks"),
        ("/api/billstack/teams/team_a/stripe/status", b"team_a", "session"),
        ("/api/billstack/teams/team_a?x=1", b"team_a", "session"),
        ("/teams/team_a", b"team_a", "session"),
        ("/teams/team_a/customers", b"team_a", "session"),
    ],
)
def test_a_request_counts_for_the_team_that_its_address_names(path, team, kind):
    assert lane_of(request_to(path)) == Lane(team, kind)


def test_back_ends_with_keys_count_apart_from_people():
    with_key = request_to("/api/billstack/teams/team_a/mirror/v1/charges", "Host: x\r\nAUTHORIZATION: Bearer bs_1\r\n")
    in_its_body = request_to("/api/billstack/teams/team_a/projects", body="\r\nAuthorization: x")

    assert lane_of(with_key) == Lane(b"team_a", "key")
    assert lane_of(in_its_body) == Lane(b"team_a", "session")


@pytest.mark.parametrize(
    "path",
    [
        "/healthz",
        "/api/auth/sign-in",
        "/api/billstack/teams",
        "/api/billstack/teams/team_a/stripe/status/stream",
        "/?next=/teams/team_a",
        "/teams/team_" + "a" * 65,
    ],
)
def test_what_names_no_team_and_what_stays_open_is_not_counted(path):
    assert lane_of(request_to(path)) is None


def test_what_is_no_http_is_not_counted():
    assert lane_of(b"\x16\x03\x01") is None
    assert lane_of(b"") is None


ALONE, BESIDE = MOST_ALONE["session"], MOST_BESIDE_OTHERS["session"]


def test_a_team_that_is_alone_has_many_the_rest_wait_in_their_order():
    requests: RunningRequests[int] = RunningRequests()

    assert [requests.admit(NOISY, number) for number in range(ALONE + 2)] == ["runs"] * ALONE + ["waits"] * 2

    assert [requests.release(NOISY) for _ in range(ALONE + 2)] == [[ALONE], [ALONE + 1]] + [[]] * ALONE


def test_another_team_runs_at_once_and_none_follows_the_first_ones_until_they_are_few():
    requests: RunningRequests[int] = RunningRequests()
    for number in range(ALONE + 9):
        requests.admit(NOISY, number)

    assert requests.admit(QUIET, 99) == "runs"

    assert [requests.release(NOISY) for _ in range(ALONE - BESIDE)] == [[]] * (ALONE - BESIDE)
    assert requests.release(NOISY) == [ALONE]
    assert requests.release(QUIET) == list(range(ALONE + 1, 2 * ALONE - BESIDE + 1))


def test_a_later_request_does_not_overtake():
    requests: RunningRequests[int] = RunningRequests()
    requests.admit(QUIET, 99)
    for number in range(BESIDE + 1):
        requests.admit(NOISY, number)
    requests.release(QUIET)  # lets the one that waits in

    assert requests.admit(NOISY, 7) == "runs"
    assert sum(requests._running.values()) == BESIDE + 2


def test_who_finds_too_many_waiting_is_refused():
    requests: RunningRequests[int] = RunningRequests()
    for number in range(ALONE + MOST_WAITING):
        requests.admit(NOISY, number)

    assert requests.admit(NOISY, 0) == "refused"
    assert requests.admit(QUIET, 0) == "runs"


def test_it_forgets_teams_that_are_gone():
    requests: RunningRequests[int] = RunningRequests()
    for number in range(10):
        lane = Lane(b"team_%d" % number, "webhooks")
        requests.admit(lane, number)
        requests.release(lane)

    assert not requests._running
    assert not requests._by_team
    assert not requests._waiting


@pytest.fixture
def refused():
    token = IS_REFUSED.set(True)
    yield
    IS_REFUSED.reset(token)


def test_who_is_refused_is_told_when_to_come_again(client, owner, refused):
    answer = owner.client.get(f"/api/billstack/teams/{owner.team_id}/stripe/status")
    delivered = client.post(f"/api/webhooks/stripe/{owner.team_id}", data=b"{}")

    assert [(each.status_code, each.json["code"]) for each in (answer, delivered)] == [(429, "too_many_requests")] * 2
    assert int(answer.headers["Retry-After"]) > 0


def test_who_is_refused_at_the_mirror_is_told_as_stripe_tells_it(client, owner, refused):
    answer = client.get(f"/api/billstack/teams/{owner.team_id}/mirror/v1/charges")

    assert (answer.status_code, answer.json["error"]["type"]) == (429, "invalid_request_error")


def test_a_request_may_be_followed_by_the_next_of_its_lane_until_somebody_waits():
    running = RunningRequests()
    for number in range(MOST_ALONE["session"]):
        running.admit(NOISY, number)
    assert running.may_go_on(NOISY)

    running.admit(NOISY, "waits")
    assert not running.may_go_on(NOISY)

    running.release(NOISY)
    assert running.may_go_on(NOISY)


def test_once_another_team_comes_only_as_many_go_on_as_would_be_admitted():
    running = RunningRequests()
    for number in range(MOST_ALONE["session"]):
        running.admit(NOISY, number)

    assert running.admit(QUIET, "comes") == "runs"

    assert running.may_go_on(QUIET)
    while not running.may_go_on(NOISY):
        running.release(NOISY)
    assert running._running[NOISY] == MOST_BESIDE_OTHERS["session"]


def test_nobody_goes_on_while_few_threads_are_free():
    running = RunningRequests()
    lanes = [Lane(b"team_%d" % number, "session") for number in range(MOST_GOING_ON + 1)]
    for lane in lanes[:-1]:
        running.admit(lane, lane)
    assert running.may_go_on(lanes[0])

    running.admit(lanes[-1], lanes[-1])

    assert not running.may_go_on(lanes[0])
