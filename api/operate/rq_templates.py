"""rq-dashboard's templates, read so that nothing they show can become markup or script.

Its templates print job descriptions, exceptions and queue names unescaped, and its scripts stand in the page. Here each
of these places is rewritten while the template is read; a version of rq-dashboard that lacks one does not start.
"""

import re
from collections.abc import Callable

from flask import g
from jinja2 import BaseLoader, Environment

# In underscore's templates `<%=` prints as it is and `<%-` escapes. `.text(…).html()` has escaped already.
_PRINTS_RAW = re.compile(r"<%=(?! \$\('<div/>'\)\.text\()")
# Nothing here changes anything (api/operate/operators.py), so its buttons would only disappoint.
_HIDDEN = (
    "<style>#requeue-job-btn, #requeue-all-btn, #compact-btn, [data-role=requeue-job-btn]"
    " { display: none !important }</style></head>"
)
_REWRITTEN = {
    "rq_dashboard/base.html": (
        ("</head>", _HIDDEN),
        # It would be ours, and nothing of ours loads in the sandbox.
        ("""<link rel="shortcut icon" href="{{ url_for('static', filename='favicon.ico') }}">""", ""),
    ),
    "rq_dashboard/scripts/jobs.js": (("'{{ queue.name }}'", "{{ queue.name|tojson }}"),),
    # A sandboxed page has no cookies and may not even ask for them; what it sends instead is rq_view's ticket.
    "rq_dashboard/scripts/dashboard.js": (
        ("document.cookie", '""'),
        ("api.getRqInstances(function", "(function"),  # an address that it forgot; the answer would be a page
        ('var CSRF = getCookie("_csrf_token");', "$.ajaxSetup({headers: {{ rq_headers()|tojson }}});\nvar CSRF = '';"),
    ),
}


class SafeTemplates(BaseLoader):
    """Reads what another loader reads, and rewrites it."""

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
    """Of this request: the page's own scripts carry it, and no other script runs."""
    found: str = g.rq_nonce
    return found
