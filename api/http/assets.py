"""Serves static files under addresses that contain a hash, so that browsers may cache them for good.

`url_for('static', filename=…)` gives the address. All files share one hash, so a script's relative imports and a
stylesheet's images need no rewriting. The dashboard's modules are served as one script.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

from api.http.access import Access, allow
from api.http.compression import accepts_gzip, is_text
from api.http.script_bundle import bundle
from sync.errors import NotFound

_FOLDER = Path(__file__).parent.parent / "static"
_BUNDLE = "dashboard/app.js"
_YEAR_S = 365 * 86_400


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    mimetype: str
    zipped: bytes | None


def install(app: Flask) -> None:
    """Reads every file once: a deploy starts a new process."""
    assets = {name: _asset(name, body) for name, body in _bodies().items()}
    version = hashlib.sha256(b"".join(name.encode() + each.body for name, each in sorted(assets.items()))).hexdigest()[
        :16
    ]

    @allow(Access.ANYONE)
    def static(version_asked: str, filename: str) -> Response:
        if filename not in assets:
            raise NotFound("there is nothing at this address")
        return _answer(assets[filename], is_current=version_asked == version)

    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("version_asked", version)

    app.add_url_rule("/static/<version_asked>/<path:filename>", "static", static)
    app.url_defaults(add_version)


def _bodies() -> dict[str, bytes]:
    files = {path.relative_to(_FOLDER).as_posix(): path for path in _FOLDER.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items()} | {_BUNDLE: bundle(_FOLDER / _BUNDLE).encode()}


def _asset(name: str, body: bytes) -> Asset:
    mimetype = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset(body, mimetype, gzip.compress(body, mtime=0) if is_text(mimetype) else None)


def _answer(asset: Asset, *, is_current: bool) -> Response:
    """A page loaded before a deploy may ask for an old version.

    It gets today's file, which the browser must not cache.
    """
    is_zipped = asset.zipped is not None and accepts_gzip(request)
    response = Response(asset.zipped if is_zipped else asset.body, mimetype=asset.mimetype)
    response.headers["Cache-Control"] = f"public, max-age={_YEAR_S}, immutable" if is_current else "no-cache"
    response.vary.add("Accept-Encoding")
    if is_zipped:
        response.content_encoding = "gzip"
    return response
