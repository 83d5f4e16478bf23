"""Stripe's API at our own address: reads from the mirror, everything else from Stripe.

A program that uses one of Stripe's libraries changes its host and its key, and nothing else. `decision.py` says what is
answered from where.
"""

import time
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, current_app, g, request

from api.gateway import params as mirror_params
from api.gateway import written
from api.gateway.decision import Forward
from api.gateway.errors import MissingScope, NotYetKnown, OnlyStripeCan, StripeUnreachable, TooManyForwarded
from api.gateway.forward import PATIENCE_S, READ_TIMEOUT_S, Forwarder, Outgoing, headers_back
from api.gateway.lean_reads import UNREAD
from api.gateway.mirror_answers import OrderInDoubt
from api.gateway.reading import asked_of, mirror_headers, read_mirror, use_of
from api.http.access import GATEWAY, Access
from api.http.addresses import address_of
from api.http.context import EXTENSION, current_context
from api.http.endpoints import Blueprint
from api.http.request_log import request_id
from api.projects.key_store import PresentedKey, Scope
from sync.errors import BadRequest
from sync.mirror.store import MirrorStore
from sync.object_types import OBJECT_TYPES, ObjectType
from sync.stripe.transport import Transport
from sync.teams.connections import Connections
from sync.teams.mirrored_types import MirroredTypes
from workers.context import Context
from workers.key_watch import KeyWatch
from workers.stripe_account import make_limiter, open_source

_FORWARDER = "billstack-forwarder"
_QUICK_FORWARDER = "billstack-quick-forwarder"
_IN_QUERY = "%:/?#[]@!$&'()*+,;=~"
_OF_TEAM = "/api/billstack/teams/<team_id>/mirror"
blueprint = Blueprint(
    GATEWAY,
    __name__,
    description="Stripe's API, answered from the mirror: point one of Stripe's libraries here or at the root of this host,"
    " with an API key of the whole team, or with the team's own Stripe key where it is let in. What the mirror cannot"
    " answer exactly goes to Stripe, if the key has the scope stripe:read; changes go there with stripe:write."
    " X-BillStack-Source says who answered, X-BillStack-Synced-At up to when the mirror is right. Lists inside"
    " objects are whole where Stripe cuts them at ten.",
)


def install(app: Flask) -> None:
    context: Context = app.extensions[EXTENSION]
    base = context.settings.stripe_api_base
    app.extensions[_FORWARDER] = Forwarder(Transport(read_timeout_s=READ_TIMEOUT_S), base)
    app.extensions[_QUICK_FORWARDER] = Forwarder(Transport(read_timeout_s=PATIENCE_S), base, longest_wait_s=PATIENCE_S)


def forwarder_of(app: Flask) -> Forwarder:
    found: Forwarder = app.extensions[_FORWARDER]
    return found


def answer(team_id: str) -> Response:
    key: PresentedKey | None = g.get("api_key")
    began = time.perf_counter()
    try:
        if (unread := request.environ.get(UNREAD)) is not None:
            raise unread
        asked = asked_of(request.method, _stripe_path(), request.args.items(multi=True), request.headers.get)
        made = read_mirror(current_context(), team_id, key.scopes if key else None, asked)
    except OrderInDoubt as exc:
        if (from_stripe := _if_stripe_answers(team_id, exc)) is not None:
            return from_stripe
        made = exc.made
    except OnlyStripeCan as exc:
        return _from_stripe(team_id, Forward(str(exc), is_known_later=exc.is_known_later))
    use_of(current_app).count(team_id, "mirror", time.perf_counter() - began)
    return Response(made.body, mimetype="application/json", headers=mirror_headers(made, request_id()))


# From Stripe ----------------------------------------------------------------------------------------------------------


def _from_stripe(team_id: str, decision: Forward, *, forwarder: str = _FORWARDER) -> Response:
    _require_stripe_scope(decision)
    if request.mimetype == "multipart/form-data":
        raise BadRequest(
            "files are not uploaded through BillStack: send them to files.stripe.com with Stripe's own key"
        )
    context = current_context()
    with context.pool.connection() as connection:
        connected = Connections(connection, context.box).get(team_id)
        if connected is None or connected.secret_key is None:
            raise NotYetKnown("this team is not connected to Stripe: connect it first")
        mirrored = MirroredTypes(connection, team_id).names() if _is_change() else []
        before = written.look(MirrorStore(connection, team_id), _stripe_path(), mirrored) if mirrored else None
    outgoing = Outgoing(request.method, _stripe_target(), dict(request.headers), request.get_data())
    began = time.monotonic()
    sender: Forwarder = current_app.extensions[forwarder]
    answered = sender.send(outgoing, connected, make_limiter(context))
    KeyWatch(context, connected).answered(answered.status)
    response = Response(answered.body, status=answered.status, headers=headers_back(answered))
    response.headers["X-BillStack-Source"] = "stripe"
    use_of(current_app).count(team_id, "stripe", time.monotonic() - began)
    if _is_change() and _may_have_changed(answered.status) and "Stripe-Account" not in request.headers:
        with context.pool.connection() as connection:
            is_in = written.bring_in(
                MirrorStore(connection, team_id),
                lambda: open_source(context, connected),
                before,
                answered,
                mirrored=mirrored,
                elapsed_s=time.monotonic() - began,
                is_ours=_is_in_shape_of(connected.api_version),
            )
        if not is_in:
            response.headers["X-BillStack-Mirror"] = "behind"
    return response


