"""All accounts of one sandbox, and the way of a request from its key to its answer."""

import base64
import binascii
import re
import time
from collections.abc import Mapping
from typing import Any

from scripts.sandbox import routes
from scripts.sandbox.account import Account, Clock
from scripts.sandbox.answers import Answer, Refused
from scripts.sandbox.forms import nest
from scripts.sandbox.seeding import Recipe

_KEY = re.compile(r"(?P<kind>sk|rk)_(?P<mode>test|live)_(?P<name>[a-z0-9]+(?:_[a-z0-9]+)*)")

_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
    "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we "
    "can help at https://support.stripe.com/."
)


class Sandbox:
    """Accounts by key. `sk_test_NAME` and `sk_live_NAME` are two modes of one account with data of their own."""

    def __init__(self, clock: Clock = time.time) -> None:
        self.clock = clock
        self._recipes: dict[str, Recipe] = {}
        self._accounts: dict[tuple[str, bool], Account] = {}
        self._restricted: dict[str, tuple[str, bool, frozenset[str]]] = {}

    def add_account(self, name: str, recipe: Recipe) -> Account:
        """Registers a name; test mode is filled at once, live mode when its key is first used."""
        self._recipes[name] = recipe
        self._accounts.pop((name, True), None)
        self._accounts[name, False] = Account(name, recipe=recipe, clock=self.clock)
        return self._accounts[name, False]

    def account(self, name: str, *, livemode: bool = False) -> Account:
        """Raises KeyError for a name that was never registered."""
        if (name, livemode) not in self._accounts:
            recipe = self._recipes[name]
            self._accounts[name, livemode] = Account(name, livemode=livemode, recipe=recipe, clock=self.clock)
        return self._accounts[name, livemode]

    def restrict(self, name: str, permissions: frozenset[str], *, livemode: bool = False) -> str:
        """A restricted key that may do only what these permissions (`rak_customer_read`, ...) say."""
        account = self.account(name, livemode=livemode)
        key = f"rk_{'live' if livemode else 'test'}_{name}_{account.dice.token(16)}"
        self._restricted[key] = (name, livemode, permissions)
        return key

    def handle(self, method: str, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Answers one request of Stripe's API; header names in lower case. Never raises."""
        try:
            key = api_key(headers.get("authorization"))
            account, permissions = self._open(key)
            operation, ids = routes.find(method, path)
            if permissions is not None and operation.permission not in permissions:
                raise _forbidden(key, account, operation.permission)
            return operation.run(account, ids, nest(params.items()))
        except Refused as refused:
            return refused.answer()

    def _open(self, key: str) -> tuple[Account, frozenset[str] | None]:
        """The account of a key, and what the key may do (None: everything)."""
        if key in self._restricted:
            name, livemode, permissions = self._restricted[key]
            return self.account(name, livemode=livemode), permissions
        match = _KEY.fullmatch(key)
        if match is None or match["kind"] != "sk" or match["name"] not in self._recipes:
            raise Refused(f"Invalid API Key provided: {masked(key)}", status=401)
        return self.account(match["name"], livemode=match["mode"] == "live"), None


def api_key(authorization: str | None) -> str:
    """The key of a Bearer or Basic header."""
    scheme, _, value = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            pass
    raise Refused(_NO_KEY, status=401)


def masked(key: str) -> str:
    """As Stripe repeats a key in a message: its beginning and its last four letters."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}"


def _forbidden(key: str, account: Account, permission: str) -> Refused:
    return Refused(
        f"The provided key '{masked(key)}' does not have the required permissions for this endpoint on account "
        f"'{account.id}'. Having the '{permission}' permission would allow this request to continue.",
        status=403,
    )
