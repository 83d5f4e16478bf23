"""Decides where a webhook of an alert may go. A team chose the address, so it must not reach into our own network.

The name is resolved once. The connection then goes to the addresses that were checked, and to no others: a name that
resolves differently a moment later would lead elsewhere.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

LONGEST_URL = 2000
# Names and literal addresses only, and nothing that two programs could read differently: no user, `\`, or `#`.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:[/?][!-\"$-\[\]-~]*)?"
)
# IPv6 addresses that stand for IPv4 ones behind a translator.
_TRANSLATED = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_MOST_ADDRESSES = 4

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadAddress(Exception):
    """Its text is a sentence without its subject: "must …"."""


@dataclass(frozen=True, slots=True)
class Target:
    """A checked webhook address. `addresses` are where its host leads."""

    url: str
    host: str
    port: int
    addresses: tuple[Address, ...]


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises BadAddress for an address that can never be sent to. Resolves no name."""
    found = _URL.fullmatch(url)
    if len(url) > LONGEST_URL or found is None:
        raise BadAddress("must be an address like https://example.com/hook, without a user or a fragment")
    if found["scheme"] != "https" and not allow_private:
        raise BadAddress("must begin with https://")
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    if port == 0:
        raise BadAddress("must have a port from 1 to 65535")
    literal = _literal(found["host"])
    if literal and not allow_private and not is_public(literal):
        raise BadAddress("must not lead into a private network")


def resolve(url: str, *, allow_private: bool) -> Target:
    """Raises BadAddress if the host has no address, or any that is not public."""
    check_url(url, allow_private=allow_private)
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise BadAddress("must have a host whose name can be resolved") from None
    addresses = tuple(dict.fromkeys(ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found))
    if not addresses or (not allow_private and not all(map(is_public, addresses))):
        raise BadAddress("must not lead into a private network")
    return Target(url, host, port, addresses[:_MOST_ADDRESSES])


def is_public(address: Address) -> bool:
    """Whether anybody on the internet has this address: not this host, a private network, or a cloud's own services."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return is_public(inner)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
