"""One Stripe account in one mode, as a client sees it: takes a request and returns Stripe's answer."""

import copy
import itertools
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import quote

from scripts.sandbox import routes
from scripts.sandbox.answers import Answer, Refused, decode
from scripts.sandbox.forms import Params, nest
from scripts.sandbox.idempotency import IdempotencyKeys
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.shapes import Json
from scripts.sandbox.state import Clock, State

NO_HEADERS: Mapping[str, str] = {}

# When Stripe fails during a request: before it has done anything, or after it has done everything.
Broken = Literal["before", "after"] | None

_VERSION = re.compile(r"20[12]\d-(0\d|1[0-2])-[0-3]\d(\.[a-z]+)?(;.*)?", re.ASCII)
_BROKEN = Refused("An unexpected error occurred. Please try again.", status=500, type="api_error").answer()


def _refuse_unknown_version(version: str | None) -> None:
    if version is not None and not _VERSION.fullmatch(version):
        raise Refused(f"Invalid Stripe API version: {version}")


@dataclass(frozen=True, slots=True)
class _Ask:
    """One request on its way to its operation."""

    operation: routes.Operation
    id: str
    path: str
    params: Params
    request_id: str
    key: str | None
    broken: Broken


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
        """Answers one request. Header names in lower case. Never raises: refusals are answers, too."""
        request_id = f"req_{next(self._request_ids):014}"
        try:
            operation, id = routes.find(method, path)
            _refuse_unknown_version(headers.get("stripe-version"))
            key = headers.get("idempotency-key") if method == "POST" else None
            ask = _Ask(operation, id, path, nest(params.items()), request_id, key, broken)
            answer = self._work(ask) if key is None else self._work_once(ask, key)
        except Refused as refused:
            answer = refused.answer()
        return Answer(answer.status, answer.body, {"Request-Id": request_id, **answer.headers})

    def _work_once(self, ask: _Ask, key: str) -> Answer:
        """Stores the key's answer, so that a repetition has no effect."""
        params = copy.deepcopy(ask.params)
        answer = self._keys.recall(key, ask.path, params, self.state.clock())
        if answer is None:
            answer = self._work(ask)
            self._keys.remember(key, ask.path, params, answer, self.state.clock())
        return answer

    def _work(self, ask: _Ask) -> Answer:
        if ask.broken == "before":
            return _BROKEN
        self.state.request = (ask.request_id, ask.key)
        try:
            answer = ask.operation.run(self.state, ask.id, ask.params)
        finally:
            self.state.request = (None, None)
        if ask.broken == "after":
            return _BROKEN
        return replace(answer, body=self.state.shown(answer.body))

    def list(self, path: str, params: Mapping[str, Any]) -> Answer:
        """A page: `account.list("/v1/customers", {"limit": 100, "created": {"lte": 5}})`."""
        return self.handle("GET", path, params)

    def retrieve(self, type: str, id: str) -> Answer:
        return self.handle("GET", f"{KINDS[type].path}/{quote(id, safe='')}", {})

    def create(self, type: str, **params: Any) -> Json:
        """Creates like a POST and returns the object. If Stripe would refuse, raises ValueError with its message.

        What is created under a customer takes it as `customer`.
        """
        path = KINDS[type].path
        if "{id}" in path:
            path = path.format(id=quote(params.pop("customer"), safe=""))
        return self._done(self.handle("POST", path, params))

    def update(self, type: str, id: str, **params: Any) -> Json:
        return self._done(self.handle("POST", f"{KINDS[type].path}/{quote(id, safe='')}", params))

    def delete(self, type: str, id: str) -> Json:
        """Deletes. A subscription is canceled instead and stays."""
        return self._done(self.handle("DELETE", f"{KINDS[type].path}/{quote(id, safe='')}", {}))

    def act(self, type: str, id: str, action: str, **params: Any) -> Json:
        """`account.act("invoice", id, "finalize")`."""
        return self._done(self.handle("POST", f"{KINDS[type].path}/{quote(id, safe='')}/{action}", params))

    def objects(self, type: str, *, full: bool = False) -> Sequence[Json]:
        """Every live object of a type as a retrieve returns it, including unlisted prices.

        `full` completes nested lists.
        """
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
