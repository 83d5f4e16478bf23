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

# Not on every system. Without it, a viewer who left is noticed at the second heartbeat.
_HUNG_UP = getattr(select, "POLLRDHUP", 0)

blueprint = Blueprint(
    "live_status",
    __name__,
    url_prefix="/api/billstack/teams/<team_id>/stripe/status",
    description="The status as it changes.",
)


@blueprint.record  # type: ignore[untyped-decorator]  # flask-smorest has no type hints
def _install(state: BlueprintSetupState) -> None:
    context = state.app.extensions[EXTENSION]
    state.app.extensions[HUB] = Hub(lambda team_id: read_status(context, team_id))


@blueprint.endpoint(
    "GET",
    "/stream",
    Access.READ_TEAM,
    answers={200: "Server-sent events", 503: "Too many streams are open: poll the status instead"},
)
def stream(team_id: str) -> Response:
    """Stream the status

    Each message has the form of GET …/stripe/status, and comes when the status changes. An event `away` means that the
    status cannot be read at the moment. A stream ends after about two minutes; the client then opens a new one.
    """
    hub: Hub = current_app.extensions[HUB]
    try:
        viewer = hub.watch(
            team_id, session=(session_sha256() or b"").hex(), is_there=_asker(request.environ.get("gunicorn.socket"))
        )
    except HubFull:
        sentence = "too many live views are open: poll GET …/stripe/status instead"
        return error_answer(503, "too_many_streams", sentence, retry_after_s=RETRY_AFTER_S)
    response = Response(hub.pieces(viewer), mimetype="text/event-stream")
    # Needed for a stream that never sent its first piece: nothing inside the generator would run.
    response.call_on_close(lambda: hub.leave(viewer))
    response.headers["X-Accel-Buffering"] = "no"  # otherwise nginx would buffer the pieces
    return response


def _asker(connection: socket.socket | None) -> Callable[[], bool]:
    """Tells whether the viewer is still there and reads what it is sent.

    If its buffer were full, a write would block our thread for minutes.
    """
    if connection is None:
        return lambda: True
    poll = select.poll()
    poll.register(connection, select.POLLOUT | _HUNG_UP)
    return lambda: poll.poll(0) == [(connection.fileno(), select.POLLOUT)]
