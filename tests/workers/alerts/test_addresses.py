"""A webhook that a team names does not lead into the network of the server."""

import ipaddress
import socket

import pytest

from workers.alerts.addresses import BadAddress, check_url, is_public, resolve

PRIVATE = (
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_not_everybody_can_reach_is_not_public(address):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_an_address_of_the_internet_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https://user:password@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/#x",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example..com./",
        "https://exämple.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]:8443/x",
        "https://169.254.169.254/latest/meta-data/",
        f"https://example.com/{'x' * 2000}",
    ],
)
def test_an_address_that_can_never_be_sent_to_is_refused_at_once(url):
    with pytest.raises(BadAddress):
        check_url(url, allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://hooks.example.com:8443/a?b=c&d=%20", "https://8.8.8.8/x"]
)
def test_an_ordinary_address_is_taken(url):
    check_url(url, allow_private=False)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_a_host_that_resolves_to_a_private_address_is_refused(host):
    with pytest.raises(BadAddress):
        resolve(f"https://{host}/", allow_private=False)


def test_one_private_address_among_public_ones_is_enough(monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 443)) for ip in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)

    with pytest.raises(BadAddress):
        resolve("https://rebinding.example.com/", allow_private=False)


def test_a_setting_allows_http_and_private_networks():
    target = resolve("http://127.0.0.1:8080/hook", allow_private=True)

    assert (target.port, target.addresses) == (8080, (ipaddress.ip_address("127.0.0.1"),))
