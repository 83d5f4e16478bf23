"""Redis behind Sentinels, which say which of several servers is the master at the moment: `redis+sentinel://…`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import redis
from redis.connection import SSLConnection, parse_url
from redis.sentinel import Sentinel

SCHEMES = ("redis+sentinel", "rediss+sentinel")
FORM = (
    "redis+sentinel://[user:password@]host[:26379],host[:26379]/name-of-the-master[/database][?sentinel_password=…], or the"
    " same with rediss+sentinel:// for TLS"
)
# urlsplit reads one host. It refuses several with an IPv6 address among them.
_PARTS = re.compile(r"(rediss?)\+sentinel://([^/?#]*@)?([^/?#@]*)(.*)", re.DOTALL)
_PORT = 26379
_OWN = "sentinel_"  # begins the options that are for the Sentinels; the others are for Redis itself, as in redis://


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    addresses: tuple[tuple[str, int], ...]
    master: str
    redis_url: str  # as redis-py reads it; the host in it means nothing
    own_options: Mapping[str, str]  # for the Sentinels: `password`, `username`…


def is_sentinel(url: str) -> bool:
    return url.partition("://")[0] in SCHEMES


def read(url: str) -> SentinelUrl:
    """Raises ValueError for one that has not FORM."""
    match = _PARTS.fullmatch(url)
    if match is None:
        raise ValueError("no address")
    scheme, credentials, hosts, rest = match.groups()
    parts = urlsplit(f"//master{rest}")
    master, _, database = parts.path.strip("/").partition("/")
    options = parse_qsl(parts.query)
    own = {name.removeprefix(_OWN): value for name, value in options if name.startswith(_OWN)}
    others = urlencode([(name, value) for name, value in options if not name.startswith(_OWN)])
    if not master or (database and not database.isdecimal()):
        raise ValueError("no name of a master, or no number of a database")
    redis_url = f"{scheme}://{credentials or ''}master/{database}?{others}"
    parse_url(redis_url)  # type: ignore[no-untyped-call]
    return SentinelUrl(tuple(map(_address, hosts.split(","))), master, redis_url, own)


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or _PORT


def connect(url: str, **options: Any) -> redis.Redis:
    """A client that asks the Sentinels for the master whenever it connects, and connects again when that has changed.

    `options` are redis-py's. Nothing is asked yet.
    """
    found = read(url)
    given: dict[str, Any] = {**parse_url(found.redis_url)}  # type: ignore[no-untyped-call]
    del given["host"]
    tls = {name: value for name, value in given.items() if name.startswith("ssl")}
    if given.pop("connection_class", None) is SSLConnection:
        given["ssl"] = tls["ssl"] = True
    timeouts = {name: value for name, value in options.items() if name.startswith("socket_")}
    own = {**timeouts, **tls, **found.own_options}
    manager = Sentinel(list(found.addresses), sentinel_kwargs=own)  # type: ignore[no-untyped-call]
    client: redis.Redis = manager.master_for(found.master, **{**options, **given})  # type: ignore[no-untyped-call]
    return client
