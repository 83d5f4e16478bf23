"""Refuses a Redis that is open to the internet: anybody could write jobs and budgets there."""

import contextlib
import ipaddress
import socket
from urllib.parse import parse_qs, urlsplit

from sync.errors import ConfigError
from workers.redis import sentinel
from workers.settings import Settings


def refuse_open_redis(settings: Settings) -> None:
    """Raises ConfigError. A host name that does not resolve is accepted: nothing can connect to it anyway."""
    if settings.allow_open_redis or _has_password(settings.redis_url):
        return
    if any(address.is_global for address in _addresses(settings.redis_url)):
        raise ConfigError(
            "REDIS_URL names a public address and no password: anybody who reaches it can command the workers. Set a "
            "password (docs/operations.md), or BILLSTACK_ALLOW_OPEN_REDIS=true if a firewall protects it"
        )


def _has_password(url: str) -> bool:
    parts = urlsplit(sentinel.read(url).redis_url if sentinel.is_sentinel(url) else url)
    return bool(parts.password or parse_qs(parts.query).get("password"))


def _addresses(url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = []
    for host in _hosts(url):
        with contextlib.suppress(OSError):
            found += socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


def _hosts(url: str) -> list[str]:
    """None for a socket in the file system."""
    if sentinel.is_sentinel(url):
        return [host for host, _ in sentinel.read(url).addresses]
    host = urlsplit(url).hostname
    return [host] if host else []
