"""A Redis that anybody reaches without a password is refused at the start."""

import os
import subprocess
import sys

import pytest

from sync.errors import ConfigError
from workers.redis.address import refuse_open_redis
from workers.settings import Settings

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://postgres@localhost/billstack",
    "BILLSTACK_SECRET_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
    "BILLSTACK_PUBLIC_URL": "http://billstack.test",
}


def check(redis_url, **more):
    refuse_open_redis(Settings.from_env(ENVIRONMENT | {"REDIS_URL": redis_url} | more))


@pytest.mark.parametrize("url", ["redis://8.8.8.8:6379/0", "rediss://user@[2001:4860:4860::8888]/1", "redis://8.8.8.8"])
def test_a_public_address_without_a_password_is_refused(url):
    with pytest.raises(ConfigError, match="REDIS_URL names a public address and no password"):
        check(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret@8.8.8.8:6379/0",
        "rediss://8.8.8.8/0?password=secret",
        "redis://127.0.0.1:6379/0",
        "redis://10.1.2.3/0",
        "redis://172.18.0.2/0",
        "redis://192.168.1.9/0",
        "redis://[fd00::1]/0",
        "redis://[::1]/0",
        "redis://localhost/0",
        "redis://nowhere.invalid/0",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_one_with_a_password_or_in_a_network_of_ones_own_is_taken(url):
    check(url)


def test_whoever_closed_it_otherwise_says_so():
    check("redis://8.8.8.8/0", BILLSTACK_ALLOW_OPEN_REDIS="true")


def test_the_word_for_it_is_checked():
    with pytest.raises(ConfigError, match="BILLSTACK_ALLOW_OPEN_REDIS is malformed: it should be true or false"):
        check("redis://8.8.8.8/0", BILLSTACK_ALLOW_OPEN_REDIS="perhaps")


@pytest.mark.parametrize(
    "command", [["-m", "workers", "events"], ["-c", "from api.app import read_settings; read_settings()"]]
)
def test_workers_and_web_end_with_one_line(command):
    environment = os.environ | ENVIRONMENT | {"REDIS_URL": "redis://8.8.8.8/0"}

    done = subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("billstack: REDIS_URL names a public address")
    assert len(done.stderr.splitlines()) == 1
