"""Our cookies. Under https their names begin with `__Host-`, so that no other host and no plain http can set them.

Both names are read, so a session survives when the public URL becomes https. It gets the new name when it is extended.
"""

from datetime import timedelta

from flask import Response, request

from api.http.context import current_context

_HOST = "__Host-"
# The longest that browsers keep a cookie.
LONGEST = timedelta(days=400)


def read_cookie(name: str) -> str | None:
    """Prefers the `__Host-` cookie, which only this host can have set."""
    return (is_https() and request.cookies.get(_HOST + name)) or request.cookies.get(name)


def set_cookie(response: Response, name: str, value: str, *, lifetime: timedelta = LONGEST) -> None:
    full = _HOST + name if is_https() else name
    response.set_cookie(full, value, max_age=lifetime, secure=is_https(), httponly=True, samesite="Lax")
    if full != name and name in request.cookies:
        _delete(response, name)


def delete_cookie(response: Response, name: str) -> None:
    _delete(response, name)
    if is_https():
        _delete(response, _HOST + name)


def is_https() -> bool:
    return current_context().settings.public_url.startswith("https://")


def _delete(response: Response, name: str) -> None:
    response.delete_cookie(name, secure=is_https(), httponly=True, samesite="Lax")
