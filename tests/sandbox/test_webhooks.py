"""Events reach the endpoints that are registered for them, signed, in whatever disorder was ordered."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe

from scripts.sandbox.running import SandboxThread


@dataclass
class Receiver:
    """An endpoint that keeps what it gets; `refusals` first deliveries are answered 500."""

    url: str = ""
    refusals: int = 0
    got: list[tuple[bytes, str]] = field(default_factory=list)
    met: int = 0

    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for body, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.met += 1
            refused = receiver.met <= receiver.refusals
            if not refused:
                receiver.got.append((body, self.headers["Stripe-Signature"]))
            self.send_response(500 if refused else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield receiver
    server.shutdown()
    server.server_close()


def settled(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits for what happens in other threads."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def register(served: SandboxThread, receiver: Receiver, **params: Any) -> stripe.WebhookEndpoint:
    client = stripe.StripeClient("sk_test_demo", base_addresses={"api": served.url})
    return client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"], **params})


def test_a_change_is_delivered_and_its_signature_verifies(served: SandboxThread, receiver: Receiver) -> None:
    endpoint = register(served, receiver)
    customer = served.sandbox.tenant("demo").account.create("customer", name="Zoë 🚀")

    settled(lambda: len(receiver.got) == 1)

    body, signature = receiver.got[0]
    event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
    assert event.type == "customer.created"
    assert event.data.object["id"] == customer["id"]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body.replace("🚀".encode(), b"x"), signature, endpoint.secret)


def test_the_secret_is_shown_at_creation_only(served: SandboxThread, receiver: Receiver) -> None:
    endpoint = register(served, receiver)
    client = stripe.StripeClient("sk_test_demo", base_addresses={"api": served.url})

    assert endpoint.secret is not None
    assert endpoint.secret.startswith("whsec_")
    assert "secret" not in client.v1.webhook_endpoints.retrieve(endpoint.id).to_dict()
    assert "secret" not in client.v1.webhook_endpoints.list().data[0].to_dict()
    assert "secret" not in client.v1.webhook_endpoints.update(endpoint.id, {"description": "ours"}).to_dict()


def test_an_endpoint_gets_only_what_it_asked_for_and_nothing_when_disabled(
    served: SandboxThread, receiver: Receiver
) -> None:
    endpoint = register(served, receiver, enabled_events=["product.created"])
    account = served.sandbox.tenant("demo").account
    account.create("customer")
    account.create("product", name="Plan")
    settled(lambda: len(receiver.got) == 1)

    account.handle("POST", f"/v1/webhook_endpoints/{endpoint.id}", {"disabled": True})
    account.create("product", name="Other")

    assert not account.state.outbox
    assert json.loads(receiver.got[0][0])["type"] == "product.created"


def test_a_deleted_endpoint_is_gone(served: SandboxThread, receiver: Receiver) -> None:
    endpoint = register(served, receiver)
    account = served.sandbox.tenant("demo").account

    deleted = account.handle("DELETE", f"/v1/webhook_endpoints/{endpoint.id}", {}).json()

    assert deleted == {"id": endpoint.id, "object": "webhook_endpoint", "deleted": True}
    assert account.handle("GET", f"/v1/webhook_endpoints/{endpoint.id}", {}).status == 404


def test_there_are_at_most_sixteen_endpoints(served: SandboxThread, receiver: Receiver) -> None:
    for _ in range(16):
        register(served, receiver)

    with pytest.raises(stripe.InvalidRequestError, match="maximum of 16"):
        register(served, receiver)


def test_a_refused_delivery_is_tried_again_and_counts_as_undelivered_until_then(
    served: SandboxThread, receiver: Receiver
) -> None:
    receiver.refusals = 2
    served.call("PUT", "deliveries", retry_after_s=[0.05, 0.05])
    register(served, receiver)
    account = served.sandbox.tenant("demo").account
    account.create("customer")
    assert len(account.list("/v1/events", {"delivery_success": False}).json()["data"]) == 1

    settled(lambda: served.call("GET", "deliveries").get("delivered") == 1)

    assert (receiver.met, len(receiver.got)) == (3, 1)
    assert account.list("/v1/events", {"delivery_success": False}).json()["data"] == []


def test_an_endpoint_that_never_answers_leaves_its_event_undelivered(served: SandboxThread, receiver: Receiver) -> None:
    served.call("PUT", "deliveries", retry_after_s=[0.01])
    register(served, receiver, url="http://127.0.0.1:9/nobody")
    account = served.sandbox.tenant("demo").account
    account.create("customer")

    settled(lambda: served.call("GET", "deliveries").get("failed") == 1)

    assert len(account.list("/v1/events", {"delivery_success": False}).json()["data"]) == 1


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x 200 OK\r\n", b"HTTP/1.1\r\n", b"HTTP/1.1 fine\r\n\r\n"])
def test_what_does_not_speak_http_has_not_taken_the_event(served: SandboxThread, answer: bytes) -> None:
    served.call("PUT", "deliveries", retry_after_s=[])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        register(served, Receiver(url=f"http://127.0.0.1:{listener.getsockname()[1]}"))
        served.sandbox.tenant("demo").account.create("customer")
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)

        settled(lambda: served.call("GET", "deliveries").get("failed") == 1)


def test_held_back_events_are_delivered_shuffled_with_duplicates(served: SandboxThread, receiver: Receiver) -> None:
    served.call("PUT", "deliveries", auto=False)
    register(served, receiver)
    served.change(60, seed=4)
    expected = [event["id"] for event in served.sandbox.tenant("demo").account.events()]
    assert served.call("GET", "deliveries")["waiting"] == len(expected)
    assert receiver.got == []

    set_out = served.call("POST", "deliveries", shuffle=True, duplicates=0.3, seed=2)["setOut"]
    settled(lambda: len(receiver.got) == set_out)

    assert set(receiver.ids()) == set(expected)
    assert len(expected) * 1.1 < set_out < len(expected) * 1.6
    assert receiver.ids() != expected


def test_lost_deliveries_never_come_and_stand_in_the_list_of_undelivered_events(
    served: SandboxThread, receiver: Receiver
) -> None:
    served.call("PUT", "deliveries", loss=1.0)
    register(served, receiver)
    account = served.sandbox.tenant("demo").account
    account.create("customer")

    settled(lambda: served.call("GET", "deliveries").get("lost") == 1)

    assert receiver.met == 0
    assert len(account.list("/v1/events", {"delivery_success": False}).json()["data"]) == 1


def test_an_event_names_the_version_its_endpoint_is_pinned_to(served: SandboxThread, receiver: Receiver) -> None:
    register(served, receiver, api_version="2022-11-15")
    served.sandbox.tenant("demo").account.create("customer")

    settled(lambda: len(receiver.got) == 1)

    assert json.loads(receiver.got[0][0])["api_version"] == "2022-11-15"


def test_one_delivery_at_a_time_keeps_the_order(served: SandboxThread, receiver: Receiver) -> None:
    served.call("PUT", "deliveries", concurrency=1)
    register(served, receiver)
    served.change(30, seed=4)

    settled(lambda: served.call("GET", "deliveries").get("delivered", 0) >= 30)

    expected = [event["id"] for event in served.sandbox.tenant("demo").account.events()]
    settled(lambda: len(receiver.got) == len(expected))
    assert receiver.ids() == expected
