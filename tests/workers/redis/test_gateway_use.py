"""Who answered a team's requests, and how fast, over a week."""

import pytest
import redis

from workers.redis.gateway_use import DAYS, Answered, GatewayUse

DAY_S = 86_400


class Clock:
    now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def connection(redis_url):
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def test_half_and_ninety_nine_of_a_hundred_took_at_most_so_long(connection, clock):
    use = GatewayUse(connection, clock)
    for _ in range(98):
        use.count("team_1", "mirror", 0.0018)
    for _ in range(2):
        use.count("team_1", "mirror", 0.04)
    use.count("team_1", "stripe", 0.25)

    found = use.read("team_1")

    assert found == {"mirror": Answered(100, 2, 50), "stripe": Answered(1, 300, 300)}


def test_nobodys_requests_are_no_times(connection, clock):
    assert GatewayUse(connection, clock).read("team_1") == {"mirror": Answered(), "stripe": Answered()}


def test_processes_and_teams_are_kept_apart_and_added_up(connection, clock):
    one, other = GatewayUse(connection, clock), GatewayUse(connection, clock)
    one.count("team_1", "mirror", 0.001)
    other.count("team_1", "mirror", 0.001)
    other.count("team_2", "mirror", 0.001)
    one.flush()

    assert other.read("team_1")["mirror"].count == 2
    assert one.read("team_2")["mirror"].count == 1


def test_a_week_is_shown_and_the_rest_forgotten(connection, clock):
    use = GatewayUse(connection, clock)
    use.count("team_1", "mirror", 0.001)
    use.flush()
    clock.now += (DAYS - 1) * DAY_S
    assert use.read("team_1")["mirror"].count == 1
    clock.now += DAY_S

    assert use.read("team_1")["mirror"].count == 0
    assert all(0 < connection.ttl(key) <= (DAYS + 1) * DAY_S for key in connection.scan_iter())


def test_counts_are_sent_together(connection, clock):
    use = GatewayUse(connection, clock)
    for _ in range(50):
        use.count("team_1", "mirror", 0.001)
    assert connection.dbsize() == 0
    clock.now += 6

    use.count("team_1", "mirror", 0.001)

    assert connection.dbsize() == 1


def test_without_redis_nothing_is_counted_and_nothing_fails(clock):
    with redis.Redis(port=9, retry=None) as away:
        use = GatewayUse(away, clock)
        use.count("team_1", "mirror", 0.001)

        assert use.read("team_1")["mirror"] == Answered()


def test_an_hour_counts_as_the_longest(connection, clock):
    use = GatewayUse(connection, clock)
    use.count("team_1", "stripe", 3600.0)

    assert use.read("team_1")["stripe"] == Answered(1, 90_000, 90_000)
