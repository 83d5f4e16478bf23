"""Rewrites rq-dashboard's templates while they load, so that nothing they show can become markup or script.

The originals print job descriptions, exceptions and queue names unescaped, and have their scripts inline. If a version
of rq-dashboard lacks one of the places that we rewrite, the web does not start.
"""

import re
from collections.abc import Callable

from flask import g
from jinja2 import BaseLoader, Environment

# In underscore's templates `<%=` prints raw and `<%-` escapes. `.text(…).html()` has already escaped.
_PRINTS_RAW = re.compile(r"<%=(?! \$\('<div/>'\)\.text\()")
# These buttons would fail: /rq changes nothing (api/operate/operators.py).
_HIDDEN = (
    "<style>#requeue-job-btn, #requeue-all-btn, #compact-btn, [data-role=requeue-job-btn]"
    " { display: none !important }</style></head>"
)
_REWRITTEN = {
    "rq_dashboard/base.html": (
        ("</head>", _HIDDEN),
        # The icon would come from our server, and the sandbox loads nothing from there.
        ("""<link rel="shortcut icon" href="{{ url_for('static', filename='favicon.ico') }}">""", ""),
    ),
    "rq_dashboard/scripts/jobs.js": (("'{{ queue.name }}'", "{{ queue.name|tojson }}"),),
    # A sandboxed page has no cookies and may not even ask for them. It sends rq_view's ticket instead.
    "rq_dashboard/scripts/dashboard.js": (
        ("document.cookie", '""'),
        ("api.getRqInstances(function", "(function"),  # its address is not under /rq; the answer would be a page
        ('var CSRF = getCookie("_csrf_token");', "$.ajaxSetup({headers: {{ rq_headers()|tojson }}});\nvar CSRF = '';"),
    ),
}


class SafeTemplates(BaseLoader):
    """Loads templates with another loader and rewrites them."""

    def __init__(self, loader: BaseLoader) -> None:
        self._loader = loader
        self.list_templates = loader.list_templates  # type: ignore[method-assign]

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, path, is_current = self._loader.get_source(environment, template)
        for place, instead in _REWRITTEN.get(template, ()):
            if place not in source:
                raise RuntimeError(
                    f"{template} of this rq-dashboard is not the one that BillStack knows how to make safe"
                )
            source = source.replace(place, instead)
        return _PRINTS_RAW.sub("<%-", source).replace("<script", '<script nonce="{{ rq_nonce() }}"'), path, is_current


def nonce() -> str:
    """This request's nonce. Only the page's own scripts carry it, so no other script runs."""
    found: str = g.rq_nonce
    return found
