"""A plain request means to us what it means to gunicorn, and what gunicorn refuses is not plain."""

import socket

import pytest
from gunicorn.config import Config
from gunicorn.http import get_parser, wsgi
from hypothesis import example, given, settings
from hypothesis import strategies as st

from api.http.buffering_worker import _Received
from api.http.plain_request import environ_of
from api.http.running_requests import lane_of

ASKED = b"GET /v1/customers/cus_1?limit=10 HTTP/1.1\r\n"
HOST, KEY = b"Host: billstack.test\r\n", b"Authorization: Bearer bs_1\r\n"


def test_a_request_as_libraries_send_it_is_plain():
    head = (
        HOST + KEY + b'user-agent:Stripe/v1\r\nConnection:  Keep-Alive \r\nX-Stripe-Client-User-Agent: {"a": 1}\r\n\r\n'
    )

    assert environ_of(ASKED + head) == {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/customers/cus_1",
        "QUERY_STRING": "limit=10",
        "HTTP_HOST": "billstack.test",
        "HTTP_AUTHORIZATION": "Bearer bs_1",
        "HTTP_USER_AGENT": "Stripe/v1",
        "HTTP_CONNECTION": "Keep-Alive",
        "HTTP_X_STRIPE_CLIENT_USER_AGENT": '{"a": 1}',
    }
    assert environ_of(b"GET /v1/products HTTP/1.1\r\n" + HOST + b"\r\n")["QUERY_STRING"] == ""


@pytest.mark.parametrize(
    "line",
    [
        b"POST /v1/customers HTTP/1.1",
        b"HEAD /v1/customers HTTP/1.1",
        b"GET /v1/customers HTTP/1.0",
        b"GET /v1/customers/cus%2F1 HTTP/1.1",
        b"GET /v1/customers/../charges HTTP/1.1",
        b"GET /v1//customers HTTP/1.1",
        b"GET /v1/customers/ HTTP/1.1",
        b"GET /v1/customers?limit=1#part HTTP/1.1",
        b"GET /v1/customers?a b HTTP/1.1",
        b"GET http://billstack.test/v1/customers HTTP/1.1",
        b"GET /api/teams HTTP/1.1",
        b"GET  /v1/customers HTTP/1.1",
        "GET /v1/customers?email=é HTTP/1.1".encode(),
    ],
)
def test_other_request_lines_are_not(line):
    assert environ_of(line + b"\r\n" + HOST + b"\r\n") is None


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Length: 0",
        b"content-length: 5",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"Connection: keep-alive, Upgrade",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        b"Expect: 100-continue",
        b"TE: trailers",
        b"Trailer: x",
        b"X-Forwarded-Ssl: on",
        b"X-Forwarded-Protocol: ssl",
        b"Host: another",
        b"authorization: Bearer bs_2",
        b"Stripe_Version: 2020-08-27",
        b"Stripe-Version : 2020-08-27",
        b" folded: line",
        b"X-Tab: a\tb",
        b"X-Null: \0",
        b"X-Bare: a\rb",
        b"X-Bare: a\nb",
        b"no colon",
        b": no name",
        "X-Name: é".encode(),
        b"X-Long: " + b"a" * 4000,
        b"\r\n".join(b"a%d:" % number for number in range(99)),
    ],
)
def test_other_headers_are_not(header):
    assert environ_of(ASKED + HOST + KEY + header + b"\r\n\r\n") is None


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\r\n\r\n{}", b"\r\n\r\n" + ASKED, b"\n\n", b"\r\n\r\n\r\n"])
def test_neither_is_less_or_more_than_one_request(ending):
    assert environ_of(ASKED + HOST + b"X: y" + ending) is None


def as_gunicorn_reads_it(request):
    """(WSGI environment, what is left of the bytes, whether the connection stays open)"""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        config = Config()
        parser = get_parser(config, iter([request]), ("127.0.0.1", 1))
        message = next(parser)
        answer, environ = wsgi.create(message, ours, ("127.0.0.1", 1), ("127.0.0.1", 2), config)
        answer.start_response("200 OK", [("Content-Length", "0")])
        return environ, message.body.read() + parser.unreader.take_buffered(), not answer.should_close()


PATHS = st.sampled_from([b"/v1/customers", b"/v1/customers/cus_1", b"/v1/a/b/c"])
QUERIES = st.sampled_from([b"", b"?", b"?limit=10", b"?a=%20&b[]=1", b"?x?y", b"?email=%00"])
HEADERS = st.sampled_from(
    [
        b"Authorization: Bearer bs_1",
        b"Authorization:Basic  YnNfMTo= ",
        b"Accept:",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Host: billstack.test",
        b"Stripe-Version: 2025-03-31.basil",
        b"X-Forwarded-Proto: https",
        b"X-Note: a: b",
    ]
)
ODD = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\t",
    b" ",
    b":",
    b"#",
    b"%",
    b"/",
    b"?",
    b".",
    b"_",
    b"-",
    b"\0",
    b"\x7f",
    b"\xe9",
    b"0",
    b"A",
]


@st.composite
def requests(draw):
    """Mostly plain, or so but for a few bytes."""
    lines = [b"GET " + draw(PATHS) + draw(QUERIES) + b" HTTP/1.1", *draw(st.lists(HEADERS, min_size=1, max_size=5))]
    request = b"\r\n".join([*lines, b"", b""])
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(request)))
        request = request[:start] + draw(st.sampled_from(ODD)) + request[start + draw(st.integers(0, 2)) :]
    return request


@settings(max_examples=500, deadline=None)
@given(requests())
@example(ASKED + HOST + KEY + b"X-Forwarded-Proto: https\r\n\r\n")
@example(ASKED + b"\r\n".join(b"a%d:" % number for number in range(100)) + b"\r\n\r\n")
@example(b"GET /v1/a?%00 HTTP/1.1\r\nHost: x\r\n\r\n")
def test_it_is_what_gunicorn_reads(request):
    environ = environ_of(request)
    if environ is None:
        return

    read, rest, is_kept = as_gunicorn_reads_it(request)

    environ.pop("HTTP_CONTENT_TYPE", None)  # has another name in WSGI, and nobody asks a read for it
    assert environ == {name: read[name] for name in environ}
    assert {name for name in read if name.startswith("HTTP_")} <= environ.keys()
    assert rest == b""
    assert _Received.of(request).lane == lane_of(request)
    assert is_kept
