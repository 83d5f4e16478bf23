"""The sandbox's own API under `/sandbox/`: accounts, keys, faults, limits, dumps, changes, deliveries.

JSON, no auth.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec

from scripts.sandbox import forms
from scripts.sandbox.answers import decode, encode
from scripts.sandbox.changes import Changer
from scripts.sandbox.courier import Delivery
from scripts.sandbox.faults import Fault, FaultPlan
from scripts.sandbox.http import Connection, Request
from scripts.sandbox.kinds import KINDS
from scripts.sandbox.sandbox import Tenant
from scripts.sandbox.seeding import Recipe
from scripts.sandbox.shapes import Json
from scripts.sandbox.traffic import Limits

if TYPE_CHECKING:
    from scripts.sandbox.server import Server

_DUMP_PART = 500  # objects sent at once, about 2 MB

Params = dict[str, Any]


class Control:
    """One method per call. A wrong call is answered with 400 and a sentence."""

    def __init__(self, server: "Server") -> None:
        self._server = server
        self._later: set[asyncio.Task[None]] = set()
        self._calls: dict[tuple[str, str], Callable[[Params], Any]] = {
            ("GET", "accounts"): self._accounts,
            ("POST", "accounts"): self._add_account,
            ("POST", "keys"): self._add_key,
            ("GET", "faults"): self._faults,
            ("PUT", "faults"): self._set_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("PUT", "embedding"): self._set_embedding,
            ("PUT", "latency"): self._set_latency,
            ("PUT", "limits"): self._set_limits,
            ("GET", "stats"): self._stats,
            ("DELETE", "stats"): self._reset_stats,
            ("GET", "deleted"): self._deleted,
            ("POST", "changes"): self._change,
            ("GET", "deliveries"): self._deliveries,
            ("PUT", "deliveries"): self._set_deliveries,
            ("POST", "deliveries"): self._deliver,
        }

    async def respond(self, request: Request, connection: Connection) -> None:
        name = request.path.removeprefix("/sandbox/")
        try:
            params = {**forms.parse(request.query), **(decode(request.body) if request.body else {})}
            if request.method == "GET" and name == "objects":
                await self._dump(params, connection)
                return
            call = self._calls.get((request.method, name))
            if call is None:
                _send(connection, 404, {"error": f"there is no {request.method} /sandbox/{name}"})
                return
            _send(connection, 200, call(params))
        except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
            _send(connection, 400, {"error": f"{type(error).__name__}: {error}"})

    def _tenant(self, params: Params) -> Tenant:
        name = params.get("account", "demo")
        return self._server.sandbox.tenant(name, livemode=params.get("livemode") in (True, "true"))

    def _accounts(self, _: Params) -> Any:
        return [self._described(name) for name in self._server.sandbox.names]

    def _described(self, name: str) -> Json:
        state = self._server.sandbox.tenant(name).account.state
        return {
            "name": name,
            "id": state.id,
            "testKey": f"sk_test_{name}",
            "liveKey": f"sk_live_{name}",
            "counts": {type: len(shelf.by_id) for type, shelf in state.shelves.items()},
        }

    def _add_account(self, params: Params) -> Any:
        name = params.pop("name")
        limits = Limits(**{key: params.pop(key) for key in Limits.__slots__ if key in params})
        self._server.sandbox.add_account(name, Recipe(**params), limits)
        return self._described(name)

    def _add_key(self, params: Params) -> Any:
        tenant = self._tenant(params)
        state = tenant.account.state
        key = self._server.sandbox.restrict(state.name, frozenset(params["permissions"]), livemode=state.livemode)
        return {"key": key}

    def _faults(self, _: Params) -> Any:
        return {"faults": [asdict(fault) for fault in self._server.faults.faults]}

    def _set_faults(self, params: Params) -> Any:
        """Replaces all faults. Request numbers count from here."""
        faults = [Fault(**{**fault, "numbers": tuple(fault.get("numbers", ()))}) for fault in params["faults"]]
        self._server.faults = FaultPlan(tuple(faults), params.get("seed", 1))
        return self._faults({})

    def _clear_faults(self, _: Params) -> Any:
        self._server.faults = FaultPlan()
        return self._faults({})

    def _set_embedding(self, params: Params) -> Any:
        """Whether answers show embedded prices and coupons as they are today, as Stripe's do."""
        state = self._tenant(params).account.state
        state.embeds_todays = params["todays"] is True
        return {"todays": state.embeds_todays}

    def _set_latency(self, params: Params) -> Any:
        self._server.latency.seconds = params["ms"] / 1000
        self._server.latency.sigma = params.get("sigma", 0.0)
        return {"ms": params["ms"], "sigma": self._server.latency.sigma}

    def _set_limits(self, params: Params) -> Any:
        """Limits that are not named are off."""
        tenant = self._tenant(params)
        tenant.traffic.set_limits(Limits(**{key: params[key] for key in Limits.__slots__ if key in params}))
        return asdict(tenant.traffic.limits)

    def _stats(self, params: Params) -> Any:
        return self._tenant(params).traffic.stats()

    def _reset_stats(self, params: Params) -> Any:
        traffic = self._tenant(params).traffic
        found = traffic.stats()
        traffic.reset()
        return found

    def _deleted(self, params: Params) -> Any:
        deleted = self._tenant(params).account.state.shelves[params["type"]].deleted
        return {"deleted": [{"id": id, "at": at} for id, at in deleted.items()]}

    async def _dump(self, params: Params, connection: Connection) -> None:
        """All live objects of a type, one per line, oldest first. Sent in parts, so that 300 MB need no second copy."""
        if params.get("type") not in KINDS:
            raise ValueError(f"type is one of {', '.join(KINDS)}")
        bodies = self._tenant(params).account.state.dump(params["type"], full=params.get("full") == "true")
        connection.send_head(200, [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")])
        for at in range(0, len(bodies), _DUMP_PART):
            part = b"\n".join(bodies[at : at + _DUMP_PART]) + b"\n"
            connection.send_part(b"%x\r\n%s\r\n" % (len(part), part))
            await connection.drain()
        connection.send_part(b"0\r\n\r\n")

    def _change(self, params: Params) -> Any:
        """In one step that no request can see half done, or spread over `over_s` seconds. Both answer at once."""
        changer = Changer(self._tenant(params).account, params.get("seed", 1))
        count, over_s = params["n"], params.get("over_s", 0)
        if not over_s:
            return {"made": changer.make(count)}
        task = asyncio.get_running_loop().create_task(_spread(changer, count, over_s))
        self._later.add(task)
        task.add_done_callback(self._later.discard)
        return {"made": 0, "planned": count}

    def _deliveries(self, _: Params) -> Any:
        return {**self._server.courier.stats(), "changesUnderWay": len(self._later)}

    def _set_deliveries(self, params: Params) -> Any:
        """How events are delivered from now on. Options that are not named get their defaults."""
        self._server.courier.set(_delivery(params))
        return asdict(self._server.courier.delivery)

    def _deliver(self, params: Params) -> Any:
        """Delivers everything that waits, once, in the given manner."""
        return {"setOut": self._server.courier.deliver_waiting(_delivery(params))}


def _delivery(params: Params) -> Delivery:
    if "retry_after_s" in params:
        params = {**params, "retry_after_s": tuple(params["retry_after_s"])}
    return Delivery(**params)


async def _spread(changer: Changer, count: int, over_s: float) -> None:
    """Follows the clock: on a busy machine each sleep takes longer, and their sum would take much longer than asked."""
    clock = asyncio.get_running_loop().time
    began = clock()
    for number in range(1, count + 1):
        changer.make_one()
        await asyncio.sleep(max(0.0, began + number * over_s / count - clock()))


def _send(connection: Connection, status: int, value: Any) -> None:
    connection.send(status, [("Content-Type", "application/json")], encode(value))
