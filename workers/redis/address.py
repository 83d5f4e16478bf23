"""Whether Redis stands open: at a public address without a password, where anybody writes jobs and budgets."""

import ipaddress
import socket
from urllib.parse import parse_qs, urlsplit

from sync.errors import ConfigError
from workers.settings import Settings


def refuse_open_redis(settings: Settings) -> None:
    """Raises ConfigError. A name that does not resolve now is let through: then nothing connects either."""
    if settings.allow_open_redis or _has_password(settings.redis_url):
        return
    if any(address.is_global for address in _addresses(settings.redis_url)):
        raise ConfigError(
            "REDIS_URL names a public address and no password: whoever reaches it decides what the workers do. Set a "
            "password (docs/operations.md), or BILLSTACK_ALLOW_OPEN_REDIS=true if a firewall closes it"
        )


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return bool(parts.password or parse_qs(parts.query).get("password"))


def _addresses(url: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    parts = urlsplit(url)
    if not parts.hostname:  # a socket in the file system
        return []
    try:
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
