"""Refuses a Redis that is open to the internet: anybody could write jobs and budgets there."""

import ipaddress
import socket
from urllib.parse import parse_qs, urlsplit

from sync.errors import ConfigError
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
    parts = urlsplit(url)
    return bool(parts.password or parse_qs(parts.query).get("password"))


def _addresses(url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    parts = urlsplit(url)
    if not parts.hostname:  # a Unix socket
        return []
    try:
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
