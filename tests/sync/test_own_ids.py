"""Requests to Stripe name exactly the object whose id a person chose."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

from sync.mirror.refresh import refresh
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES
from sync.stripe.transport import Transport
from tests.own_ids import OWN_IDS
from tests.sync.mirrored import row
from tests.sync.simulated_stripe import simulated_stripe, source_of


@pytest.mark.parametrize("kind", ["product", "customer"])
def test_an_object_is_fetched_by_its_own_id(store: MirrorStore, kind: str) -> None:
    stripe, object_type = simulated_stripe(counts={}), OBJECT_TYPES[kind]
    source = source_of(stripe)
    for id in OWN_IDS:
        stripe.account.create(kind, id=id, name=f"named {id}")

        assert refresh(store, source, object_type, id) == "written"

        found = row(store, id, object_type)
        assert found
        assert found.raw["name"] == f"named {id}"
    for id in OWN_IDS:
        stripe.account.delete(kind, id)

        assert refresh(store, source, object_type, id) == "deleted"


@pytest.mark.parametrize("object_type", OBJECT_TYPES.values(), ids=OBJECT_TYPES)
def test_an_id_is_one_part_of_every_path(object_type) -> None:
    base = object_type.path.format(id="cus_1")
    for id in OWN_IDS:
        path = object_type.path_of(id, "cus_1")
        paths = [path, *([object_type.nested.path_of(id)] if object_type.nested else [])]
        beyond = {each.removeprefix(f"{base}/").count("/") for each in paths if each.startswith(base)}
        assert beyond <= {0, 1}
        assert path.removeprefix(f"{base}/") not in (".", "..")
        assert unquote(path) == f"{base}/{id}"


@pytest.mark.parametrize("id", OWN_IDS)
def test_a_parents_id_is_one_part_of_every_path(id: str) -> None:
    parent = OBJECT_TYPES["customer_balance_transaction"].parent
    assert parent

    path = parent.path_of(id)

    assert path.count("/") == 4
    assert path.split("/")[3] not in (".", "..")
    assert unquote(path) == f"/v1/customers/{id}/balance_transactions"


def test_a_path_is_sent_as_it_is() -> None:
    """libcurl would resolve `..`, also an escaped one, and ask for another address."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    transport = Transport()
    try:
        for id in ("..", "."):
            path = OBJECT_TYPES["customer"].path_of(id)
            transport.send("GET", f"http://127.0.0.1:{server.server_port}{path}", {})
            assert asked.pop() == path
    finally:
        transport.close()
        server.shutdown()
        server.server_close()
