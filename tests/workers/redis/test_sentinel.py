"""An address of Sentinels is read as it is meant, and refused in one line where it cannot be."""

import base64

import pytest
from redis.sentinel import SentinelManagedSSLConnection

from sync.errors import ConfigError
from workers.redis import sentinel
from workers.redis.address import refuse_open_redis
from workers.settings import Settings

ENVIRONMENT = {
    "DATABASE_URL": "postgresql:///x",
    "BILLSTACK_SECRET_KEY": base64.b64encode(b"k" * 32).decode(),
    "BILLSTACK_PUBLIC_URL": "http://billstack.test",
}


def test_all_parts_of_an_address():
    found = sentinel.read("redis+sentinel://me:a%40b@one:1,two,[::1]:3/main/4?sentinel_password=x&socket_timeout=9")

    assert found.addresses == (("one", 1), ("two", 26379), ("::1", 3))
    assert (found.master, found.own_options) == ("main", {"password": "x"})
    assert found.redis_url == "redis://me:a%40b@master/4?socket_timeout=9"


def test_a_client_keeps_what_the_address_says_and_asks_nobody_yet():
    client = sentinel.connect("rediss+sentinel://me:pw@one:1/main/4?ssl_cert_reqs=none", socket_timeout=3.0)

    pool = client.connection_pool
    options = pool.connection_kwargs
    assert issubclass(pool.connection_class, SentinelManagedSSLConnection)
    assert (options["username"], options["password"], options["db"]) == ("me", "pw", 4)
    assert (options["socket_timeout"], options["ssl_cert_reqs"]) == (3.0, "none")
    asked = pool.sentinel_manager.sentinels[0].connection_pool
    assert issubclass(asked.connection_class, SentinelManagedSSLConnection.__bases__[1])
    assert asked.connection_kwargs.get("password") is None, "the Sentinels have a password of their own, or none"


@pytest.mark.parametrize(
    "url",
    ["redis+sentinel://one", "redis+sentinel:///main", "redis+sentinel://one:x/main", "redis+sentinel://one/main/x"],
)
def test_what_cannot_be_read_says_the_form(url):
    with pytest.raises(ConfigError, match=r"REDIS_URL .*redis\+sentinel://\[user:password@\]host"):
        Settings.from_env(ENVIRONMENT | {"REDIS_URL": url})


def test_a_sentinel_at_a_public_address_needs_a_password():
    def settings(credentials: str) -> Settings:
        url = f"redis+sentinel://{credentials}10.0.0.1,8.8.8.8:26379/main"
        return Settings.from_env(ENVIRONMENT | {"REDIS_URL": url})

    refuse_open_redis(settings("me:pw@"))
    with pytest.raises(ConfigError, match="public address"):
        refuse_open_redis(settings(""))
