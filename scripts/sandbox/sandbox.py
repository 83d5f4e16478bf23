"""All accounts of a sandbox, and the access checks of requests to them."""

import base64
import binascii
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.sandbox import routes
from scripts.sandbox.account import Account
from scripts.sandbox.answers import Answer, Refused
from scripts.sandbox.dice import Dice
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.state import Clock
from scripts.sandbox.traffic import Limits, Traffic

_NAME = r"[a-z0-9]+(?:_[a-z0-9]+)*"
_SECRET_KEY = re.compile(rf"sk_(?P<mode>test|live)_(?P<name>{_NAME})")

_NO_KEY = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using Bearer auth "
    "(e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we "
    "can help at https://support.stripe.com/."
)
_TOO_MANY = "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits."


@dataclass(frozen=True, slots=True)
class Tenant:
    """One account in one mode, with its traffic."""

    account: Account
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class _Restricted:
    name: str
    livemode: bool
    permissions: frozenset[str]


class Sandbox:
    """Accounts by key. `sk_test_NAME` and `sk_live_NAME` are the two modes of one account, each with its own data."""

    def __init__(self, clock: Clock = time.time) -> None:
        self.clock = clock
        self._plans: dict[str, tuple[Recipe, Limits]] = {}
        self._tenants: dict[tuple[str, bool], Tenant] = {}
        self._restricted: dict[str, _Restricted] = {}
        self._dice = Dice("keys")

    @property
    def names(self) -> list[str]:
        return list(self._plans)

    @property
    def tenants(self) -> list[Tenant]:
        """The accounts that are filled so far."""
        return list(self._tenants.values())

    def add_account(self, name: str, recipe: Recipe, limits: Limits | None = None) -> Tenant:
        """Creates or recreates an account. Test mode is filled at once, live mode at its first use."""
        if not re.fullmatch(_NAME, name):
            raise ValueError(
                f"an account's name has only lower-case letters, digits and single underscores, not {name!r}"
            )
        self._plans[name] = (recipe, limits or Limits())
        self._tenants.pop((name, False), None)
        self._tenants.pop((name, True), None)
        return self.tenant(name)

    def tenant(self, name: str, *, livemode: bool = False) -> Tenant:
        """Raises KeyError for a name that was not added."""
        if (name, livemode) not in self._tenants:
            recipe, limits = self._plans[name]
            account = Account(name, recipe, self.clock, livemode=livemode)
            self._tenants[name, livemode] = Tenant(account, Traffic(limits))
        return self._tenants[name, livemode]

    def restrict(self, name: str, permissions: frozenset[str], *, livemode: bool = False) -> str:
        """A restricted key with only these permissions (`rak_customer_read`, ...)."""
        self.tenant(name, livemode=livemode)
        key = f"rk_{'live' if livemode else 'test'}_{name}_{self._dice.token(16)}"
        self._restricted[key] = _Restricted(name, livemode, permissions)
        return key

    def handle(self, method: str, path: str, params: Mapping[str, Any], headers: Mapping[str, str]) -> Answer:
        """Handles one request completely: key, permission, limits, answer. Header names in lower case. Never raises."""
        try:
            tenant = self.open(headers)
            operation, _ = routes.find(method, path)
            self.admit(tenant, operation, headers)
        except Refused as refused:
            return refused.answer()
        return tenant.account.handle(method, path, params, headers)

    def open(self, headers: Mapping[str, str]) -> Tenant:
        """The account of the request's key; 401 for another key, 403 for an account that the key may not act for."""
        key = api_key(headers.get("authorization"))
        tenant = self._of_key(key)
        named = headers.get("stripe-account", tenant.account.state.id)
        if named != tenant.account.state.id:
            raise Refused(
                f"The provided key '{masked(key)}' does not have access to account '{named}' (or that account does not "
                "exist). Application access may have been revoked.",
                status=403,
                code="account_invalid",
            )
        return tenant

    def _of_key(self, key: str) -> Tenant:
        if key in self._restricted:
            restricted = self._restricted[key]
            return self.tenant(restricted.name, livemode=restricted.livemode)
        match = _SECRET_KEY.fullmatch(key)
        if match is None or match["name"] not in self._plans:
            raise Refused(f"Invalid API Key provided: {masked(key)}", status=401)
        return self.tenant(match["name"], livemode=match["mode"] == "live")

    def admit(self, tenant: Tenant, operation: routes.Operation, headers: Mapping[str, str]) -> None:
        """Refuses requests that the key may not make, and requests over the limits."""
        key = api_key(headers.get("authorization"))
        restricted = self._restricted.get(key)
        if restricted is not None and operation.permission not in restricted.permissions:
            raise _forbidden(key, tenant.account, operation.permission)
        reason = tenant.traffic.refusal(operation.name, self.clock())
        if reason is not None:
            raise Refused(_TOO_MANY, status=429, code="rate_limit", headers={"Stripe-Rate-Limited-Reason": reason})


def api_key(authorization: str | None) -> str:
    """The key of a Bearer or Basic header. Without one, raises 401."""
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
    """A key as Stripe repeats it in a message: its beginning and its last four letters."""
    return f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}"


def _forbidden(key: str, account: Account, permission: str) -> Refused:
    return Refused(
        f"The provided key '{masked(key)}' does not have the required permissions for this endpoint on account "
        f"'{account.state.id}'. Having the '{permission}' permission would allow this request to continue.",
        status=403,
    )
