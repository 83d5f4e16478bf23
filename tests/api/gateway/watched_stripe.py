"""A simulated account that remembers every state of its objects, and takes the gateway's requests."""

from collections.abc import Mapping
from typing import Any

from scripts.sandbox.account import NO_HEADERS, Account
from scripts.sandbox.answers import Answer
from scripts.sandbox.seeding import Recipe
from sync.object_types import OBJECT_TYPES
from sync.stripe.curl import HttpAnswer
from tests.sync.simulated_stripe import Clock, SimulatedStripe

# Types of which every change has its event, and which embed no other object.
WATCHED = ("customer", "product", "price", "invoice")
REQUEST_S = 0.01


class Watched(Account):
    """Keeps every state of its objects: `states[type, id]` are (since when, the object or None), the oldest first."""

    def __init__(self, recipe: Recipe, clock: Clock) -> None:
        super().__init__("simulated", recipe, clock)
        self.states: dict[tuple[str, str], list[tuple[float, Any]]] = {}
        self.left_by: dict[str, dict[tuple[str, str], int]] = {}  # by request id: which states it left
        self.look()

    def handle(
        self, method: str, path: str, params: Mapping[str, Any], headers: Mapping[str, str] = NO_HEADERS, *rest: Any
    ) -> Answer:
        answer = super().handle(method, path, params, headers, *rest)
        if method != "GET":
            self.look()
            self.left_by[answer.headers["Request-Id"]] = {key: len(states) - 1 for key, states in self.states.items()}
        return answer

    def look(self) -> None:
        for name in WATCHED:
            hidden = OBJECT_TYPES[name].hidden_fields  # Stripe shows them only on request, and so does the gateway
            shown = [
                {field: each[field] for field in each if field not in hidden} for each in self.objects(name, full=True)
            ]
            live = {each["id"]: each for each in shown}
            for object_id in live.keys() | {known for of, known in self.states if of == name}:
                states = self.states.setdefault((name, object_id), [(0.0, None)])
                if states[-1][1] != (now := live.get(object_id)):
                    states.append((self.state.clock(), now))


class Simulated(SimulatedStripe):
    """Takes the gateway's requests, too, and needs a moment for each."""

    def send(self, method: str, url: str, headers: Any, body: Any = None) -> HttpAnswer:
        if body:
            url += ("&" if "?" in url else "?") + body.decode()
        self.clock.advance(REQUEST_S)
        return super().send(method, url, headers)
