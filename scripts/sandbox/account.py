"""One Stripe account in one mode, as a client meets it: a request goes in, Stripe's answer comes out."""

import copy
import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scripts.sandbox import routes
from scripts.sandbox.answers import Answer, Refused, decode
from scripts.sandbox.forms import nest
from scripts.sandbox.idempotency import IdempotencyKeys
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import Clock, State

NO_HEADERS: Mapping[str, str] = {}

# Where Stripe breaks while it works on a request: before it has done anything, or after it has done everything.
Broken = Literal["before", "after"] | None

_BROKEN = Refused("An unexpected error occurred. Please try again.", status=500, type="api_error").answer()


class Account:
    """Stripe's API over one account, without HTTP, keys or limits; deterministic for a recipe and a clock.

    Parameters may be nested (`{"created": {"gte": 5}}`) or bracketed (`{"created[gte]": "5"}`).
    """

    def __init__(
        self, name: str = "demo", recipe: Recipe | None = None, clock: Clock = time.time, *, livemode: bool = False
    ) -> None:
        self.state = State(name, recipe or Recipe(), clock, livemode=livemode)
        self._keys = IdempotencyKeys()
        self._request_ids = itertools.count(1)

    def handle(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any],
        headers: Mapping[str, str] = NO_HEADERS,
        broken: Broken = None,
    ) -> Answer:
        """Answers one request; header names in lower case. Refusals are answers too: this never raises."""
        request_id = f"req_{next(self._request_ids):014}"
        try:
            operation, id = routes.find(method, path)
            answer = self._run(operation, id, path, nest(params.items()), headers, request_id, broken)
        except Refused as refused:
            answer = refused.answer()
        return Answer(answer.status, answer.body, {"Request-Id": request_id, **answer.headers})

    def _run(
        self,
        operation: routes.Operation,
        id: str,
        path: str,
        params: dict[str, Any],
        headers: Mapping[str, str],
        request_id: str,
        broken: Broken,
    ) -> Answer:
        if not operation.name.startswith("POST"):
            return _BROKEN if broken == "before" else self._answer(operation, id, params, (request_id, None), broken)
        key = headers.get("idempotency-key")
        asked = copy.deepcopy(params)
        known = None if key is None else self._keys.recall(key, path, asked, self.state.clock())
        if known is not None:
            return known
        answer = _BROKEN if broken == "before" else self._answer(operation, id, params, (request_id, key), broken)
        if key is not None:
            self._keys.remember(key, path, asked, answer, self.state.clock())
        return answer

    def _answer(
        self,
        operation: routes.Operation,
        id: str,
        params: dict[str, Any],
        request: tuple[str, str | None],
        broken: Broken,
    ) -> Answer:
        self.state.request = request
        try:
            answer = operation.run(self.state, id, params)
        finally:
            self.state.request = (None, None)
        return _BROKEN if broken == "after" else answer

    def list(self, path: str, params: Mapping[str, Any]) -> Answer:
        """A page: `account.list("/v1/customers", {"limit": 100, "created": {"lte": 5}})`."""
        return self.handle("GET", path, params)

    def retrieve(self, type: str, id: str) -> Answer:
        return self.handle("GET", f"{KINDS[type].path}/{id}", {})

    def create(self, type: str, **params: Any) -> Json:
        """Creates as a POST would and returns the object; raises ValueError with Stripe's message where it refuses."""
        return self._done(self.handle("POST", KINDS[type].path, params))

    def update(self, type: str, id: str, **params: Any) -> Json:
        return self._done(self.handle("POST", f"{KINDS[type].path}/{id}", params))

    def delete(self, type: str, id: str) -> Json:
        """Deletes; a subscription is canceled by it and stays."""
        return self._done(self.handle("DELETE", f"{KINDS[type].path}/{id}", {}))

    def act(self, type: str, id: str, action: str, **params: Any) -> Json:
        """`account.act("invoice", id, "finalize")`."""
        return self._done(self.handle("POST", f"{KINDS[type].path}/{id}/{action}", params))

    def objects(self, type: str, *, full: bool = False) -> Sequence[Json]:
        """Every live object of a type as a retrieve gives it, unlisted prices too; `full` completes nested lists."""
        return [decode(body) for body in self.state.dump(type, full=full)]

    def events(self) -> Sequence[Json]:
        """Every event so far, oldest first."""
        return [decode(record.body) for record in self.state.events.timeline]

    @staticmethod
    def _done(answer: Answer) -> Json:
        body: Json = answer.json()
        if answer.status != 200:
            raise ValueError(body["error"]["message"])
        return body
