"""Requests that the OpenAPI document allows, and their odd relatives: a strategy of hypothesis for each operation."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

from api.openapi.examples import resolve, schema_of
from tests.api.webhooks.odd_events import ODD_NUMBERS, ODD_TEXTS, ODD_VALUES

Json = dict[str, Any]
# As they stand in an address: these are no text that somebody encoded.
_ODD_SEGMENTS = ("%", "%zz", "%ff", "%00", "%C0%AF", "a%0d%0ab", "//", "%2e%2e", "*", ";x=1", "%F0%9F%98%80")
# Names that our list endpoints and Stripe's know, in every form that Stripe's have.
_QUERY_NAMES = (
    *(
        "limit",
        "offset",
        "email",
        "cursor",
        "active",
        "status",
        "customer",
        "product",
        "subscription",
        "purge",
        "before",
    ),
    *("starting_after", "ending_before", "expand[]", "expand", "expand[0]", "created", "created[gte]", "created[lt]"),
    *(
        "created[gte][x]",
        "ids[]",
        "price",
        "recurring[interval]",
        "lookup_keys[]",
        "type",
        "test_clock",
        "",
        "[]",
        "\0",
    ),
)
_QUERY_TEXTS = (
    *("1", "0", "-1", "100", "101", "1e3", "٣", "true", "all", "canceled", "data.customer", "customer.default_source"),
    *("9" * 5_000, "1700000000", "9223372036854775808", "-infinity", "cus_1", "data." * 50, "eyJ4IjoxfQ==", "1_0"),
)
_BODIES = (
    *(
        b"",
        b"{",
        b"null",
        b"[]",
        b'""',
        b"0",
        b"NaN",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"{}x",
        b'{"name": 1, "name": 2}',
    ),
    *(b'{"a":' * 20_000, b"[" * 200_000, b'{"name": ' + b"9" * 5_000 + b"}", b"\0", "{}".encode("utf-16"), b"a=b&c=d"),
    b'{"' + b"k" * 100_000 + b'": 1}',
)
_CONTENT_TYPES = (
    *(
        "application/json; charset=utf-16",
        "application/json; charset=nonsense",
        "application/vnd.api+json",
        "text/plain",
    ),
    *(
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "",
        "\xff",
        "json/",
    ),
)
_HEADERS: Mapping[str, tuple[str, ...]] = {
    "Authorization": (
        *(
            "",
            "Bearer",
            "Bearer ",
            "Bearer bs_",
            f"Bearer bs_{'0' * 48}",
            "Bearer " + "x" * 8_000,
            "Basic",
            "Basic !!!",
        ),
        *("Basic /zo=", "Digest a=b", "Bearer \xff", "bearer bs_ bs_"),
    ),
    "Cookie": (
        "billstack_session=",
        "billstack_session=x",
        "billstack_session=\xff",
        "=;=;",
        "billstack_device=" + "x" * 4_000,
    ),
    "Accept": ("text/html", "*/*;q=x", "application/xml", "\xff"),
    "Accept-Encoding": ("gzip;q=x", "gzip", "br;q=0.0000001", "*;q=0"),
    "Content-Encoding": ("gzip", "deflate", "x"),
    "Content-Length": ("abc", "-1", "99999999999"),
    "Host": ("", "[", "[::1", "x:99999", "evil.example\xe9", "a b", "x" * 5_000),
    "If-Modified-Since": ("x", "Thu, 01 Jan 0000 00:00:00 GMT"),
    "If-None-Match": ("*", '"', "W/"),
    "Last-Event-ID": ("\xff", "-1"),
    "Origin": ("null", "https://evil.example", "http://[", "http://billstack.test"),
    "Range": ("bytes=0-", "bytes=-1", "bytes=9-1", "x"),
    "Sec-Fetch-Site": ("cross-site", "same-origin", "x"),
    "Stripe-Signature": ("", "t=1,v1=00", f"t={'9' * 5_000},v1=00", "t=x,v1=", "v1=\xff,t=-1", "t=1," * 2_000),
    "Stripe-Version": ("", "2020-08-27", "x\xff"),
    "User-Agent": ("", "\xff" * 5_000, "<script>"),
    "X-Forwarded-For": ("", "x, y", "::1, ::1", "1.2.3.4, " * 500),
    "X-Request-Id": ("", "a b", "x" * 5_000, "\xff", "<script>"),
}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    address: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    declared: Json
    shared_parameters: list[Json]


def operations(spec: Json) -> Iterator[Operation]:
    """Those that change something come last."""
    found = [
        Operation(method.upper(), path, declared, item.get("parameters", []))
        for path, item in spec["paths"].items()
        for method, declared in item.items()
        if method != "parameters"
    ]
    yield from sorted(found, key=lambda each: (each.method != "GET", each.method == "DELETE"))


def requests_of(spec: Json, operation: Operation, known: Mapping[str, Any]) -> st.SearchStrategy[Request]:
    """`known` has by its name what exists: an id of an address, or a key of a body."""
    return st.builds(
        Request,
        st.just(operation.method),
        st.builds("{}{}".format, _paths(operation.path, known), _queries(operation, known)),
        _headers(),
        _bodies(spec, operation, known),
    )


def _paths(path: str, known: Mapping[str, Any]) -> st.SearchStrategy[str]:
    """Mostly of what exists: an odd team is all that is looked at."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    right = {name: known.get(name, "x_0") for name in names}
    odd = st.sampled_from(ODD_TEXTS).map(_encoded) | st.sampled_from(_ODD_SEGMENTS) | st.text(max_size=20).map(_encoded)
    if not names:
        return st.just(path)
    one_odd = st.builds(lambda name, value: path.format(**right | {name: value}), st.sampled_from(names), odd)
    return _mostly(st.just(path.format(**right)), one_odd)