def _if_stripe_answers(team_id: str, doubt: OrderInDoubt) -> Response | None:
    """None: the key may not ask Stripe, or Stripe gives no answer. The mirror's then has to do."""
    key: PresentedKey | None = g.get("api_key")
    if key is None or Scope.READ_STRIPE not in key.scopes:
        return None
    try:
        response = _from_stripe(team_id, Forward(str(doubt)), forwarder=_QUICK_FORWARDER)
    except (StripeUnreachable, TooManyForwarded):
        return None
    return response if response.status_code == 200 else None


def _is_change() -> bool:
    return request.method != "GET"


def _may_have_changed(status: int) -> bool:
    return status < 300 or status == written.PAYMENT_FAILED


def _is_in_shape_of(api_version: str) -> bool:
    """Whether the answer to a change is what the mirror would hold: its version, nothing expanded."""
    version = request.headers.get("Stripe-Version")
    return version in (None, api_version) and b"expand" not in request.get_data() + request.query_string


def _require_stripe_scope(decision: Forward) -> None:
    key: PresentedKey | None = g.get("api_key")
    needed = Scope.CHANGE_STRIPE if _is_change() else Scope.READ_STRIPE
    if key is not None and needed in key.scopes:
        return
    if decision.is_known_later:
        raise NotYetKnown(f"{decision.reason}: wait for it, or give this API key the scope {needed}")
    raise MissingScope(needed, decision.reason)


# What was asked -------------------------------------------------------------------------------------------------------


def _stripe_path() -> str:
    return request.path[request.path.index("/v1") :]


def _stripe_target() -> str:
    """Path and query, escaped as they came. Characters outside ASCII are escaped here."""
    address = address_of(request).partition("?")[0]
    query = quote(request.query_string, safe=_IN_QUERY)
    return address[address.index("/v1") :] + (f"?{query}" if query else "")


# Addresses ------------------------------------------------------------------------------------------------------------


def _add_routes(object_type: ObjectType) -> None:
    """For the documentation, and for members who look with their session."""
    words, names = object_type.words, ", ".join(sorted(mirror_params.FILTERS[object_type.name]))

    def list_objects(team_id: str, parent_id: str = "") -> Response:
        return answer(team_id)

    def retrieve_object(team_id: str, object_id: str, parent_id: str = "") -> Response:
        return answer(team_id)

    list_objects.__name__, retrieve_object.__name__ = object_type.list_endpoint, object_type.retrieve_endpoint
    list_objects.__doc__ = f"""A page of {object_type.title.lower()}, as Stripe lists them

    Takes limit, starting_after, ending_before, expand[], created, {names}.
    """
    retrieve_object.__doc__ = f"One {words}, as Stripe shows it\n\n    Takes expand[].\n    "
    declared: dict[str, Any] = {"access": Access.READ_MIRROR, "scope": Scope(object_type.scope)}
    path = (object_type.parent.path if object_type.parent else object_type.path).replace("{id}", "<parent_id>")
    blueprint.endpoint("GET", _OF_TEAM + path, answers={200: "Stripe's list"}, **declared)(list_objects)
    address = f"{_OF_TEAM}{path}/<object_id>"
    blueprint.endpoint("GET", address, answers={200: "Stripe's object"}, **declared)(retrieve_object)


def _add_everything_else() -> None:
    """Declares every other address of Stripe's, for API keys: under the team's path and at the root of the host."""

    def ask_of_team(team_id: str, rest: str) -> Response:
        """Any other request of Stripe's API, by API key"""
        return answer(team_id)

    def ask(rest: str) -> Response:
        """Any request of Stripe's API, by API key"""
        key: PresentedKey = g.api_key
        return answer(key.team_id)

    for method in ("GET", "POST", "DELETE"):
        for view, address in ((ask_of_team, f"{_OF_TEAM}/v1/<path:rest>"), (ask, "/v1/<path:rest>")):
            named = _named(view, f"{method.lower()}_{view.__name__}")
            blueprint.endpoint(method, address, Access.GATEWAY, answers={200: "Stripe's answer"})(named)


def _named(view: Any, name: str) -> Any:
    def called(**values: str) -> Response:
        found: Response = view(**values)
        return found

    called.__name__, called.__doc__ = name, view.__doc__
    return called


for _object_type in OBJECT_TYPES.values():
    _add_routes(_object_type)
_add_everything_else()
