"""The status of a team's mirror as server-sent events, for pages that stay open."""

import select
import socket
from collections.abc import Callable

from flask import Response, current_app, request
from flask.blueprints import BlueprintSetupState

from api.account.status import read_status
from api.account.status_hub import Hub, HubFull
from api.http.access import Access
from api.http.context import EXTENSION
from api.http.endpoints import Blueprint
from api.http.errors import RETRY_AFTER_S, error_answer
from api.people.sessions import session_sha256

HUB = "billstack_status_hub"

# Not everywhere; without it a viewer who went away is noticed at the second heartbeat.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)

blueprint = Blueprint(
    "live_status",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe/status",
    description="The status while it changes.",
)


@blueprint.record  # type: ignore[untyped-decorator]  # flask-smorest has no type hints
def _install(state: BlueprintSetupState) -> None:
    context = state.app.extensions[EXTENSION]
    state.app.extensions[HUB] = Hub(lambda team_id: read_status(context, team_id))


@blueprint.endpoint(
    "GET",
    "/stream",
    Access.READ_TEAM,
    answers={200: "Server-sent events", 503: "Too many streams are open: ask for the status now and then instead"},
)
def stream(team_id: str) -> Response:
    """The status, whenever it has changed

    Each message is what GET …/stripe/status answers. An event `away` says that the status cannot be read at the moment. A
    stream ends after about two minutes, and is then opened again.
    """
    hub: Hub = current_app.extensions[HUB]
    try:
        viewer = hub.watch(
            team_id, session=(session_sha256() or b"").hex(), is_there=_asker(request.environ.get("gunicorn.socket"))
        )
    except HubFull:
        sentence = "too many live views are open: ask for the status now and then instead"
        return error_answer(503, "too_many_streams", sentence, retry_after_s=RETRY_AFTER_S)
    response = Response(hub.pieces(viewer), mimetype="text/event-stream")
    # Also for a stream whose first piece was never asked for: nothing inside the generator would run.
    response.call_on_close(lambda: hub.leave(viewer))
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep the pieces together
    return response


def _asker(connection: socket.socket | None) -> Callable[[], bool]:
    """Whether the viewer is still there, and takes what it is sent: a full buffer would hold our thread for minutes."""
    if connection is None:
        return lambda: True
    poll = select.poll()
    poll.register(connection, select.POLLOUT | _HUNG_UP)
    return lambda: poll.poll(0) == [(connection.fileno(), select.POLLOUT)]