def _queries(operation: Operation, known: Mapping[str, Any]) -> st.SearchStrategy[str]:
    declared = [*operation.shared_parameters, *operation.declared.get("parameters", [])]
    ours = {each["name"]: _of_schema({}, each.get("schema", {}), known) for each in declared if each["in"] == "query"}
    right = st.fixed_dictionaries({}, optional=ours).map(lambda chosen: list(chosen.items()))
    names = st.sampled_from((*ours, *ours, *_QUERY_NAMES))
    texts = st.sampled_from(_QUERY_TEXTS) | st.sampled_from(ODD_TEXTS)
    odd = st.lists(st.tuples(names, texts), min_size=1, max_size=4)
    broken = st.sampled_from(
        ("?", "?%", "?limit", "?limit=%ff", "?&&&", "?a[b=1", "?expand[]=" + "a." * 2_000, "?\xff")
    )
    return _mostly(right, odd).map(_query_string) | broken


def _query_string(pairs: list[tuple[str, Any]]) -> str:
    texts = ((name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in pairs)
    return "?" + "&".join(f"{_encoded(name)}={_encoded(text)}" for name, text in texts) if pairs else ""


def _headers() -> st.SearchStrategy[dict[str, str]]:
    one = st.sampled_from(sorted(_HEADERS)).flatmap(
        lambda name: st.tuples(st.just(name), st.sampled_from(_HEADERS[name]))
    )
    content_type = st.sampled_from(_CONTENT_TYPES).map(lambda text: {"Content-Type": text})
    json_type = st.just({"Content-Type": "application/json"})
    return st.builds(
        lambda a, b: a | b, _mostly(json_type, content_type), _mostly(st.just({}), st.lists(one, max_size=3).map(dict))
    )


def _bodies(spec: Json, operation: Operation, known: Mapping[str, Any]) -> st.SearchStrategy[bytes | None]:
    schema = schema_of(operation.declared.get("requestBody", {}))
    if not schema:
        return _mostly(st.none(), st.sampled_from(_BODIES))
    told = _of_schema(spec, schema, known)
    return st.one_of(*[told.map(_json), _with_odd_keys(told).map(_json)] * 2, st.sampled_from(_BODIES))


def _with_odd_keys(told: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """One or two values replaced by odd ones; or keys that nobody knows."""

    def replaced(body: Json, values: list[Any], extra: dict[str, Any], data: int) -> Json:
        keys = sorted(body)
        return body | {keys[(data + n) % len(keys)]: value for n, value in enumerate(values) if keys} | extra

    some = st.lists(odd_json(), min_size=1, max_size=2)
    unknown = st.just({}) | st.dictionaries(st.sampled_from(ODD_TEXTS), odd_json(), max_size=2)
    return st.builds(replaced, told, some, unknown, st.integers(0, 9))


def odd_json() -> st.SearchStrategy[Any]:
    leaves = st.sampled_from((*ODD_NUMBERS, *ODD_TEXTS, *ODD_VALUES, float("nan"), float("inf")))
    return leaves | st.lists(leaves, max_size=3) | st.dictionaries(st.sampled_from(ODD_TEXTS), leaves, max_size=3)


def _of_schema(spec: Json, schema: Json, known: Mapping[str, Any], name: str = "") -> st.SearchStrategy[Any]:
    """What the schema allows; a name that is known has its value half of the time."""
    made = _made(spec, resolve(spec, schema), known)
    return st.just(known[name]) | made if name in known else made


def _made(spec: Json, schema: Json, known: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    least, most = schema.get("minLength", 0), min(schema.get("maxLength", 50), 50)
    moments = st.datetimes().map(lambda moment: f"{moment.isoformat()}Z") | st.sampled_from(ODD_TEXTS)
    texts = moments if schema.get("format") == "date-time" else st.text(min_size=least, max_size=most)
    properties = schema.get("properties", {})
    inner = {key: _of_schema(spec, each, known, key) for key, each in properties.items()}
    required = {key: inner[key] for key in schema.get("required", [])}
    free = st.dictionaries(st.text(max_size=45), st.text(max_size=20) | st.none(), max_size=3)
    of_type: dict[str, st.SearchStrategy[Any]] = {
        "string": texts,
        "integer": st.integers(schema.get("minimum", -(2**65)), schema.get("maximum", 2**65)),
        "boolean": st.booleans(),
        "object": st.fixed_dictionaries(required, optional={k: v for k, v in inner.items() if k not in required})
        if properties
        else free,
    }
    if schema.get("type") == "array":
        return st.lists(_of_schema(spec, schema["items"], known), max_size=4)
    return of_type.get(schema.get("type", ""), odd_json())


def _mostly(right: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(right, right, odd)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")
