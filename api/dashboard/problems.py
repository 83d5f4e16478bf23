"""Shows errors as pages to people with a browser. Programs get JSON (api/http/errors.py)."""

from http import HTTPStatus

import flask
from flask import Flask, Response, make_response, redirect, render_template, request, url_for

from api.http.addresses import address_of
from api.http.headers import OUR_PAGES

_TITLES = {
    HTTPStatus.FORBIDDEN: "Not for your role",
    HTTPStatus.NOT_FOUND: "Nothing here",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests",
    HTTPStatus.SERVICE_UNAVAILABLE: "Back in a moment",
}


def install(app: Flask) -> None:
    app.after_request(_show_as_page)


def _show_as_page(response: Response) -> Response:
    if response.status_code < HTTPStatus.BAD_REQUEST or not response.is_json or not _is_navigation():
        return response
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return _as_response(redirect(url_for("dashboard.entry_pages.sign_in", next=address_of(request))))
    sentence: str = flask.json.loads(response.get_data())["error"]
    title = _TITLES.get(HTTPStatus(response.status_code), "Something went wrong")
    page = make_response(render_template("dashboard/problem.html", title=title, sentence=sentence))
    page.status_code = response.status_code
    page.headers["Content-Security-Policy"] = OUR_PAGES
    if "Retry-After" in response.headers:
        page.headers["Retry-After"] = response.headers["Retry-After"]
    return page


def _is_navigation() -> bool:
    """Only a browser that opens a page asks for HTML by name. Programs and our scripts ask for JSON or for anything.

    A form sent before its script has loaded is a POST.
    """
    return not request.path.startswith("/api/") and _names_html()


def _names_html() -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _as_response(answer: object) -> Response:
    return make_response(answer)
